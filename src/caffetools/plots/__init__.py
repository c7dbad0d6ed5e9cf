"""The figures of the report, one module and one command each.

Every module computes first (``from_...``), then draws on axes it is given (``plot``), so
that the numbers can be used, and tested, without a picture.
"""
