"""How channels run through the operations of `keras.ops`."""

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

# By the name of the operation's class. Of several tensors:
_MERGING: Mapping[str, Tracer] = {
    "Add": total,
    "Concatenate": concatenation,
    "Maximum": largest,
    "Minimum": smallest,
    "Multiply": product,
    "Subtract": difference,
}
# Of one tensor and plain numbers:
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
    """What follows channels through an operation.

    Args:
        kind: the name of the operation's class.
        tensors: of how many tensors it is.
    """
    if tensors > 1:
        return _MERGING.get(kind, kept_whole)
    if tensors == 1 and kind in _ELEMENTWISE:
        return elementwise_operation
    return kept_whole
