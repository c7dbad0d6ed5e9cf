"""Drawers of layers with sliding windows, of normalisations, and of recurrent layers."""

from __future__ import annotations

import numpy as np

from differential.draw import (
    Drawn,
    Random,
    axis_of,
    chance,
    draws,
    integer,
    normal,
    number,
    pick,
    some,
    some_shape,
)


def _windows(random: Random, axes: int, sizes, most_pad: int = 2) -> str:
    """Kernel, stride, pad and dilation that fit ``sizes``, given in one of Caffe's ways."""
    pad = [integer(random, 0, most_pad) for _ in range(axes)]
    dilation = [pick(random, 1, 1, 2) for _ in range(axes)]
    kernel = [
        integer(random, 1, min(3, (size + 2 * p - 1) // d + 1))
        for size, p, d in zip(sizes, pad, dilation, strict=True)
    ]
    stride = [integer(random, 1, 3) for _ in range(axes)]
    if chance(random, 0.3):
        least = [min(values) for values in (kernel, stride, pad, dilation)]
        kernel, stride, dilation = ([value] for value in (least[0], least[1], least[3]))
        pad = [max(pad)]
    elif axes == 2 and chance(random, 0.4):
        both = {"kernel": kernel, "stride": stride, "pad": pad}
        named = [
            f"{name}_{side}: {value}"
            for name, values in both.items()
            for side, value in zip("hw", values, strict=True)
        ]
        return " ".join([*named, *(f"dilation: {value}" for value in dilation)])
    named = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    return " ".join(f"{name}: {value}" for name, values in named.items() for value in values)


def _convolution(type_: str) -> None:
    @draws(type_)
    def draw(random: Random) -> Drawn:
        axes = pick(random, 1, 2, 2, 2, 3)
        group = integer(random, 1, 3)
        channels, outputs = (group * integer(random, 1, 2) for _ in range(2))
        sizes = [integer(random, 3, 6) for _ in range(axes)]
        # padding takes from a Deconvolution's top; of three pixels one is left
        most_pad = 2 if type_ == "Convolution" else 1
        settings = f"num_output: {outputs} group: {group} "
        settings += _windows(random, axes, sizes, most_pad) + " "
        settings += some(random, bias_term="false", force_nd_im2col="true")
        bottoms = integer(random, 1, 2)
        lead = (integer(random, 1, 3),) if chance(random, 0.8) else (2, 2)
        if len(lead) == 2 or chance(random):
            said = pick(random, len(lead), -axes - 1)
            settings += f" axis: {said}"
        shape = (*lead, channels, *sizes)
        return Drawn(
            f"convolution_param {{ {settings} engine: CAFFE }}",
            [normal(random, shape) for _ in range(bottoms)], tops=bottoms,
        )  # fmt: skip


_convolution("Convolution")
_convolution("Deconvolution")


@draws("Im2col")
def im2col(random: Random) -> Drawn:
    axes = pick(random, 1, 2, 2, 3)
    sizes = [integer(random, 3, 6) for _ in range(axes)]
    settings = _windows(random, axes, sizes) + " " + some(random, force_nd_im2col="true")
    shape = (integer(random, 1, 2), integer(random, 1, 3), *sizes)
    return Drawn(f"convolution_param {{ {settings} }}", [normal(random, shape)])


@draws("Pooling")
def pooling(random: Random) -> Drawn:
    shape = (integer(random, 1, 2), integer(random, 1, 3), *(integer(random, 3, 8),) * 2)
    shape = (*shape[:3], integer(random, 3, 8))
    method = pick(random, "MAX", "AVE")
    settings = f"pool: {method} "
    if chance(random, 0.15):
        settings += "global_pooling: true"
    elif chance(random, 0.3):
        kernel = [integer(random, 1, 3) for _ in range(2)]
        pad = [integer(random, 0, k - 1) for k in kernel]
        settings += f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} pad_h: {pad[0]} pad_w: {pad[1]} "
        # a stride beyond the kernel can leave a window without anything
        strides = [integer(random, 1, k) for k in kernel]
        settings += f"stride_h: {strides[0]} stride_w: {strides[1]}"
    else:
        kernel = integer(random, 1, 3)
        settings += f"kernel_size: {kernel} pad: {integer(random, 0, kernel - 1)} "
        settings += f"stride: {integer(random, 1, kernel)}"
    settings += " " + some(random, round_mode=pick(random, "CEIL", "FLOOR"))
    return Drawn(f"pooling_param {{ {settings} engine: CAFFE }}", [normal(random, shape)])


@draws("SPP")
def spp(random: Random) -> Drawn:
    shape = (integer(random, 1, 2), integer(random, 1, 3), integer(random, 8, 12))
    shape = (*shape, integer(random, 8, 12))
    settings = f"pyramid_height: {integer(random, 1, 3)} " + some(random, pool=pick(random, "MAX"))
    return Drawn(f"spp_param {{ {settings} }}", [normal(random, shape)])


@draws("LRN")
def lrn(random: Random) -> Drawn:
    shape = (integer(random, 1, 2), integer(random, 1, 6), *some_shape(random, 2, 2))
    settings = f"local_size: {pick(random, 1, 3, 5)} alpha: {number(random, 0.1, 2)} "
    settings += f"beta: {number(random, 0.3, 1.2)} k: {number(random, 1, 2)} "
    settings += some(random, norm_region=pick(random, "ACROSS_CHANNELS", "WITHIN_CHANNEL"))
    return Drawn(
        f"lrn_param {{ {settings} engine: CAFFE }}", [normal(random, shape)], overwritable=False
    )


@draws("MVN")
def mvn(random: Random) -> Drawn:
    # Of two values normalised the gradient is zero, but for rounding.
    shape = (integer(random, 1, 3), integer(random, 1, 4), integer(random, 2, 5),
             integer(random, 2, 5))  # fmt: skip
    settings = some(random, normalize_variance="false", across_channels="true", eps=0.01)
    return Drawn(f"mvn_param {{ {settings} }}", [normal(random, shape)], overwritable=False)


@draws("BatchNorm")
def batch_norm(random: Random) -> Drawn:
    # Several items, or the variance is nothing but rounding.
    shape = (integer(random, 3, 5), *some_shape(random, 1, 4))
    settings = some(
        random, use_global_stats=pick(random, "true", "false"),
        moving_average_fraction=number(random, 0.3, 0.95), eps=number(random, 0.01, 0.2),
    )  # fmt: skip
    return Drawn(
        f"batch_norm_param {{ {settings} }}", [normal(random, shape)], params="positive",
        in_place=True,
    )  # fmt: skip


@draws("InnerProduct")
def inner_product(random: Random) -> Drawn:
    shape = some_shape(random)
    _, said = axis_of(random, len(shape))
    settings = f"num_output: {integer(random, 1, 5)} axis: {said} "
    settings += some(random, bias_term="false", transpose="true")
    return Drawn(f"inner_product_param {{ {settings} }}", [normal(random, shape)])


def _recurrent(type_: str, states: int) -> None:
    @draws(type_)
    def draw(random: Random) -> Drawn:
        time, items, outputs = (integer(random, 1, 4) for _ in range(3))
        bottoms = [normal(random, (time, items, *some_shape(random, 1, 2, 4)))]
        cont = (random.random((time, items)) < 0.7).astype(np.float32)
        bottoms.append(cont)
        if chance(random):
            bottoms.append(normal(random, (items, integer(random, 1, 3))))
        settings, tops = f"num_output: {outputs}", 1
        if chance(random, 0.4):
            settings += " expose_hidden: true"
            bottoms += [normal(random, (1, items, outputs)) for _ in range(states)]
            tops += states
        return Drawn(
            f"recurrent_param {{ {settings} }}", bottoms, fixed=[1], tops=tops, overwritable=False
        )


_recurrent("RNN", 1)
_recurrent("LSTM", 2)


@draws("LSTMUnit")
def lstm_unit(random: Random) -> Drawn:
    items, outputs = integer(random, 1, 4), integer(random, 1, 4)
    cont = (random.random((1, items)) < 0.7).astype(np.float32)
    bottoms = [normal(random, (1, items, outputs)), normal(random, (1, items, 4 * outputs)), cont]
    # BVLC's backward reads the new cell
    return Drawn("", bottoms, fixed=[2], tops=2, overwritable=False)
