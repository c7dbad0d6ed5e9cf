"""Drawers of layers that work element by element, or on scores and labels."""

from __future__ import annotations

import numpy as np

from differential.draw import (
    Drawn,
    Random,
    axis_of,
    chance,
    draws,
    integer,
    integers,
    normal,
    number,
    pick,
    some,
    some_shape,
    uniform,
)


def _simple(
    type_: str, settings, values=normal, in_place: bool = True, overwritable: bool = True
) -> None:
    @draws(type_)
    def draw(random: Random) -> Drawn:
        bottom = values(random, some_shape(random))
        return Drawn(settings(random), [bottom], in_place=in_place, overwritable=overwritable)


def _braced(name: str, random: Random, **settings: object) -> str:
    return f"{name} {{ {some(random, **settings)} }}"


def _positive(random: Random, shape) -> np.ndarray:
    return uniform(random, shape, 0.5, 2)


_simple("AbsVal", lambda r: "", in_place=False)
# BVLC's backward of BNLL reads its bottom, which it overwrote in place
_simple("BNLL", lambda r: "", in_place=False)
_simple("Sigmoid", lambda r: "", overwritable=False)
_simple("TanH", lambda r: "", overwritable=False)
_simple("ELU", lambda r: f"elu_param {{ {some(r, alpha=number(r, 0.1, 2))} }}", overwritable=False)
_simple(
    "Swish",
    lambda r: f"swish_param {{ {some(r, beta=number(r, 0.2, 2))} }}",
    in_place=False,
    overwritable=False,
)
_simple(
    "ReLU", lambda r: f"relu_param {{ {some(r, negative_slope=number(r, 0, 0.5))} engine: CAFFE }}"
)
_simple(
    "Clip",
    lambda r: f"clip_param {{ min: {number(r, -1, -0.2)} max: {number(r, 0.2, 1)} }}",
    in_place=False,
)
_simple(
    "Exp",
    lambda r: _braced(
        "exp_param", r, base=number(r, 0.5, 3), scale=number(r, -1, 1), shift=number(r, -1, 1)
    ),
    overwritable=False,
)
_simple(
    "Log",
    lambda r: _braced(
        "log_param", r, base=number(r, 1.5, 3), scale=number(r, 0.5, 2), shift=number(r, 0, 1)
    ),
    values=_positive,
    in_place=False,
)
_simple(
    "Power",
    lambda r: "power_param {{ {} }}".format(
        some(r, power=pick(r, 0, 1, 2, 3, 0.5, -1, number(r, -2, 2)),
             scale=pick(r, 0, 1, number(r, 0.5, 2)), shift=number(r, 0.1, 1))
    ),
    values=_positive,
    in_place=False,
    overwritable=False,
)  # fmt: skip


@draws("Threshold")
def threshold(random: Random) -> Drawn:
    settings = f"threshold_param {{ {some(random, threshold=number(random, -1, 1))} }}"
    return Drawn(settings, [normal(random, some_shape(random))], fixed=[0], smooth=False)


@draws("Dropout")
def dropout(random: Random) -> Drawn:
    # in TEST only: what is dropped in TRAIN is chance
    settings = f"dropout_param {{ {some(random, dropout_ratio=number(random, 0.1, 0.9))} }}"
    return Drawn(settings + " phase: TEST", [normal(random, some_shape(random))], in_place=True)


@draws("PReLU")
def prelu(random: Random) -> Drawn:
    settings = f"prelu_param {{ {some(random, channel_shared='true')} }}"
    return Drawn(settings, [normal(random, some_shape(random, 2, 4))], in_place=True)


def _factor_shape(random: Random, shape) -> tuple[int, int, int]:
    axis, said = axis_of(random, len(shape))
    return axis, said, integer(random, 0, len(shape) - axis)


def _factor(type_: str, field: str) -> None:
    """Scale and Bias: one bottom and a parameter, or two bottoms."""

    @draws(type_)
    def draw(random: Random) -> Drawn:
        shape = some_shape(random)
        axis, said, axes = _factor_shape(random, shape)
        more = some(random, bias_term="true") if type_ == "Scale" else ""
        if chance(random):
            axes = pick(random, axes, -1)
            return Drawn(
                f"{field} {{ axis: {said} num_axes: {axes} {more} }}", [normal(random, shape)],
                in_place=True,
            )  # fmt: skip
        bottoms = [normal(random, shape), normal(random, shape[axis : axis + axes])]
        # a second bottom without axes cannot go through the layer that gives it a gradient
        fixed = [] if axes else [1]
        return Drawn(f"{field} {{ axis: {said} {more} }}", bottoms, fixed)


_factor("Scale", "scale_param")
_factor("Bias", "bias_param")


@draws("Embed")
def embed(random: Random) -> Drawn:
    words = integer(random, 1, 6)
    settings = f"num_output: {integer(random, 1, 4)} input_dim: {words}"
    settings += " " + some(random, bias_term="false")
    return Drawn(
        f"embed_param {{ {settings} }}", [integers(random, some_shape(random, 1, 3), words)],
        fixed=[0],
    )  # fmt: skip


