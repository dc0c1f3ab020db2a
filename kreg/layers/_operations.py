"""The operations of `keras.ops`, and how each treats channels."""

from collections.abc import Mapping

from kreg.layers._arranging import padding, take
from kreg.layers._contracting import (
    dot,
    dot_product_attention,
    einsum,
    matmul,
    reduction,
    softmax,
    tensordot,
)
from kreg.layers._elementwise import elementwise_operation, of_the_same_shape
from kreg.layers._merging import (
    choice,
    concatenation,
    difference,
    equal,
    greater,
    greater_equal,
    largest,
    less,
    less_equal,
    not_equal,
    power,
    product,
    quotient,
    smallest,
    total,
    unknown,
)
from kreg.layers.channels.activations import ELEMENTWISE_KINDS
from kreg.layers.channels.call import Tracer, kept_whole
from kreg.layers.channels.rearranging import moved, picked, reshaped, split

# Operations that combine tensors, arrays and numbers entry by entry.
_SEVERAL_TERMS: Mapping[str, Tracer] = {
    "Add": total,
    "Divide": quotient,
    "Equal": equal,
    "Greater": greater,
    "GreaterEqual": greater_equal,
    "Less": less,
    "LessEqual": less_equal,
    "Maximum": largest,
    "Minimum": smallest,
    "Multiply": product,
    "NotEqual": not_equal,
    "Power": power,
    "Subtract": difference,
    "TrueDivide": quotient,
    "Where": choice,
    **dict.fromkeys(
        (
            *("Arctan2", "DivideNoNan", "FloorDivide", "Hypot", "Logaddexp"),
            *("LogicalAnd", "LogicalOr", "LogicalXor", "Mod"),
        ),
        unknown,
    ),
}
_OPERATIONS: Mapping[str, Tracer] = {
    "Concatenate": concatenation,
    "Dot": dot,
    "DotProductAttention": dot_product_attention,
    "Einsum": einsum,
    "Matmul": matmul,
    "Pad": padding,
    "Softmax": softmax,
    "Take": take,
    "Tensordot": tensordot,
    **dict.fromkeys(("OnesLike", "ZerosLike"), of_the_same_shape),
    **dict.fromkeys(("BroadcastTo", "Reshape"), reshaped),
    **dict.fromkeys(("ArraySplit", "Split"), split),
    **dict.fromkeys(("Amax", "Amin", "Max", "Mean", "Min", "Sum"), reduction),
    **dict.fromkeys(
        (
            *("ExpandDims", "Moveaxis", "Ravel", "Repeat", "Squeeze", "Stack"),
            *("Swapaxes", "Tile", "Transpose"),
        ),
        moved,
    ),
    **dict.fromkeys(("Flip", "GetItem", "Roll", "Slice", "Unstack"), picked),
}


def operation_tracer(kind: str, tensors: int) -> Tracer:
    """The tracer of an operation.

    Args:
        kind: the name of the operation's class.
        tensors: the number of tensors that it is called on.
    """
    if kind in _OPERATIONS:
        return _OPERATIONS[kind]
    if tensors == 1 and kind in ELEMENTWISE_KINDS:
        return elementwise_operation
    return _SEVERAL_TERMS.get(kind, kept_whole)
