"""DepthwiseConvolution and ConvolutionDepthwise: a kernel for each channel, alone."""

from __future__ import annotations

from collections.abc import Sequence

from recaffe.layers.base import Shape, register
from recaffe.layers.convolution import Convolution


@register("DepthwiseConvolution")
class DepthwiseConvolution(Convolution):
    """Convolution whose ``group`` is the number of channels; ``num_output`` a multiple of it.

    Shapes as of Convolution, so the weight is ``(num_output, 1, *kernel_size)``.

    Source: ``depthwise_conv_layer`` of several forks, MobileNet-YOLO's among them; Howard et
    al. 2017.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter, shape = self.param.convolution_param, bottom_shapes[0]
        channels = shape[self.canonical_axis(parameter.axis, shape)]
        if parameter.group != channels:
            raise self.error(
                f"group must be the number of channels, {channels}, found {parameter.group}; "
                "for another one take a Convolution"
            )
        super().setup(bottom_shapes)


@register("ConvolutionDepthwise")
class ConvolutionDepthwise(Convolution):
    """Convolution of each channel with one kernel: ``group`` and ``num_output`` are its channels.

    Neither need be given. Shapes as of Convolution, so the weight is ``(C, 1, *kernel_size)``.

    Source: ``conv_dw_layer`` of several forks, Tiny-DSOD's among them; Howard et al. 2017.
    """

    bottoms = (1, 1)
    tops = (1, 1)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter, shape = self.param.convolution_param, bottom_shapes[0]
        channels = shape[self.canonical_axis(parameter.axis, shape)]
        for name in ("group", "num_output"):
            if parameter.HasField(name) and getattr(parameter, name) != channels:
                raise self.error(
                    f"{name} is the number of channels, {channels}, found "
                    f"{getattr(parameter, name)}; leave it out, or take a Convolution"
                )
            setattr(parameter, name, channels)
        super().setup(bottom_shapes)
