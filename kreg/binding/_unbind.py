"""Undoing `bind`."""

import keras

from kreg.binding._bind import bind, bindings
from kreg.binding._binding import renew_functions
from kreg.binding._bound_penalty import (
    BoundPenalty,
    ObservedRegularizer,
    own_regularizer,
)
from kreg.binding._hooks import remove_hooks


def is_bound(model: keras.Model) -> bool:
    """Whether `model` is bound."""
    return model in bindings


def unbind(model: keras.Model) -> bool:
    """Make a bound model one of Keras alone again.

    Its weights have the regularizers that the user gave them, and its training
    step is its own: a schedule stands still at its first value, and `fit` logs
    no `penalty`. Another bound model that shares weights keeps them bound.

    Args:
        model: a `keras.Model`, bound or not.

    Returns:
        Whether it was bound.
    """
    binding = bindings.pop(model, None)
    if binding is None:
        return False
    remove_hooks(model)
    for variable in model.weights:
        regularizer = variable.regularizer
        if isinstance(regularizer, ObservedRegularizer) or (
            isinstance(regularizer, BoundPenalty)
            and regularizer.binding is binding
        ):
            variable.regularizer = own_regularizer(variable)
    renew_functions(model)
    freed = {id(variable) for variable in model.weights}
    for other in list(bindings):
        if any(id(variable) in freed for variable in other.weights):
            bind(other)
    return True
