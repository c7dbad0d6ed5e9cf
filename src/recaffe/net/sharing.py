"""Which parameters a solver updates: each blob once, also where layers share it by name.

Source: ``AppendParam`` in ``net.cpp``.
"""

from __future__ import annotations

from typing import Any

from recaffe.blob import Blob, ReshapedBlob
from recaffe.errors import NetError, ShapeMismatchError
from recaffe.layers import Layer
from recaffe.log import tell


class LearnableParams:
    """The parameters of the layers that are added; those of one name become one blob.

    Attributes:
        blobs: the parameters that a solver updates, in net order.
        lr_mults, decay_mults: their factors.
        places: the first layer that has each, and which of its blobs it is.
    """

    def __init__(self) -> None:
        self.blobs: list[Blob] = []
        self.lr_mults: list[float] = []
        self.decay_mults: list[float] = []
        self.places: list[tuple[str, int]] = []
        self._given_factors: set[tuple[str, int]] = set()
        self._owners: dict[str, int] = {}

    def add(self, layer: Layer) -> None:
        """Add the parameters of a net's next layer.

        Raises:
            LayerError: more ``param`` than the layer has blobs.
            ShapeMismatchError: a shared parameter of another shape.
            NetError: factors of a shared parameter that contradict each other.
        """
        if len(layer.param.param) > len(layer.blobs):
            raise layer.error(
                f"param is given {len(layer.param.param)} time(s), but the layer has "
                f"{len(layer.blobs)} parameter blob(s); leave out what is too many"
            )
        for index in range(len(layer.blobs)):
            self._add(layer, index)

    def _add(self, layer: Layer, index: int) -> None:
        owners = self._owners
        specs, blob = layer.param.param, layer.blobs[index]
        spec = specs[index] if index < len(specs) else type(layer.param)().param.add()
        if spec.name in owners:
            owner, place = self.places[owners[spec.name]]
            tell(
                "Sharing parameters '%s' owned by layer '%s', param index %d",
                *(spec.name, owner, place),
            )
            layer.blobs[index] = self._shared(layer, index, spec, owners[spec.name])
            self._agree_on_factors(spec, owners[spec.name])
            return
        self.blobs.append(blob)
        self.lr_mults.append(spec.lr_mult)
        self.decay_mults.append(spec.decay_mult)
        self.places.append((layer.name, index))
        if spec.name:
            owners[spec.name] = len(self.blobs) - 1
            self._agree_on_factors(spec, owners[spec.name])

    def _shared(self, layer: Layer, index: int, spec: Any, position: int) -> Blob:
        blob, owned = layer.blobs[index], self.blobs[position]
        permissive = spec.share_mode == spec.PERMISSIVE
        same = blob.count == owned.count if permissive else blob.shape == owned.shape
        if not same:
            raise ShapeMismatchError(
                f"layer '{layer.name}', blob {index}: shares the parameter '{spec.name}' of "
                f"layer '{self.places[position][0]}', but has the shape {list(blob.shape)} "
                f"instead of {list(owned.shape)}"
            )
        return owned if blob.shape == owned.shape else ReshapedBlob(owned, blob.shape)

    def _agree_on_factors(self, spec: Any, position: int) -> None:
        """Those who share a parameter may each give its factors, or leave it to the others."""
        for name, factors in (("lr_mult", self.lr_mults), ("decay_mult", self.decay_mults)):
            if not spec.HasField(name):
                continue
            given, key = getattr(spec, name), (name, position)
            if key in self._given_factors and factors[position] != given:
                raise NetError(
                    f"the layers that share the parameter '{spec.name}' give it the {name} "
                    f"{factors[position]:g} and {given:g}; give one, or the same"
                )
            self._given_factors.add(key)
            factors[position] = given