@draws("Softmax")
def softmax(random: Random) -> Drawn:
    shape = some_shape(random)
    _, said = axis_of(random, len(shape))
    return Drawn(f"softmax_param {{ axis: {said} }}", [normal(random, shape)], in_place=True,
                 overwritable=False)  # fmt: skip


def _labelled(random: Random, axes_from: int = 1) -> tuple:
    shape = some_shape(random, 2, 4)
    # the label's first axis must be as long as the scores', so the classes are not along it
    axis, said = axis_of(random, len(shape), axes_from)
    labels = integers(random, (*shape[:axis], *shape[axis + 1 :]), shape[axis])
    return normal(random, shape), labels, axis, said


def _loss_param(random: Random, label: float | None = None, old: bool = True) -> str:
    settings = some(random, normalization=pick(random, "FULL", "VALID", "BATCH_SIZE", "NONE"))
    if old:
        settings += " " + some(random, normalize=pick(random, "true", "false"))
    if label is not None and chance(random):
        settings += f" ignore_label: {int(label)}"
    return f"loss_param {{ {settings} }}"


def _weighted(random: Random) -> str:
    return some(random, loss_weight=number(random, 0.5, 3))


@draws("SoftmaxWithLoss")
def softmax_loss(random: Random) -> Drawn:
    scores, labels, _, said = _labelled(random)
    settings = f"softmax_param {{ axis: {said} }} {_loss_param(random, labels.flat[0])}"
    return Drawn(f"{settings} {_weighted(random)}", [scores, labels], [1], smooth=False)


@draws("Accuracy")
def accuracy(random: Random) -> Drawn:
    scores, labels, axis, said = _labelled(random)
    settings = f"axis: {said} " + some(
        random, top_k=integer(random, 1, scores.shape[axis]), ignore_label=int(labels.flat[0])
    )
    return Drawn(
        f"accuracy_param {{ {settings} }}", [scores, labels], [0, 1], integer(random, 1, 2),
        smooth=False,
    )  # fmt: skip


@draws("SigmoidCrossEntropyLoss")
def sigmoid_loss(random: Random) -> Drawn:
    shape = some_shape(random, 1, 4)
    targets = integers(random, shape, 2) if chance(random) else uniform(random, shape, 0, 1)
    settings = _loss_param(random, pick(random, 0, 1, -1)) + " " + _weighted(random)
    return Drawn(settings, [normal(random, shape), targets], [1], smooth=False)


@draws("EuclideanLoss")
def euclidean(random: Random) -> Drawn:
    shape = some_shape(random, 1, 4)
    return Drawn(_weighted(random), [normal(random, shape), normal(random, shape)], smooth=False)


@draws("HingeLoss")
def hinge(random: Random) -> Drawn:
    items, classes = integer(random, 1, 5), integer(random, 1, 5)
    settings = f"hinge_loss_param {{ {some(random, norm=pick(random, 'L1', 'L2'))} }}"
    return Drawn(
        f"{settings} {_weighted(random)}",
        [normal(random, (items, classes)), integers(random, (items,), classes)], [1], smooth=False,
    )  # fmt: skip


@draws("ContrastiveLoss")
def contrastive(random: Random) -> Drawn:
    shape = (integer(random, 1, 5), integer(random, 1, 5), 1, 1)
    settings = some(
        random, margin=number(random, 0.5, 4), legacy_version=pick(random, "true", "false")
    )
    bottoms = [normal(random, shape), normal(random, shape), integers(random, (shape[0],), 2)]
    return Drawn(
        f"contrastive_loss_param {{ {settings} }} {_weighted(random)}", bottoms, [2], smooth=False
    )


def _probabilities(random: Random, shape, axis: int) -> np.ndarray:
    values = uniform(random, shape, 0.05, 1)
    return (values / values.sum(axis, keepdims=True)).astype(np.float32)


@draws("MultinomialLogisticLoss")
def multinomial(random: Random) -> Drawn:
    items, classes = integer(random, 1, 5), integer(random, 1, 5)
    bottoms = [_probabilities(random, (items, classes, 1, 1), 1),
               integers(random, (items, 1, 1, 1), classes)]  # fmt: skip
    return Drawn(_weighted(random), bottoms, [1], smooth=False)


@draws("InfogainLoss")
def infogain(random: Random) -> Drawn:
    scores, labels, axis, said = _labelled(random)
    classes = scores.shape[axis]
    matrix = uniform(random, (1, 1, classes, classes), 0, 1)
    settings = f"infogain_loss_param {{ axis: {said} }} "
    settings += _loss_param(random, labels.flat[0], old=False)
    return Drawn(f"{settings} {_weighted(random)}", [scores, labels, matrix], [1, 2], smooth=False)
