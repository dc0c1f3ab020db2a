"""Giving attributes of Keras another value while a block runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute of a class or a module another value.

    Args:
        owner: the class or the module.
        name: the name of the attribute, which `owner` may inherit.
        value: its value while the block runs.
    """
    own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
