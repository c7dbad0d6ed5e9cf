"""A callback that stops a training whose numbers have left the real ones."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from caffetools.cli import ToolError
from caffetools.solvers.monitoring import after_a_step

# -log of the smallest normal float: what SoftmaxWithLoss gives at most, where the right class
# has the probability 0.
LARGEST_SOFTMAX_LOSS = 87.3365

_TOO_FAST = (
    "The usual cause is a learning rate that is too high: divide base_lr, or the lr_mult of this "
    "layer, by 10, or set clip_gradients; then go on from a snapshot of before"
)
_CHECK_DATA = (
    "Look for NaN and for huge values in the data, for a scale or a mean that does not fit, and "
    "for divisions by 0 in layers that read it"
)
_SATURATED = (
    "The net gives the right class of every entry the probability 0. Divide base_lr by 10, scale "
    "the data to about -1 to 1 (transform_param { scale: 0.00390625 } for pixels), and see that "
    "labels run from 0 to one less than the number of outputs"
)


class SentinelCallback:
    """Stops at NaN, at infinity, and at the loss 87.3365 of a net that is beyond help.

    It raises :class:`ToolError`, so that the callbacks after it see nothing of a broken net:
    register it before those that take snapshots.
    """

    @after_a_step
    def check(self, iteration: int, solver: Any) -> None:
        """Raise :class:`ToolError`, naming the first such blob in forward order, where one is."""
        found = find_not_finite(solver.net) or find_saturated(solver.net)
        if found:
            raise ToolError(f"iteration {iteration}: {found}")


def find_not_finite(net: Any) -> Optional[str]:
    """What is said of the first blob in forward order with NaN or infinity; None without one.

    Weights come last: they were updated after the blobs were computed.
    """
    for name, blob in net.blobs.items():
        if not _is_finite(blob.data):
            layer = _producer(net, name)
            advice = _CHECK_DATA if not net.bottom_names[layer] else _TOO_FAST
            return (
                f"blob {name!r} of layer {layer!r} is the first that is not finite in forward "
                f"order, {_count(blob.data)}. {advice}"
            )
    for layer, blobs in net.params.items():
        for index, blob in enumerate(blobs):
            if not _is_finite(blob.data):
                return (
                    f"all blobs are finite, but the last update made weight {index} of layer "
                    f"{layer!r} not finite, {_count(blob.data)}. {_TOO_FAST}"
                )
    return None


def find_saturated(net: Any) -> Optional[str]:
    """What is said of the first loss that is 87.3365; None without one."""
    for name, weight in net.blob_loss_weights.items():
        data = net.blobs[name].data
        if weight and data.size == 1 and abs(float(data.sum()) - LARGEST_SOFTMAX_LOSS) < 1e-3:
            layer = _producer(net, name)
            return f"blob {name!r} of layer {layer!r} is 87.3365. {_SATURATED}"
    return None


def _is_finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())


def _count(array: np.ndarray) -> str:
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    return f"NaN {nan} times and infinite {infinite} times among {array.size} values"


def _producer(net: Any, blob: str) -> str:
    """The first layer with that top; Caffe's in-place layers come after it."""
    return next(name for name in net._layer_names if blob in net.top_names[name])
