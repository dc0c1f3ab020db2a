"""Errors, notices and endings, as other commands have them."""

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


class CommandError(Exception):
    """The work failed; the message is one line for people."""


class UsageError(CommandError):
    """The arguments after `kreg` do not go together."""


def in_one_line(error: BaseException) -> str:
    """What an error says, fit for a terminal whatever a file brought in.

    Args:
        error: of any kind. Where its message alone may not be understood, the
            name of its class comes first.
    """
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
        if error.filename is not None:
            text = f"{error.filename}: {text}"
    else:
        text = _telling_line(str(error)) or type(error).__name__
        if not isinstance(error, (CommandError, ValueError, ImportError)):
            text = f"{type(error).__name__}: {text}"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _telling_line(text: str) -> str:
    """The line that tells what failed; Keras prints whole configs before."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(_MET):
            return line.removeprefix(_MET)
    if lines and lines[0].endswith(":"):
        return " ".join(lines[:2])
    return lines[0] if lines else ""


_MET = "Exception encountered: "
_LONGEST = 600


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


INTERRUPTED = 128 + signal.SIGINT
CLOSED_PIPE = 128 + 13


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a request to end run what cleans up, as Ctrl-C does.

    `SystemExit` is raised for SIGTERM and SIGHUP, unless they are ignored.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows lacks SIGHUP
            if number and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def print_out(text: str) -> None:
    """Write on standard output, or nothing more where that fails.

    Raises:
        BrokenPipeError: if nobody reads it.
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
    """Leave Python nothing to complain of when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
