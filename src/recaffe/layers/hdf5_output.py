"""HDF5Output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py

from recaffe.layers.base import BlobLayer, Shape, register

_AXES = 4


@register("HDF5Output")
class HDF5Output(BlobLayer):
    """Writes two bottoms to an HDF5 file, as the float32 datasets ``data`` and ``label``.

    Shapes are brought to four axes by ones behind. The file is made when the net is, and whole
    after the forward; like Caffe's layer it takes one forward, since a second one's datasets
    would have the same names.

    Source: ``hdf5_output_layer.cpp``.
    """

    bottoms = (2, 2)
    tops = (0, 0)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self._path = Path(self.param.hdf5_output_param.file_name)
        self._is_written = False
        try:
            h5py.File(self._path, "w").close()
        except OSError as error:
            raise self.error(f"cannot write the file_name '{self._path}': {error}") from None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        for shape in bottom_shapes:
            if len(shape) > _AXES:
                raise self.error(f"expected bottoms of up to four axes, found {list(shape)}")
        data, label = (_four_axes(shape) for shape in bottom_shapes)
        if data[0] != label[0]:
            raise self.error(
                f"expected two bottoms of one batch size, found {data[0]} and {label[0]}"
            )
        return []

    def forward_blobs(self) -> None:
        shapes = [blob.shape for blob in self.bottom_blobs]
        self.top_shapes(shapes)
        if self._is_written:
            raise self.error(
                f"{self._path} has its datasets already: one forward fills a file. Make a net "
                "with a larger batch, or one with another file_name for each"
            )
        with h5py.File(self._path, "w") as file:
            for name, blob in zip(("data", "label"), self.bottom_blobs, strict=True):
                values = blob.data_tensor.cpu().numpy().reshape(_four_axes(blob.shape))
                file.create_dataset(name, data=values, dtype="<f4")
        self._is_written = True

    def propagates_to(self, bottom_index: int) -> bool:
        return False


def _four_axes(shape: Shape) -> Shape:
    return (*shape, *[1] * (_AXES - len(shape)))
