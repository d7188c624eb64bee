"""Nets written in Python: ``layers``, ``params``, ``NetSpec`` and ``to_proto``.

n = NetSpec()
n.data = layers.Input(input_param=dict(shape=dict(dim=[1, 3, 32, 32])))
n.conv = layers.Convolution(n.data, num_output=8, kernel_size=3)
n.relu = layers.ReLU(n.conv, in_place=True)
n.pool = layers.Pooling(n.relu, pool=params.Pooling.MAX, kernel_size=2, stride=2)
text = str(n.to_proto())
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError, nearest

_FIELDS = pb.LayerParameter.DESCRIPTOR.fields_by_name
#: "Convolution" -> "convolution_param", read from the schema.
_OWN_PARAM = {
    field.message_type.name.removesuffix("Parameter"): name
    for name, field in _FIELDS.items()
    if field.message_type is not None and name.endswith("_param")
}
# They are described as convolutions are.
_OWN_PARAM |= dict.fromkeys(
    ("Deconvolution", "DepthwiseConvolution", "Im2col"), "convolution_param"
)


class Top:
    """One output of a layer, to be given to other layers.

    Attributes:
        fn: The layer that makes it.
        n: Its place among the tops of that layer.
    """

    def __init__(self, fn: Function, n: int) -> None:
        self.fn, self.n = fn, n

    def to_proto(self) -> pb.NetParameter:
        """Return the net that makes this top; layers are named by their types."""
        return to_proto(self)


class Function:
    """A layer: its type, the tops that it reads, and its parameters.

    Keywords: ``ntop`` is the number of tops (1), ``in_place`` lets it write into its bottoms;
    all others are fields of the layer's own parameter message, or of ``LayerParameter``.
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: dict[str, Any]) -> None:
        self.type_name = type_name
        self.inputs = list(inputs)
        for bottom in self.inputs:
            if not isinstance(bottom, Top):
                hint = ": give its tops one by one" if isinstance(bottom, (tuple, list)) else ""
                raise TypeError(f"{type_name}: bottom {bottom!r} is not the top of a layer{hint}")
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_proto(self) -> pb.NetParameter:
        """Return the net that ends in this layer."""
        return to_proto(self)


class _Writer:
    """Writes functions as layers, each after those that it reads."""

    def __init__(self, names: dict[Top | Function, str]) -> None:
        self.names = names
        self.count: Counter[str] = Counter()
        self.layers: OrderedDict[Function, pb.LayerParameter] = OrderedDict()

    def write(self, last: Function) -> None:
        # A stack instead of recursion: nets are deeper than Python likes to recurse.
        stack = [last]
        while stack:
            fn = stack[-1]
            waiting = [top.fn for top in fn.inputs if top.fn not in self.layers]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            stack.pop()
            if fn not in self.layers:
                self.layers[fn] = self._layer(fn)

    def _layer(self, fn: Function) -> pb.LayerParameter:
        layer = pb.LayerParameter(type=fn.type_name)
        layer.bottom.extend(self.layers[top.fn].top[top.n] for top in fn.inputs)
        if fn.in_place:
            layer.top.extend(layer.bottom)
        elif fn.type_name != "Silence":  # which has none, whatever it is asked for
            layer.top.extend(self._name(top, fn) for top in fn.tops)
        layer.name = self._name(fn.tops[0] if fn.tops else fn, fn)
        for key, value in fn.params.items():
            own = _OWN_PARAM.get(fn.type_name)
            if own and key not in _FIELDS:
                _assign(getattr(layer, own), key, value, fn.type_name)
            else:
                _assign(layer, key, value, fn.type_name)
        return layer

    def _name(self, thing: Top | Function, fn: Function) -> str:
        if thing not in self.names:
            self.count[fn.type_name] += 1
            self.names[thing] = f"{fn.type_name}{self.count[fn.type_name]}"
        return self.names[thing]


def assign_proto(proto: Any, name: str, val: Any) -> None:
    """Set field ``name`` of a message from a scalar, a dict (message), or a list of either."""
    _assign(proto, name, val, type(proto).__name__)


def param_name_dict() -> dict[str, str]:
    """Return, for each type of layer that has a message of its own, what its field begins with."""
    return {kind: field.removesuffix("_param") for kind, field in _OWN_PARAM.items()}


def _assign(message: Any, key: str, value: Any, layer: str) -> None:
    """Set a field from a scalar, a dict (message), or a list of either (repeated field)."""
    known = message.DESCRIPTOR.fields_by_name
    if key not in known:
        raise UserError(
            f"{layer}: {message.DESCRIPTOR.name} has no field '{key}'{nearest(key, known)}"
        )
    field = getattr(message, key)
    try:
        if hasattr(field, "extend"):
            _extend(field, value if isinstance(value, (list, tuple)) else [value], layer)
        elif isinstance(value, dict):
            for name, item in value.items():
                _assign(field, name, item, layer)
            field.SetInParent()  # an empty dict still says that the message is there
        elif hasattr(field, "CopyFrom"):
            field.CopyFrom(value)
        else:
            setattr(message, key, value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{layer}: {key} cannot be {value!r}: {error}") from error


def _extend(field: Any, values: Iterable[Any], layer: str) -> None:
    for value in values:
        if isinstance(value, dict):
            item = field.add()
            for name, inner in value.items():
                _assign(item, name, inner, layer)
        else:
            field.append(value)


def to_proto(*tops: Top | Function) -> pb.NetParameter:
    """Return the net that makes ``tops``, its layers named ``Type1``, ``Type2``, ..."""
    return _net(tops, {})


def _net(ends: Iterable[Top | Function], names: dict[Top | Function, str]) -> pb.NetParameter:
    writer = _Writer(names)
    for end in ends:
        writer.write(end.fn if isinstance(end, Top) else end)
    return pb.NetParameter(layer=writer.layers.values())


class NetSpec:
    """A net under construction: assigning a top to an attribute names it (and its layer)."""

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    tops: OrderedDict[str, Top | Function]

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name not in self.tops:
            raise AttributeError(f"the net has no top '{name}'{nearest(name, self.tops)}")
        return self.tops[name]

    def __delattr__(self, name: str) -> None:
        del self.tops[name]

    __setitem__ = __setattr__
    __getitem__ = __getattr__
    __delitem__ = __delattr__

    def keys(self) -> list[str]:
        """Return the names given so far."""
        return list(self.tops)

    def vals(self) -> list[Top | Function]:
        """Return what was named so far."""
        return list(self.tops.values())

    def update(self, name: str, params: dict[str, Any]) -> None:
        """Give the layer that makes ``name`` further parameters."""
        top = self.tops[name]
        (top.fn if isinstance(top, Top) else top).params.update(params)

    def to_proto(self) -> pb.NetParameter:
        """Return the net; tops without a name are named by their types."""
        names = {top: name for name, top in self.tops.items()}
        return _net(self.tops.values(), names)


class Layers:
    """``layers.Convolution(bottom, num_output=8)`` makes a layer of any type, by its name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def make(*bottoms: Top, **params: Any) -> Any:
            fn = Function(name, bottoms, params)
            return fn if fn.ntop == 0 else fn.tops[0] if fn.ntop == 1 else fn.tops

        return make


class Parameters:
    """``params.Pooling.MAX`` is the number of an enum value in ``PoolingParameter``."""

    def __getattr__(self, name: str) -> Any:
        message = getattr(pb, f"{name}Parameter", None)
        if message is None:
            raise AttributeError(f"caffe.proto has no {name}Parameter")
        return message


layers = Layers()
params = Parameters()
