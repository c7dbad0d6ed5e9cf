"""V0 nets, of 2013: a ``layer`` within ``layers``, with one message for all types.

Source: Caffe's ``util/upgrade_proto.cpp``; the tables below are its facts.
"""

from __future__ import annotations

import logging
from typing import Any

from recaffe.errors import FormatError
from recaffe.proto.schema import V1LayerParameter

logger = logging.getLogger(__name__)

PADDING = "padding"
_PADDED = ("conv", "pool")
_V1_SPELLINGS = {
    "conv": "CONVOLUTION",
    "images": "IMAGE_DATA",
    "innerproduct": "INNER_PRODUCT",
    "pool": "POOLING",
}
_V0_TYPES = (
    "accuracy", "bnll", "concat", "conv", "data", "dropout", "euclidean_loss", "flatten",
    "hdf5_data", "hdf5_output", "im2col", "images", "infogain_loss", "innerproduct", "lrn",
    "multinomial_logistic_loss", "pool", "relu", "sigmoid", "softmax", "softmax_loss",
    "split", "tanh", "window_data",
)  # fmt: skip

# V0's type names, to the enum of V1.
V0_TYPES: dict[str, int] = {
    name: V1LayerParameter.LayerType.Value(_V1_SPELLINGS.get(name, name.upper()))
    for name in _V0_TYPES
}
# The message of V1 that the parameters of a type moved to.
_PARAMS = {
    "concat": "concat_param",
    "conv": "convolution_param",
    "data": "data_param",
    "dropout": "dropout_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "infogain_loss": "infogain_loss_param",
    "innerproduct": "inner_product_param",
    "lrn": "lrn_param",
    "pool": "pooling_param",
    "window_data": "window_data_param",
}
# V0's fields: their name today, and the types that have them.
_MOVED: dict[str, tuple[str, tuple[str, ...]]] = {
    "num_output": ("num_output", ("conv", "innerproduct")),
    "biasterm": ("bias_term", ("conv", "innerproduct")),
    "weight_filler": ("weight_filler", ("conv", "innerproduct")),
    "bias_filler": ("bias_filler", ("conv", "innerproduct")),
    "pad": ("pad", ("conv", "pool")),
    "kernelsize": ("kernel_size", ("conv", "pool")),
    "group": ("group", ("conv",)),
    "stride": ("stride", ("conv", "pool")),
    "pool": ("pool", ("pool",)),
    "dropout_ratio": ("dropout_ratio", ("dropout",)),
    "local_size": ("local_size", ("lrn",)),
    "alpha": ("alpha", ("lrn",)),
    "beta": ("beta", ("lrn",)),
    "k": ("k", ("lrn",)),
    "source": ("source", ("data", "hdf5_data", "images", "infogain_loss", "window_data")),
    "batchsize": ("batch_size", ("data", "hdf5_data", "images", "window_data")),
    "rand_skip": ("rand_skip", ("data", "images")),
    "shuffle_images": ("shuffle", ("images",)),
    "new_height": ("new_height", ("images",)),
    "new_width": ("new_width", ("images",)),
    "concat_dim": ("concat_dim", ("concat",)),
    "det_fg_threshold": ("fg_threshold", ("window_data",)),
    "det_bg_threshold": ("bg_threshold", ("window_data",)),
    "det_fg_fraction": ("fg_fraction", ("window_data",)),
    "det_context_pad": ("context_pad", ("window_data",)),
    "det_crop_mode": ("crop_mode", ("window_data",)),
}
# Of layers of any type.
_TRANSFORM = {
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}
_KEPT = ("name", "blobs", "blobs_lr", "weight_decay")
# No type of today has them, and Caffe drops them without a word.
_DROPPED = ("type", "new_num", "new_channels")


def is_v0(net: Any) -> bool:
    """Whether ``net`` holds a V0 layer."""
    return any(layer.HasField("layer") for layer in net.layers)


