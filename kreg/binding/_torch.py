"""Which weights a step has updated, by torch's count of changes."""

from collections.abc import Callable

import keras


def update_watch(
    variables: list[keras.Variable],
) -> Callable[[keras.Variable], bool]:
    """Return a function that tells if a variable was updated after this call.

    torch counts the changes of each tensor. A tensor without a count, or one
    that was replaced, is taken to be updated.

    Args:
        variables: the variables to watch.
    """
    before = {id(v): (v.value, v.value._version) for v in variables}

    def is_updated(variable: keras.Variable) -> bool:
        value = variable.value
        tensor, version = before.get(id(variable), (None, -1))
        return value is not tensor or value._version != version

    return is_updated
