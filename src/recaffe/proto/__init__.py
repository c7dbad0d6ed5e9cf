"""Caffe's messages, and the files they are stored in.

The schema is ``caffe.proto``; :mod:`recaffe.proto.schema` makes message classes of it,
:mod:`~recaffe.proto.text` reads and writes prototxt, :mod:`~recaffe.proto.weights` and
:mod:`~recaffe.proto.state` the binary files, and :mod:`~recaffe.proto.upgrade` brings
older files to today's form.
"""
