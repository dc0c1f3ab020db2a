"""The operations of `keras.ops`, and how each treats channels."""

from collections.abc import Mapping

from kreg.layers._elementwise import elementwise_operation
from kreg.layers._merging import (
    concatenation,
    difference,
    largest,
    product,
    smallest,
    total,
)
from kreg.layers.channels.call import Tracer, kept_whole

# Operations on several tensors, by the name of their class.
_MERGING: Mapping[str, Tracer] = {
    "Add": total,
    "Concatenate": concatenation,
    "Maximum": largest,
    "Minimum": smallest,
    "Multiply": product,
    "Subtract": difference,
}
# Operations on one tensor and plain numbers.
_ELEMENTWISE = frozenset(
    (
        *("Absolute", "Add", "Celu", "Clip", "Cos", "Divide", "Elu", "Exp"),
        *("Gelu", "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu"),
        *("LogSigmoid", "Maximum", "Minimum", "Multiply", "Negative"),
        *("Power", "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Sin"),
        *("Softplus", "Softsign", "Sqrt", "Square", "Subtract", "Tanh"),
        "TrueDivide",
    )
)


def operation_tracer(kind: str, tensors: int) -> Tracer:
    """The tracer of an operation.

    Args:
        kind: the name of the operation's class.
        tensors: the number of tensors that it is called on.
    """
    if tensors > 1:
        return _MERGING.get(kind, kept_whole)
    if tensors == 1 and kind in _ELEMENTWISE:
        return elementwise_operation
    return kept_whole
