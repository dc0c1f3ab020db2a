"""The names of weights in readings and logs."""

from collections.abc import Iterable

import keras


def distinct_paths(variables: Iterable[keras.Variable]) -> list[str]:
    """The path of each variable; `path#2`, `path#3` where it is not the first.

    Args:
        variables: the variables, in order.

    Returns:
        As many different strings.
    """
    seen: dict[str, int] = {}
    names = []
    for variable in variables:
        path = variable.path
        seen[path] = seen.get(path, 0) + 1
        names.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
    return names
