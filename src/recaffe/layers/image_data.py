"""ImageData."""

from __future__ import annotations

import numpy as np

from recaffe.data.batches import Batches
from recaffe.data.images import ListedImages, read_list
from recaffe.layers.base import register
from recaffe.layers.data import warn_of_skipped
from recaffe.layers.prefetching import Prefetching, random_seed, size_of
from recaffe.log import tell


@register("ImageData")
class ImageData(Prefetching):
    """Batches of images, transformed, and their labels, from the image files of a list.

    Each line of the list is ``path label``; the path is what follows ``root_folder``. Images
    come in the list's order, or with ``shuffle`` in a new order for each turn, start over
    after the last, and begin with one of the first ``rand_skip``. With ``new_height`` and
    ``new_width`` they are resized first, bilinearly.
    Shapes: data ``(batch_size, C, H, W)``; labels ``(batch_size,)``.

    Source: ``image_data_layer.cpp``.
    """

    def make_source(self) -> Batches:
        parameter = self.param.image_data_param
        self.check_batch_size(parameter.batch_size)
        size = (parameter.new_height, parameter.new_width)
        if (size[0] == 0) != (size[1] == 0):
            raise self.error("give both new_height and new_width, or neither")
        warn_of_skipped(self, parameter, ("scale", "mean_file", "crop_size", "mirror"))
        random = np.random.Generator(np.random.PCG64(random_seed()))
        seed = random_seed() if parameter.shuffle else None
        transformer = self.make_transformer()
        tell("Opening file %s", parameter.source)
        lines = read_list(parameter.source)
        if parameter.shuffle:
            tell("Shuffling data")
        tell("A total of %d images.", len(lines))
        start = int(random.integers(parameter.rand_skip)) if parameter.rand_skip else 0
        if parameter.rand_skip:
            tell("Skipping first %d data points.", start)
        if start >= len(lines):
            raise self.error(
                f"rand_skip {parameter.rand_skip} may skip all {len(lines)} lines of "
                f"{parameter.source}, and this time would skip {start}; lower it"
            )
        samples = ListedImages(
            parameter.source,
            lines,
            parameter.root_folder,
            start,
            parameter.is_color,
            size if any(size) else None,
            seed,
        )
        batches = Batches(samples, parameter.batch_size, transformer)
        tell("output data size: %s", size_of(batches))
        return batches
