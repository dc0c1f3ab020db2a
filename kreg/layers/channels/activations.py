"""Activations: which are elementwise, and their values at constants."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import activations, ops, tree

from kreg._keras_private import traced_function
from kreg.layers.channels.network import Values

# Names in `keras.activations` that are not elementwise functions.
_NOT_ELEMENTWISE = frozenset(
    ("glu", "log_softmax", "softmax", "sparsemax", "get", "serialize")
)
_ELEMENTWISE_FUNCTIONS = {
    getattr(activations, name)
    for name in dir(activations)
    if name not in _NOT_ELEMENTWISE
    and name.islower()
    and not name.startswith("_")
}

ELEMENTWISE_KINDS = frozenset(
    (
        *("Abs", "Absolute", "Arccos", "Arccosh", "Arcsin", "Arcsinh"),
        *("Arctan", "Arctanh", "Cast", "Cbrt", "Ceil", "Celu", "Clip"),
        *("ConvertToTensor", "Copy", "Cos", "Cosh", "Elu", "Erf", "Erfinv"),
        *("Exp", "Exp2", "Expm1", "Fabs", "Floor", "Gelu", "HardShrink"),
        *("HardSigmoid", "HardSilu", "HardTanh", "Identity", "LeakyRelu"),
        *("Isfinite", "Isinf", "Isnan", "LogicalNot"),
        *("Log", "Log10", "Log1p", "Log2", "LogSigmoid", "Mish"),
        *(
            "NanToNum",
            "Negative",
            "ReLU",
            "Reciprocal",
            "Relu",
            "Relu6",
            "Round",
            "Rsqrt",
        ),
        *("Selu", "Sigmoid", "Sign", "Silu", "Sin", "Sinh", "SoftShrink"),
        *("Softplus", "Softsign", "SparsePlus", "SparseSigmoid", "Sqrt"),
        *("Square", "Squareplus", "StopGradient", "Tan", "Tanh"),
        *("TanhShrink", "Threshold", "Trunc"),
    )
)
"""Operations on one tensor that treat every entry by itself."""

ELEMENTWISE_ON_SEVERAL = frozenset(
    (
        *("Add", "Arctan2", "Divide", "DivideNoNan", "Equal", "FloorDivide"),
        *("Greater", "GreaterEqual", "Hypot", "Less", "LessEqual"),
        *("Logaddexp", "LogicalAnd", "LogicalOr", "LogicalXor", "Maximum"),
        *("Minimum", "Mod", "Multiply", "NotEqual", "Power", "Subtract"),
        *("TrueDivide", "Where"),
    )
)
"""Operations on several tensors and numbers, entry by entry."""


def is_elementwise(activation: Any) -> bool:
    """Whether an activation is known to treat every entry by itself.

    A custom function is run on symbolic tensors of two shapes. It is
    elementwise if it makes the same calls on both, and if each call is
    elementwise, on tensors of the shape of the input and on plain numbers.
    """
    if isinstance(activation, keras.layers.Layer):
        return type(activation) in ELEMENTWISE_LAYERS
    try:
        if activation in _ELEMENTWISE_FUNCTIONS:
            return True
    except TypeError:  # an object without a hash
        pass
    first = _elementwise_calls(activation, (3, 5))
    return first is not None and first == _elementwise_calls(activation, (2, 7))


def _elementwise_calls(
    function: Any, shape: tuple[int, ...]
) -> list[Any] | None:
    """The calls of a function on a tensor, if all of them are elementwise."""
    graph = traced_function(function, keras.KerasTensor(shape))
    if graph is None or len(graph.outputs) != 1 or graph.unseen:
        return None
    places = {id(tensor): i for i, tensor in enumerate(graph.inputs)}
    calls: list[Any] = []
    for call in graph.calls:
        arguments = tree.flatten((call.arguments.args, call.arguments.kwargs))
        kind = type(call.operation).__name__
        if kind not in ELEMENTWISE_KINDS | ELEMENTWISE_ON_SEVERAL or not all(
            tuple(a.shape) == shape
            if isinstance(a, keras.KerasTensor)
            else is_plain_argument(a)
            for a in arguments
        ):
            return None
        calls.append((kind, settings(call.operation)))
        calls += [
            places[id(a)] if id(a) in places else plain_argument(a)
            for a in arguments
        ]
        for tensor in call.output_tensors:
            places[id(tensor)] = len(places)
    return [*calls, places.get(id(graph.outputs[0]))]


def is_plain_argument(argument: Any) -> bool:
    """Whether an argument is a number, a string or None, not an array."""
    return (
        argument is None
        or isinstance(argument, bool | int | float | str | np.generic)
        or (ops.is_tensor(argument) and argument.ndim == 0)
    )


def plain_argument(argument: Any) -> Any:
    """A plain argument as a value that can be compared."""
    if ops.is_tensor(argument):
        return ops.convert_to_numpy(argument).item()
    return argument


def settings(operation: Any) -> dict[str, Any]:
    """The arguments that an operation of `keras.ops` was made with."""
    return {
        name: value
        for name, value in vars(operation).items()
        if not name.startswith("_") and name != "name"
    }


def arguments_in_twin(node: Any, twin: Any) -> Iterator[tuple[Any, bool]]:
    """The flat arguments of a call, tensors too.

    With each comes whether it is the same for inputs of other sizes. For a
    symbolic tensor this is True.

    Args:
        node: the call.
        twin: the same call on inputs of other sizes; None if there is none.
    """
    first, second = (
        tree.flatten((n.arguments.args, n.arguments.kwargs))
        for n in (node, twin or node)
    )
    for one, other in zip(first, second, strict=True):
        yield (
            one,
            isinstance(one, keras.KerasTensor)
            or one is other
            or _are_equal(one, other),
        )


def same_in_twin(node: Any, twin: Any) -> bool:
    """Whether all but symbolic tensors are the same for other sizes."""
    if twin is None:
        return True
    return all(same for _, same in arguments_in_twin(node, twin)) and settings(
        node.operation
    ) == settings(twin.operation)


def _are_equal(one: Any, other: Any) -> bool:
    if is_plain_argument(one) and is_plain_argument(other):
        return bool(plain_argument(one) == plain_argument(other))
    try:
        return np.array_equal(*map(ops.convert_to_numpy, (one, other)))
    except Exception:  # an object that is no array
        return bool(one == other)


ELEMENTWISE_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)
"""Activation layers without weights that treat every entry by itself."""


def applied_to_constants(
    function: Callable[[Any], Any], values: Values, dtype: str
) -> Values:
    """The values of an elementwise function at constants.

    Args:
        function: takes and returns a tensor.
        values: the constants, NaN for a channel that varies.
        dtype: the dtype in which the function computes.

    Returns:
        The value for each channel; NaN for a channel that varies, or whose
        value is not finite.
    """
    results = np.full(values.shape, np.nan)
    is_constant = ~np.isnan(values)
    if is_constant.any():
        exact = "float64" if dtype == "float64" else "float32"
        x = ops.convert_to_tensor(values[is_constant][None].astype(exact))
        y = ops.cast(function(ops.cast(x, dtype)), exact)
        computed = ops.convert_to_numpy(y)[0]
        results[is_constant] = np.where(np.isfinite(computed), computed, np.nan)
    return results
