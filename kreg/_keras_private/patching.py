"""Giving attributes another value for a while, and putting them back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def restore_attributes(
    attributes: dict[str, Any], before: Mapping[str, Any]
) -> None:
    """Give an object the attributes that it had before.

    Args:
        attributes: its attributes, as `vars` returns them.
        before: a copy of them that was made before.
    """
    for name in attributes.keys() - before.keys():
        del attributes[name]
    attributes.update(before)


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
