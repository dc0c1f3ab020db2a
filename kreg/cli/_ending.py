"""Ending as other programs do, with nothing left behind."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kreg.cli._errors import CommandError

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
