"""Implicit Split layers, under Caffe's own names.

Source: ``InsertSplits`` in ``util/insert_splits.cpp``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from recaffe.errors import NetError
from recaffe.proto.schema import LayerParameter, NetParameter

Top = tuple[int, int]  # a layer's index, and the index among its tops


def insert_splits(net: Any) -> Any:
    """A copy of ``net`` with a Split after every top that has several consumers.

    A loss weight on a top counts as one more consumer, and moves to the split. The layer that
    gave it loses all of its weights then, as in Caffe: those of its other tops count for
    nothing, and a loss layer falls back to its default. The split of top ``i``, blob ``b``,
    of layer ``l`` is named ``b_l_i_split``, and its tops ``b_l_i_split_0`` and so on.

    Raises:
        NetError: a bottom that no layer before it produces.
    """
    source = _sources(net)
    consumers = Counter(source.values())
    for index, layer in enumerate(net.layer):
        for top_index, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            # A loss that nobody else consumes needs no split.
            if weight and consumers[(index, top_index)]:
                consumers[(index, top_index)] += 1
    split = NetParameter()
    split.CopyFrom(net)
    split.ClearField("layer")
    used: Counter[Top] = Counter()
    for index, original in enumerate(net.layer):
        layer = split.layer.add()
        layer.CopyFrom(original)
        for bottom_index in range(len(layer.bottom)):
            top = source[(index, bottom_index)]
            if consumers[top] > 1:
                layer.bottom[bottom_index] = _split_blob(net, top, used[top])
                used[top] += 1
        for top_index in range(len(layer.top)):
            top = (index, top_index)
            if consumers[top] > 1:
                used[top] += _add_split(net, top, consumers[top], layer, split)
    return split


def _sources(net: Any) -> dict[tuple[int, int], Top]:
    """For every bottom (layer, index) the top that it reads."""
    newest: dict[str, Top] = {}
    source: dict[tuple[int, int], Top] = {}
    for index, layer in enumerate(net.layer):
        for bottom_index, blob in enumerate(layer.bottom):
            if blob not in newest:
                raise NetError(
                    f"layer '{layer.name}', bottom {bottom_index}: unknown blob '{blob}'; "
                    f"no layer before it has that top. Known: {', '.join(newest) or 'none'}"
                )
            source[(index, bottom_index)] = newest[blob]
        newest.update((blob, (index, top_index)) for top_index, blob in enumerate(layer.top))
    return source


def _split_name(net: Any, top: Top) -> str:
    layer = net.layer[top[0]]
    return f"{layer.top[top[1]]}_{layer.name}_{top[1]}_split"


def _split_blob(net: Any, top: Top, number: int) -> str:
    return f"{_split_name(net, top)}_{number}"


def _add_split(net: Any, top: Top, count: int, producer: Any, split_net: Any) -> int:
    """Add the Split of ``top`` after ``producer``; return how many of its tops are taken."""
    split = LayerParameter(name=_split_name(net, top), type="Split")
    split.bottom.append(producer.top[top[1]])
    split.top.extend(_split_blob(net, top, number) for number in range(count))
    given = net.layer[top[0]].loss_weight
    weight = given[top[1]] if top[1] < len(given) else 0
    if weight:
        # The loss is taken from the split's first top.
        split.loss_weight.extend([weight] + [0] * (count - 1))
        producer.ClearField("loss_weight")
    split_net.layer.append(split)
    return 1 if weight else 0
