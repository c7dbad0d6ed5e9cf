"""The runtime: Caffe's formats, layers, nets and solvers on PyTorch.

It knows nothing of pipelines. Users meet it through :mod:`caffe`, which gives it
pycaffe's names.
"""