def upgrade_v0(net: Any, origin: str) -> None:
    """Turn the V0 layers of ``net`` into V1 layers.

    Padding layers go: the convolution or pooling layer that reads one pads by itself. A
    parameter that the layer's type does not have is left out with a warning, as in Caffe.

    Raises:
        FormatError: layers of other forms in the same net, an unknown type, or a padding
            layer that cannot be folded into what reads it.
    """
    if net.layer or not all(layer.HasField("layer") for layer in net.layers):
        raise FormatError(
            f"{origin}: holds V0 layers (a 'layer' within 'layers') beside layers of a later "
            "form; write all of them in one form"
        )
    layers = _without_padding(net, origin)
    net.ClearField("layers")
    net.layers.extend(_upgraded(layer, origin) for layer in layers)


def _without_padding(net: Any, origin: str) -> list[Any]:
    """The layers but those of type padding, whose pad their readers now have."""
    makers: dict[str, Any] = dict.fromkeys(net.input)
    kept = []
    for source in net.layers:
        connection = type(source)()
        connection.CopyFrom(source)
        layer = connection.layer
        for index, bottom in enumerate(connection.bottom):
            if bottom not in makers:
                raise FormatError(
                    f"{origin}: layer '{layer.name}' reads '{bottom}', which no layer before it "
                    f"makes; it can read {', '.join(makers) or 'nothing'}"
                )
            padding = makers[bottom]
            if padding is not None:
                _check_padding(padding, connection, origin)
                layer.pad = padding.layer.pad
                connection.bottom[index] = padding.bottom[0]
        makers.update(dict.fromkeys(connection.top, source if layer.type == PADDING else None))
        if layer.type != PADDING:
            kept.append(connection)
    return kept


def _check_padding(padding: Any, reader: Any, origin: str) -> None:
    if reader.layer.type not in _PADDED:
        raise FormatError(
            f"{origin}: layer '{reader.layer.name}' of type {reader.layer.type} reads the padding "
            f"layer '{padding.layer.name}'; only {' and '.join(_PADDED)} can pad by themselves"
        )
    ends = (len(reader.bottom), len(padding.bottom), len(padding.top))
    if ends != (1, 1, 1):
        raise FormatError(
            f"{origin}: the padding layer '{padding.layer.name}' must have one bottom and one top, "
            f"and '{reader.layer.name}', which reads it, one bottom; found {ends[1]}, {ends[2]} "
            f"and {ends[0]}"
        )


def _upgraded(connection: Any, origin: str) -> Any:
    old = connection.layer
    new = V1LayerParameter(bottom=connection.bottom, top=connection.top)
    if old.type not in V0_TYPES:
        raise FormatError(
            f"{origin}: layer '{old.name}' has "
            + (f"the unknown V0 type '{old.type}'" if old.type else "no type")
            + f"; there are {', '.join(V0_TYPES)} and {PADDING}"
        )
    new.type = V0_TYPES[old.type]
    for field, value in old.ListFields():
        name = field.name
        if name in _KEPT:
            _put(new, name, value)
        elif name in _TRANSFORM:
            _put(new.transform_param, _TRANSFORM[name], value)
        elif name in _MOVED and old.type in _MOVED[name][1]:
            _put(getattr(new, _PARAMS[old.type]), _MOVED[name][0], value)
        elif name == "hdf5_output_param" and old.type == "hdf5_output":
            new.hdf5_output_param.CopyFrom(value)
        elif name not in _DROPPED:
            logger.warning(
                "%s: layer '%s': a layer of type %s has no %s; it is left out",
                origin, old.name, old.type, name,
            )  # fmt: skip
    return new


def _put(message: Any, name: str, value: Any) -> None:
    """Set a field of ``message``, append to it if it is repeated, or copy into it."""
    target = message.DESCRIPTOR.fields_by_name[name]
    if target.is_repeated:
        is_list = hasattr(value, "__len__") and not isinstance(value, str)
        getattr(message, name).extend(value if is_list else [value])
    elif target.message_type is not None:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)
