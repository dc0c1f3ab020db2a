"""The `kreg` command line."""

from kreg.cli._main import main

__all__ = ["main"]
