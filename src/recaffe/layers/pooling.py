"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.window import check_positive, per_axis

_LOWEST = torch.finfo(torch.float32).min


@register("Pooling")
class Pooling(Layer):
    """The maximum or the mean of each window of a bottom ``(N, C, H, W)``.

    Output sizes are rounded up (``round_mode: CEIL``, in forks ``ceil_mode: true``):
    ``T = ceil((H + 2 pad - kernel) / stride) + 1``, less one where the last window would
    start in the padding. The mean divides by the window's size within the padded image, so
    padding counts as zeros but what lies beyond it does not count. A second top of MAX is the
    mask: the index ``y W + x`` of each maximum, the first one where several are equal. Windows
    that lie wholly outside (a stride larger than the kernel) give the lowest float and the
    index -1. On the CPU so do windows of nothing but NaN and -inf, and a NaN beside numbers
    does not count, as in Caffe's own code; on a GPU a NaN goes on to the top, as from cuDNN.

    Source: ``pooling_layer.cpp``.
    """

    tops = (1, 2)
    puts_aside = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.pooling_param
        (shape,) = bottom_shapes
        if len(shape) != 4:
            raise self.error(f"expected a bottom (N, C, H, W), found {list(shape)}")
        if parameter.pool == parameter.STOCHASTIC:
            raise self.error("stochastic pooling is not supported, nor is it on BVLC's CPU")
        self.is_max = parameter.pool == parameter.MAX
        if len(self.param.top) > 1 and not self.is_max:
            raise self.error("only pool: MAX has a mask as its second top")
        self.rounds_down = parameter.round_mode == parameter.FLOOR or not parameter.ceil_mode
        if parameter.HasField("round_mode") and parameter.HasField("ceil_mode"):
            raise self.error("give either round_mode or ceil_mode, not both")
        self.is_global = parameter.global_pooling
        if self.is_global and any(
            parameter.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w")
        ):
            raise self.error("global_pooling takes its kernel from the bottom: give no kernel_size")
        self.kernel = shape[2:] if self.is_global else self._sizes("kernel", None, "_size")
        self.stride, self.pad = self._sizes("stride", 1), self._sizes("pad", 0)
        check_positive(self, "kernel_size", self.kernel)
        check_positive(self, "stride", self.stride)
        if self.is_global and (self.stride != (1, 1) or self.pad != (0, 0)):
            raise self.error("global_pooling goes with stride 1 and pad 0 only")
        if any(pad >= kernel for pad, kernel in zip(self.pad, self.kernel, strict=True)):
            raise self.error(f"pad {self.pad} must be smaller than the kernel {self.kernel}")

    def _sizes(self, name: str, default: int | None, suffix: str = "") -> tuple[int, ...]:
        parameter = self.param.pooling_param
        tall, wide = f"{name}_h", f"{name}_w"
        if parameter.HasField(tall) != parameter.HasField(wide):
            if parameter.HasField("kernel_size") and name == "kernel":
                # Caffe pays no heed to a kernel_h or kernel_w that is alone.
                return (parameter.kernel_size,) * 2
            raise self.error(f"give both {tall} and {wide}, or {name}{suffix} for both axes")
        return per_axis(self, parameter, name, 2, default, suffix)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if self.is_global:
            self.kernel = shape[2:]
        sizes = tuple(self._pooled(axis, size) for axis, size in enumerate(shape[2:]))
        if min(sizes) < 1:
            raise self.error(
                f"the kernel {list(self.kernel)} is larger than the bottom {list(shape)} "
                f"with pad {list(self.pad)}"
            )
        return [(*shape[:2], *sizes)] * len(self.param.top)

    def _pooled(self, axis: int, size: int) -> int:
        kernel, stride, pad = self.kernel[axis], self.stride[axis], self.pad[axis]
        span = size + 2 * pad - kernel
        steps = span // stride if self.rounds_down else -(-span // stride)
        # Caffe drops a last window beyond the image only where there is padding, on any side.
        if any(self.pad) and steps * stride >= size + pad:
            steps -= 1
        return steps + 1

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        (bottom,) = bottoms
        ((_, _, *sizes), *_) = self.top_shapes([tuple(bottom.shape)])
        if self.is_max:
            return self._max(bottom, sizes)
        return [self._mean(bottom, sizes)]

    def _padded(self, bottom: Tensor, sizes: Sequence[int], value: float) -> Tensor:
        """The bottom with ``value`` around it, as large as the windows reach, and not larger."""
        (top, bottom_pad), (left, right) = (
            (pad, (count - 1) * stride + kernel - pad - size)
            for pad, count, stride, kernel, size in zip(
                self.pad, sizes, self.stride, self.kernel, bottom.shape[2:], strict=True
            )
        )
        if not any((top, bottom_pad, left, right)):
            return bottom
        return F.pad(bottom, (left, right, top, bottom_pad), value=value)

    def _max(self, bottom: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        tops = self._max_of(bottom, sizes)
        # Looking at the tops costs less than cleaning the bottom each time.
        if _may_look(tops[0]) and not tops[0].detach().amin() >= _LOWEST:
            clean = bottom.nan_to_num(nan=_LOWEST, posinf=math.inf, neginf=_LOWEST)
            tops = self._max_of(clean, sizes)
        return tops

    def _max_of(self, bottom: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        padded = self._padded(bottom, sizes, _LOWEST)
        if len(self.param.top) == 1:
            return [F.max_pool2d(padded, self.kernel, self.stride)]
        pooled, index = F.max_pool2d(padded, self.kernel, self.stride, return_indices=True)
        rows = index // padded.shape[3] - self.pad[0]
        columns = index % padded.shape[3] - self.pad[1]
        index = torch.where(pooled > _LOWEST, rows * bottom.shape[3] + columns, -1)
        return [pooled, index.to(bottom.dtype)]

    def _mean(self, bottom: Tensor, sizes: Sequence[int]) -> Tensor:
        kernel_size = self.kernel[0] * self.kernel[1]
        sums = F.avg_pool2d(self._padded(bottom, sizes, 0.0), self.kernel, self.stride)
        rows, columns = (
            self._extent(axis, size, count)
            for axis, (size, count) in enumerate(zip(bottom.shape[2:], sizes, strict=True))
        )
        scale = kernel_size / torch.outer(rows, columns)
        return sums * scale.to(bottom)

    def _extent(self, axis: int, size: int, count: int) -> Tensor:
        """How many of a window's cells lie within the padded bottom, for each window."""
        start = torch.arange(count) * self.stride[axis] - self.pad[axis]
        end = torch.clamp(start + self.kernel[axis], max=size + self.pad[axis])
        return (end - start).to(torch.float32)


def _may_look(tensor: Tensor) -> bool:
    """Whether a value may be looked at now: a GPU or a compiled step would have to stop."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
