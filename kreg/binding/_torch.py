"""What only torch knows of a step: which weights it has updated."""

from collections.abc import Callable

import keras


def update_watch(
    variables: list[keras.Variable],
) -> Callable[[keras.Variable], bool]:
    """Return a function that tells whether a variable was updated since now.

    torch counts the changes of each tensor. A tensor that is not counted, or
    was replaced by another one, may have been updated.

    Args:
        variables: the variables that it is asked for.
    """
    before = {id(v): (v.value, v.value._version) for v in variables}

    def is_updated(variable: keras.Variable) -> bool:
        value = variable.value
        tensor, version = before.get(id(variable), (None, -1))
        return value is not tensor or value._version != version

    return is_updated
