"""The ``caffe`` program and its like: a file a command."""
