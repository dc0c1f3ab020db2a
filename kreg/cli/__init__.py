"""The `kreg` command."""

from kreg.cli._main import main

__all__ = ["main"]
