"""Changes that are undone if a later one fails."""

from contextlib import ExitStack
from typing import Any


def replace(owner: Any, attribute: str, value: Any, undo: ExitStack) -> None:
    """Set an attribute, and have `undo` set it back."""
    undo.callback(setattr, owner, attribute, getattr(owner, attribute))
    setattr(owner, attribute, value)
