"""What the command says on standard error, beside errors."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from rich.console import Console

from kreg.cli._errors import in_one_line


def note(text: str) -> None:
    """Say something that is no error."""
    print(f"kreg: note: {text}", file=sys.stderr)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show on a terminal that something goes on, until the block ends."""
    console = Console(stderr=True)
    shown = console.status(text) if sys.stderr.isatty() else nullcontext()
    with shown:
        yield


@contextmanager
def only_notices() -> Iterator[None]:
    """Keep standard output free, and make warnings notes of one line."""
    tensorflow = logging.getLogger("tensorflow")
    level = tensorflow.level
    tensorflow.setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.showwarning = _show
            yield
    finally:
        tensorflow.setLevel(level)


def _show(message: Warning | str, *others: Any, **named: Any) -> None:
    error = message if isinstance(message, Warning) else UserWarning(message)
    note(in_one_line(error).removeprefix("UserWarning: "))
