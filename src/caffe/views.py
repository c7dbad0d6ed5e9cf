"""What pycaffe shows of a net: its blobs, parameters and layers, as users hold them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from recaffe.layers import Layer
from recaffe.layers.python import Python
from recaffe.layers.roi_data import RoIDataLayer
from recaffe.net import Net
from recaffe.user import UserBlob, UserBlobs, UserLayer


class BuiltInLayer(UserLayer):
    """A layer of Caffe's own as users see it."""

    def __init__(self, layer: Layer) -> None:
        self._runtime = layer
        self._runtime_blobs = layer.blobs

    @property
    def type(self) -> str:
        return self._runtime.type

    def reshape(self, bottom: Sequence[UserBlob], top: Sequence[UserBlob]) -> None:
        """Give the tops the shapes that follow from the bottoms'."""
        shapes = self._runtime.top_shapes([blob.shape for blob in bottom])
        for blob, shape in zip(top, shapes, strict=True):
            blob.reshape(shape)


class BuiltInRoIData(BuiltInLayer):
    """py-faster-rcnn's layer of images, which is computed here, as its training script knows it."""

    _runtime: RoIDataLayer

    def set_roidb(self, roidb: Iterable[Mapping[str, Any]]) -> None:
        """Read these images from now on: dicts with image, boxes, gt_classes and flipped."""
        self._runtime.set_roidb(roidb)


def view_of(layer: Layer) -> UserLayer:
    """A layer as users see it."""
    if isinstance(layer, Python):
        return layer.user
    return (BuiltInRoIData if isinstance(layer, RoIDataLayer) else BuiltInLayer)(layer)


class Views:
    """The views of one net, each made when it is first asked for, as pycaffe keeps them.

    The net has its own dicts and lists; what a user does to these changes nothing of it.
    """

    def __init__(self, net: Net) -> None:
        self._net = net

    @cached_property
    def layers(self) -> list[UserLayer]:
        return [view_of(layer) for layer in self._net.layers]

    @cached_property
    def layer_dict(self) -> OrderedDict[str, UserLayer]:
        return OrderedDict(zip(self._net.layer_names, self.layers, strict=True))

    @cached_property
    def blobs(self) -> OrderedDict[str, UserBlob]:
        return OrderedDict((name, UserBlob(blob)) for name, blob in self._net.blobs.items())

    @cached_property
    def params(self) -> OrderedDict[str, UserBlobs]:
        return OrderedDict((name, UserBlobs(blobs)) for name, blobs in self._net.params.items())

    @cached_property
    def inputs(self) -> list[str]:
        return self._net.inputs

    @cached_property
    def outputs(self) -> list[str]:
        return self._net.outputs

    @cached_property
    def top_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((layer.name, layer.top_names) for layer in self._net.layers)

    @cached_property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        return OrderedDict((layer.name, list(layer.param.bottom)) for layer in self._net.layers)

    @cached_property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        weights = OrderedDict((name, 0.0) for name in self._net.blobs)
        for layer, own in zip(self._net.layers, self._net.loss_weights, strict=True):
            weights.update(zip(layer.top_names, own, strict=True))
        return weights

    def ids(self, names: Iterable[str]) -> list[int]:
        """The places of blobs in the order of the net's."""
        places = {name: index for index, name in enumerate(self._net.blobs)}
        return [places[name] for name in names]
