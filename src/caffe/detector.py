"""caffe.Detector: a net that classifies windows of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe import io
from caffe.classifier import ImageNet, run_images
from recaffe.errors import DataError

# Where an image lies, and windows in it: top, left, bottom and right.
Windows = tuple[str, Sequence[Sequence[int]]]


class Detector(ImageNet):
    """A net that classifies windows of images, as R-CNN does.

    Args:
        model_file: the prototxt.
        pretrained_file: the weights.
        mean, input_scale, raw_scale, channel_swap: see :class:`caffe.io.Transformer`.
        context_pad: how many pixels on each side of the input show what surrounds the window;
            beyond the image they show the mean.

    Source: Girshick et al., "Rich feature hierarchies for accurate object detection and
    semantic segmentation", arXiv:1311.2524.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how much of its surroundings a window is shown with."""
        name = self.inputs[0]
        back = np.argsort(self.transformer.transpose[name])
        self.crop_dims = np.array(self.blobs[name].data.shape[1:])[back]
        self.context_pad = context_pad
        if not context_pad:
            return
        self.crop_mean = np.zeros(self.crop_dims, np.float32)
        if name in self.transformer.mean:
            mean = np.atleast_3d(self.transformer.mean[name]).transpose(back)
            swap = self.transformer.channel_swap.get(name)
            if swap is not None and mean.shape[2] == len(swap):
                mean = mean[:, :, np.argsort(swap)]
            self.crop_mean = mean / self.transformer.raw_scale.get(name, 1)

    def crop(self, im: np.ndarray, window: Sequence[int] | np.ndarray) -> np.ndarray:
        """The window of an image, with its surroundings if there are to be some."""
        top, left, bottom, right = (int(edge) for edge in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        size = self.blobs[self.inputs[0]].width
        growth = size / (size - 2 * self.context_pad)
        half = np.array([bottom - top + 1, right - left + 1]) / 2
        centre = np.array([top, left]) + half
        start, stop = np.round(centre - growth * half), np.round(centre + growth * half)
        # What one pixel of the image becomes in the input.
        scale = size / (stop - start + 1)
        offset = np.round(np.maximum(0, -start) * scale).astype(int)
        limits = im.shape[:2]
        start, stop = np.clip(start, 0, limits).astype(int), np.clip(stop, 0, limits).astype(int)
        extent = np.round((stop - start + 1) * scale).astype(int)
        extent = np.minimum(extent, size - offset)
        if (stop <= start).any() or (extent < 1).any():
            raise DataError(f"window {list(window)} is not in an image of the shape {im.shape}")
        shown = io.resize_image(im[start[0] : stop[0], start[1] : stop[1]], extent)
        crop = np.broadcast_to(self.crop_mean, self.crop_dims).astype(np.float32)
        crop[offset[0] : offset[0] + extent[0], offset[1] : offset[1] + extent[1]] = shown
        return crop

    def detect_windows(self, images_windows: Iterable[Windows]) -> list[dict[str, Any]]:
        """Classify windows of image files.

        Args:
            images_windows: pairs of a file name and its windows, each of them ``(top, left,
                bottom, right)``.

        Returns:
            For every window a dict of ``window``, ``prediction`` and ``filename``.
        """
        detections: list[dict[str, Any]] = []
        crops = []
        for filename, windows in images_windows:
            image = io.load_image(filename)
            for window in windows:
                crops.append(self.crop(image, window))
                detections.append({"window": window, "filename": filename})
        predictions = run_images(self, crops) if crops else ()
        for detection, prediction in zip(detections, predictions, strict=True):
            detection["prediction"] = prediction
        return detections

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """Classify the windows that Selective Search proposes.

        Raises:
            DataError: the package that runs Selective Search, in MATLAB, is not installed.
        """
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError:
            raise DataError(
                "detect_selective_search needs the package selective_search_ijcv_with_python, "
                "and MATLAB, which it runs; windows from elsewhere go to detect_windows"
            ) from None
        filenames = [str(Path(filename).absolute()) for filename in image_fnames]
        windows = selective_search.get_windows(filenames, cmd="selective_search_rcnn")
        return self.detect_windows(zip(filenames, windows, strict=True))
