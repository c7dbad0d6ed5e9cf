"""The convolutions of each net, up to the feature map that regions are looked for in.

Names, sizes and pads are those of py-faster-rcnn's ``faster_rcnn_end2end`` prototxts, and the
ResNet's those of ImageNet's ResNet-50, so that weights from ImageNet fit. The published nets
have no fillers here, since they always start from such weights; these have, so that they can
be trained without.
"""

from __future__ import annotations

from typing import Any

from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffetools.pretrained.nets import resnet, vgg
from caffetools.pretrained.nets.parts import LEARNED, constant, gaussian, max_pool, relu

_MSRA = {"type": "msra"}


def zf(n: Any) -> Any:
    """Five convolutions whose pads keep a stride of 16; Zeiler and Fergus, 2013."""

    def shrunk(number: int, x: Any) -> Any:
        x = n[f"norm{number}"] = L.LRN(
            x,
            local_size=3,
            alpha=0.00005,
            beta=0.75,
            norm_region=P.LRN.WITHIN_CHANNEL,
            engine=P.LRN.CAFFE,
        )
        return max_pool(n, f"pool{number}", x, 3, 2, pad=1)

    x = shrunk(1, _conv(n, 1, n.data, 96, 7, pad=3, stride=2))
    x = shrunk(2, _conv(n, 2, x, 256, 5, pad=2, stride=2))
    for number, outputs in enumerate((384, 384, 256), 3):
        x = _conv(n, number, x, outputs, 3, pad=1, stride=1)
    return x


def vgg_cnn_m(n: Any) -> Any:
    """Five convolutions; Chatfield et al., Return of the devil in the details, 2014."""

    def shrunk(number: int, x: Any) -> Any:
        x = n[f"norm{number}"] = L.LRN(x, local_size=5, alpha=0.0005, beta=0.75, k=2)
        return max_pool(n, f"pool{number}", x, 3, 2)

    x = shrunk(1, _conv(n, 1, n.data, 96, 7, stride=2))
    x = shrunk(2, _conv(n, 2, x, 256, 5, pad=1, stride=2))
    for number in (3, 4, 5):
        x = _conv(n, number, x, 512, 3, pad=1)
    return x


def vgg16(n: Any) -> Any:
    """The thirteen convolutions of VGG-16; Simonyan and Zisserman, 2014."""
    return vgg.convolutions(n, 16)


def resnet50(n: Any) -> Any:
    """ResNet-50 up to res4f; He et al., Deep residual learning, 2015."""
    x = resnet.entrance(n, 50)
    for number in (2, 3, 4):
        x = resnet.stage(n, 50, number, x)
    return x


def resnet50_head(n: Any, x: Any) -> Any:
    """Stage 5 of ResNet-50 and its average, for each pooled region of 14 by 14 cells."""
    n.pool5 = L.Pooling(resnet.stage(n, 50, 5, x), pool=P.Pooling.AVE, kernel_size=7, stride=1)
    return n.pool5


def tiny(n: Any) -> Any:
    """Five convolutions that learn within minutes on a CPU, from nothing; conv3 has stride 4."""
    x = n.data
    for number, (outputs, stride) in enumerate(((24, 2), (32, 2), (48, 1), (64, 2), (64, 2)), 1):
        x = _conv(n, number, x, outputs, 3, filler=_MSRA, pad=1, stride=stride)
    return x


def _conv(
    n: Any, number: int, bottom: Any, outputs: int, kernel: int, filler: Any = None, **more: Any
) -> Any:
    n[f"conv{number}"] = L.Convolution(
        bottom,
        num_output=outputs,
        kernel_size=kernel,
        param=LEARNED,
        weight_filler=filler or gaussian(0.01),
        bias_filler=constant(0),
        **more,
    )
    return relu(n, f"relu{number}", n[f"conv{number}"])
