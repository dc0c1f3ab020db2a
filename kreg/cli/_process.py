"""One-line errors, notes, signals and standard output of the command."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from rich.console import Console

from kreg.error_messages import cause_of


class CommandError(Exception):
    """The work failed; the message is one readable line."""


class UsageError(CommandError):
    """The arguments after `kreg` do not go together."""


def in_one_line(error: BaseException) -> str:
    """The message of an error in one printable line.

    Args:
        error: any error. The name of its class comes first, unless the message
            alone is clear.
    """
    text = cause_of(error, _LONGEST_MESSAGE) or type(error).__name__
    if isinstance(error, (CommandError, ValueError, ImportError, OSError)):
        return text
    return f"{type(error).__name__}: {text}"


_LONGEST_MESSAGE = 600


def note(text: str) -> None:
    """Print a note, which is not an error, on standard error."""
    print(f"kreg: note: {text}", file=sys.stderr)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show `text` with a spinner on a terminal until the block ends."""
    console = Console(stderr=True)
    shown = console.status(text) if sys.stderr.isatty() else nullcontext()
    with shown:
        yield


@contextmanager
def only_notices() -> Iterator[None]:
    """Keep standard output clean, and print warnings as one-line notes."""
    tensorflow = logging.getLogger("tensorflow")
    level = tensorflow.level
    tensorflow.setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.showwarning = _note_warning
            yield
    finally:
        tensorflow.setLevel(level)


def _note_warning(message: Warning | str, *others: Any, **named: Any) -> None:
    error = message if isinstance(message, Warning) else UserWarning(message)
    note(in_one_line(error).removeprefix("UserWarning: "))


INTERRUPTED = 128 + signal.SIGINT
CLOSED_PIPE = 128 + 13


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `SystemExit`, unless they are ignored.

    `finally` blocks then clean up.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows lacks SIGHUP
            if number and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _exit_by_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_by_signal(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def print_out(text: str) -> None:
    """Write to standard output; after an error, drop all further output.

    Raises:
        BrokenPipeError: if the reader has closed standard output.
        CommandError: if it cannot be written for another reason.
    """
    try:
        print(text, end="", flush=True)
    except OSError as error:
        _drop_standard_output()
        if isinstance(error, BrokenPipeError):
            raise
        raise CommandError(
            f"cannot write on standard output: {error.strerror}"
        ) from error


def _drop_standard_output() -> None:
    """Discard standard output, so that Python can flush it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
