"""Tools around Caffe: data sets, LMDBs, patching, training, evaluation, figures, reports.

Every command of the workflow is a module here (``python -m caffetools.train --help``).
They speak to Caffe through pycaffe alone, so that whatever trains or evaluates runs on
BVLC's own build too; that build has Python 3.9, NumPy 1.19 and protobuf 3.12.
"""
