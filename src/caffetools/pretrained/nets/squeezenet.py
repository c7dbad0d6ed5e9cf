"""SqueezeNet 1.1.

Source: Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016;
what version 1.1 changes, and names, as its authors published it.
"""

from __future__ import annotations

from typing import Any

from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffetools.pretrained.nets.parts import gaussian, judged, max_pool, relu

# Outputs of the squeezing convolution; each of the two that expand has four times as many.
_SQUEEZES = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
_XAVIER = {"type": "xavier"}


def squeezenet(n: Any, classes: int) -> None:
    """Add the layers; the head, conv10, is a convolution whose outputs are averaged."""
    n.conv1 = L.Convolution(n.data, num_output=64, kernel_size=3, stride=2, weight_filler=_XAVIER)
    x = max_pool(n, "pool1", relu(n, "relu_conv1", n.conv1), 3, 2)
    for number, squeeze in _SQUEEZES.items():
        x = _fire(n, f"fire{number}", x, squeeze)
        if number in (3, 5):
            x = max_pool(n, f"pool{number}", x, 3, 2)
    n.drop9 = L.Dropout(x, dropout_ratio=0.5, in_place=True)
    n.conv10 = L.Convolution(
        n.drop9, num_output=classes, kernel_size=1, weight_filler=gaussian(0.01)
    )
    x = relu(n, "relu_conv10", n.conv10)
    n.pool10 = L.Pooling(x, pool=P.Pooling.AVE, global_pooling=True)
    judged(n, n.pool10)


def _fire(n: Any, name: str, bottom: Any, squeeze: int) -> Any:
    x = _conv(n, name, "squeeze1x1", bottom, squeeze, kernel_size=1)
    one = _conv(n, name, "expand1x1", x, 4 * squeeze, kernel_size=1)
    three = _conv(n, name, "expand3x3", x, 4 * squeeze, pad=1, kernel_size=3)
    n[f"{name}/concat"] = L.Concat(one, three)
    return n[f"{name}/concat"]


def _conv(n: Any, block: str, name: str, bottom: Any, outputs: int, **more: Any) -> Any:
    n[f"{block}/{name}"] = L.Convolution(bottom, num_output=outputs, weight_filler=_XAVIER, **more)
    return relu(n, f"{block}/relu_{name}", n[f"{block}/{name}"])
