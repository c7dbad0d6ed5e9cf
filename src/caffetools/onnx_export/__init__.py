"""Nets as ONNX models, for readers that take no Caffe files any more.

``export`` makes the model, ``check`` runs it in onnxruntime beside Caffe. Each family of layers
is a module of functions that :func:`caffetools.onnx_export.graph.exports` registers by type.
"""
