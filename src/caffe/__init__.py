"""pycaffe: the names that Caffe users know, over the runtime of :mod:`recaffe`."""
