"""Caffe's layers, one file a layer; every file of this package is found and loaded.

To add a layer, add a file with a class that :func:`register` names.
"""

import pkgutil
from importlib import import_module

from recaffe.layers.base import (
    BlobLayer,
    Layer,
    Shape,
    layer_class,
    layer_types,
    make_layer,
    register,
)

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["BlobLayer", "Layer", "Shape", "layer_class", "layer_types", "make_layer", "register"]
