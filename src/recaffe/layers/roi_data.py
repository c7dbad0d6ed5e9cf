"""roi_data_layer.layer.RoIDataLayer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recaffe.data.images import read_image
from recaffe.data.order import turn_order
from recaffe.data.resume import natural
from recaffe.data.share import Share, share_of
from recaffe.detection.images import MAX_SIZE, MEAN, SCALE, prepare
from recaffe.detection.roidb import Objects, from_dicts, read_roidb
from recaffe.errors import DataError
from recaffe.layers.base import Shape
from recaffe.layers.native import NativeLayer, answers
from recaffe.layers.prefetching import Prefetching, random_seed
from recaffe.log import tell

_CHANNELS = 3
_SETTINGS: dict[str, Any] = {
    "num_classes": None,
    "source": "",
    "root": "",
    "scale": SCALE,
    "max_size": MAX_SIZE,
    "mean": MEAN,
    "mirror": True,
    "shuffle": True,
}


@answers("roi_data_layer.layer", "RoIDataLayer")
class RoIDataLayer(Prefetching, NativeLayer):
    """One image each time, and the objects in it, in a new order each turn.

    ``param_str`` gives ``num_classes``, the background's included. Which images there are says
    either the training script, by ``net.layers[0].set_roidb(roidb)`` as it was published, or
    ``'source'``, a file as :func:`recaffe.detection.roidb.read_roidb` reads it; with it go
    ``'root'``, what stands before each path, ``'mirror': true``, that each image comes
    mirrored once as well, and ``'shuffle': true``. ``'scale': 600``, ``'max_size': 1000`` and
    ``'mean'`` are those of :func:`recaffe.detection.images.prepare`.

    Shapes: tops data ``(1, 3, H, W)``; im_info ``(1, 3)``: height, width, and scale; gt_boxes
    ``(G, 5)``: corners in the scaled image, and class. Until it has run ``H`` is the scale, ``W``
    the greatest size and ``G`` one.

    Source: ``roi_data_layer/layer.py`` and ``minibatch.py`` of py-faster-rcnn.
    """

    tops = (3, 3)

    def make_source(self) -> RoIs:
        found = self.settings(_SETTINGS)
        for name in ("num_classes", "scale", "max_size"):
            if found[name] < 1 or found[name] != int(found[name]):
                raise self.error(
                    f"param_str: {name}: expected a whole number above 0, found {found[name]}"
                )
        if len(found["mean"]) not in (1, _CHANNELS):
            raise self.error(
                f"param_str: mean: expected {_CHANNELS} numbers, found {found['mean']}"
            )
        rois = RoIs(found, share_of(self.phase))
        if found["source"]:
            tell("Opening file %s", found["source"])
            with self.named():
                rois.set_objects(
                    read_roidb(found["source"], found["root"], rois.classes), found["mirror"]
                )
            tell("A total of %d images.", rois.count)
        return rois

    def set_roidb(self, roidb: Iterable[Mapping[str, Any]]) -> None:
        """Read these images from now on; for the mirrored ones there are entries of their own.

        Raises:
            DataError: an entry of another form.
        """
        source = self.make_source()
        source.set_objects(from_dicts(roidb, source.classes), False)
        self.replace_source(source)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [(1, _CHANNELS, *self._source.image_shape), (1, 3), (1, 5)]


class RoIs:
    """What a RoIDataLayer makes of images, one after the other, without an end."""

    batch_size = 1

    def __init__(self, settings: Mapping[str, Any], share: Share) -> None:
        self._share = share
        self.classes = int(settings["num_classes"])
        self.image_shape: tuple[int, ...] = (int(settings["scale"]), int(settings["max_size"]))
        self._mean = settings["mean"]
        self._objects: Sequence[Objects] = ()
        self._mirror, self._position = False, 0
        self._turn, self._order = -1, np.empty(0, np.int64)
        self._seed = random_seed() if settings["shuffle"] else None

    @property
    def count(self) -> int:
        """How many images come before the first comes again."""
        return len(self._objects) * (2 if self._mirror else 1)

    def set_objects(self, objects: Sequence[Objects], mirror: bool) -> None:
        self._objects, self._mirror, self._position, self._turn = objects, mirror, 0, -1

    def load(self) -> tuple[Tensor, Tensor, Tensor]:
        """The next image, its size and scale, and its objects."""
        if not self._objects:
            raise DataError(
                "there are no images yet: say 'source' in param_str, or call "
                "net.layers[0].set_roidb(...) first"
            )
        position = self._position * self._share.count + self._share.rank
        turn, place = divmod(position, self.count)
        if turn != self._turn:
            self._turn, self._order = turn, turn_order(self.count, self._seed, turn)
        index = int(self._order[place])
        self._position += 1
        return self._blobs(self._objects[index % len(self._objects)], index >= len(self._objects))

    def _blobs(self, objects: Objects, mirror: bool) -> tuple[Tensor, Tensor, Tensor]:
        try:
            image = read_image(objects.image)
            if mirror:
                objects = objects.mirror(image.shape[2])
            scale, max_size = self.image_shape
            pixels, factor = prepare(image, scale, max_size, self._mean, objects.mirrored)
        except DataError as error:
            raise DataError(f"{objects.place}: {error}") from None
        info = np.array([[*pixels.shape[2:], factor]], np.float32)
        found = np.empty((len(objects.boxes), 5), np.float32)
        found[:, :4] = objects.boxes * np.float32(factor)
        found[:, 4] = objects.classes
        return torch.from_numpy(pixels), torch.from_numpy(info), torch.from_numpy(found)

    def state(self) -> dict[str, Any]:
        """How many images came, and the seed of their order."""
        seed = {} if self._seed is None else {"seed": self._seed}
        return {"position": self._position, **seed}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave.

        Raises:
            DataError: no such state.
        """
        self._position, self._turn = natural(state, "position"), -1
        if self._seed is not None:
            self._seed = natural(state, "seed")
