"""Nets written in Python: ``NetSpec``, ``layers`` and ``params``.

A net is written down as calls, and turned into a NetParameter::

    from caffe import layers as L, params as P

    n = caffe.NetSpec()
    n.data, n.label = L.Data(source="lmdb", backend=P.Data.LMDB, batch_size=64, ntop=2)
    n.ip = L.InnerProduct(n.data, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.ip, n.label)
    print(n.to_proto())

Source: ``net_spec.py`` of pycaffe, whose names and order of layers these are.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from recaffe.errors import NetError, NoSuchBlobError
from recaffe.proto.schema import LayerParameter, NetParameter


def _parameter_fields() -> dict[str, str]:
    """For a message type such as ``Convolution`` its field, ``convolution_param``."""
    fields = LayerParameter.DESCRIPTOR.fields
    return {
        field.message_type.name.removesuffix("Parameter"): field.name
        for field in fields
        if field.message_type is not None and field.message_type.name.endswith("Parameter")
    }


def param_name_dict() -> dict[str, str]:
    """For a layer type such as ``Convolution`` its parameters' name, ``convolution``."""
    return {name: field.removesuffix("_param") for name, field in _parameter_fields().items()}


_FIELDS = {field.name for field in LayerParameter.DESCRIPTOR.fields}
_PARAMETER_FIELDS = _parameter_fields()


class NoSuchTopError(NoSuchBlobError, AttributeError):
    """A name that no blob of a NetSpec has."""


class NoSuchFieldError(NetError, AttributeError):
    """A setting that no message of the layer has."""


class Top:
    """One of the blobs that a layer makes."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> Any:
        """A NetParameter of the layers that make this blob."""
        return to_proto(self)


class Function:
    """A call of a layer: its type, its bottoms and its settings."""

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: dict[str, Any]) -> None:
        for index, top in enumerate(inputs):
            if not isinstance(top, Top):
                raise TypeError(
                    f"{type_name}: input {index} is a {type(top).__name__}, not a Top; of a layer "
                    "with several tops (ntop), which gives a tuple, take one"
                )
        self.type_name = type_name
        self.inputs: tuple[Top, ...] = inputs
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_proto(self) -> Any:
        """A NetParameter of the layers that this one needs, and of itself."""
        return to_proto(self)


Named = Top | Function  # a layer without tops is named itself


def to_proto(*tops: Named) -> Any:
    """A NetParameter of the layers that make ``tops``; blobs without a name are numbered."""
    return _write_net(tops, {})


class Layers:
    """``layers.Type(bottom, ..., setting=value, ...)`` calls a layer.

    Settings are fields of the layer's own parameter message (``num_output=10``) or of
    LayerParameter (``param``, ``include``, ``loss_weight``, ``convolution_param`` ...);
    messages are given as dicts. Further ones are ``ntop``, the number of tops, and
    ``in_place``. The call gives a Top, a tuple of them for another ``ntop`` than 1, or,
    without tops, the Function.
    """

    def __getattr__(self, type_name: str) -> Any:
        def call(*inputs: Any, **params: Any) -> Any:
            fn = Function(type_name, inputs, params)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        return call


class Parameters:
    """The values of enums: ``params.Pooling.MAX``."""

    def __getattr__(self, name: str) -> Any:
        field = _PARAMETER_FIELDS.get(name)
        if field is None:
            raise AttributeError(f"no message {name}Parameter")
        return getattr(LayerParameter(), field)


class NetSpec:
    """A net whose blobs are named by attributes: ``n.conv1 = layers.Convolution(n.data, ...)``.

    Names that are no Python names are given as items: ``n["conv1/relu"] = ...``. A layer has
    the name of its first top.
    """

    tops: OrderedDict[str, Named]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Named) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Named:
        tops = self.__dict__.get("tops", {})  # which copy asks for before it is there
        if name not in tops:
            raise NoSuchTopError(f"no blob '{name}'; known: {', '.join(tops) or 'none'}")
        return tops[name]

    def __setitem__(self, name: str, value: Named) -> None:
        self.tops[name] = value

    def __getitem__(self, name: str) -> Named:
        return self.tops[name]

    def __delattr__(self, name: str) -> None:
        if name not in self.tops:
            raise NoSuchTopError(f"no blob '{name}'; known: {', '.join(self.tops) or 'none'}")
        del self.tops[name]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def to_proto(self) -> Any:
        """The NetParameter, each layer after those that its bottoms come from."""
        return _write_net(self.tops.values(), {top: name for name, top in self.tops.items()})


def _write_net(tops: Iterable[Named], given: dict[Named, str]) -> Any:
    net, names, numbers = NetParameter(), dict(given), Counter[str]()
    written: set[Function] = set()

    def name_of(item: Named, type_name: str) -> str:
        if item not in names:
            numbers[type_name] += 1
            names[item] = f"{type_name}{numbers[type_name]}"
        return names[item]

    for top in tops:
        for fn in _in_order(top if isinstance(top, Function) else top.fn, written):
            layer = net.layer.add(type=fn.type_name)
            layer.bottom.extend(names[bottom] for bottom in fn.inputs)
            if fn.in_place:
                layer.name = name_of(fn.tops[0], fn.type_name)
                layer.top.extend(layer.bottom)
                names.update(zip(fn.tops, layer.bottom, strict=False))
            else:
                layer.top.extend(name_of(each, fn.type_name) for each in fn.tops)
                layer.name = name_of(fn.tops[0] if fn.tops else fn, fn.type_name)
            for name, value in fn.params.items():
                _set_parameter(layer, name, value)
    return net


def _in_order(last: Function, written: set[Function]) -> Iterator[Function]:
    """``last`` and what it needs, as far as it is not written, each after what it needs."""
    waiting = [last]  # not the interpreter's own stack, which deep nets exceed
    while waiting:
        fn = waiting[-1]
        missing = [top.fn for top in fn.inputs if top.fn not in written]
        if fn in written:
            waiting.pop()
        elif missing:
            waiting.append(missing[0])
        else:
            written.add(waiting.pop())
            yield fn


def _set_parameter(layer: Any, name: str, value: Any) -> None:
    if name in _FIELDS:
        assign_proto(layer, name, value)
        return
    field = _PARAMETER_FIELDS.get(layer.type)
    if field is None or name not in getattr(layer, field).DESCRIPTOR.fields_by_name:
        raise NoSuchFieldError(
            f"layer '{layer.name}' ({layer.type}): neither LayerParameter nor "
            f"{field or 'a message of its own'} has a field '{name}'; the parameters of another "
            f"layer's message are given as a dict: convolution_param=dict({name}=...)"
        )
    assign_proto(getattr(layer, field), name, value)


def assign_proto(message: Message, name: str, value: Any) -> None:
    """Set a field to a value, a dict (a message), or a list of these."""
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise NoSuchFieldError(f"{message.DESCRIPTOR.name} has no field '{name}'")
    if field.is_repeated:
        target = getattr(message, name)
        values = value if isinstance(value, list | tuple) else [value]
        if field.message_type is None:
            target.extend(values)
            return
        for each in values:
            _assign_all(target.add(), each)
    elif isinstance(value, Mapping):
        _assign_all(getattr(message, name), value)
    elif field.enum_type and isinstance(value, str):
        setattr(message, name, field.enum_type.values_by_name[value].number)
    else:
        setattr(message, name, value)


def _assign_all(message: Message, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(message, name, value)


layers = Layers()
params = Parameters()
