"""Work that other processes can import, and that may kill them."""

import os
import signal
import time
from pathlib import Path


def square(number):
    return number * number


def square_unless_killed(number, folder):
    """The first in the folder is killed in the middle of its work."""
    mark = Path(folder) / "kill"
    if number == 3 and mark.exists():
        mark.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(folder) / f"{number}-{time.monotonic_ns()}").touch()
    return number * number


def killed_elsewhere(caller):
    if os.getpid() != caller:
        os.kill(os.getpid(), signal.SIGKILL)
    return "here"
