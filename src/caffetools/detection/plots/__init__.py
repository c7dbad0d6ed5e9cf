"""The figures of what a detector found, one module and one command each."""
