"""A file that TensorBoard reads."""

import itertools
import os
import socket
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SUFFIX = ".kreg"
_numbers = itertools.count()


class EventFile:
    """An event file of a run, which training survives whatever happens to it.

    Written with TensorBoard's own record writer, without TensorFlow, and on
    disk once `write` returns.

    Args:
        folder: the folder of a TensorBoard run; made if it is not there.

    Raises:
        OSError: if it cannot be written.
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        event_pb2, record_writer = _tensorboard()
        self._new_event = event_pb2.Event
        self._new_writer = record_writer.RecordWriter
        self.path = folder / (
            f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
            f".{os.getpid()}.{next(_numbers)}{_SUFFIX}"
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._append(self._new_event(file_version="brain.Event:2"), "xb")
        except OSError as error:
            raise OSError(
                error.errno,
                "`log_dir` must be a directory that can be written, and is "
                f"not ({error.strerror}): give another one. Received: log_dir "
                "with the folder",
                str(folder),
            ) from error
        self._works = True

    def write(self, step: int, values: Sequence[Any]) -> None:
        """Append one event; after a failure nothing is written any more.

        Args:
            step: the optimizer iteration.
            values: `Summary.Value` protocol buffers.
        """
        if not self._works or not values:
            return
        event = self._new_event(step=step)
        event.summary.value.extend(values)
        try:
            self._append(event, "r+b")  # which does not make it anew
        except OSError as error:
            self._works = False
            warnings.warn(
                f"Logging stops at step {step}, because {self.path} cannot be "
                f"written: {error}. Training goes on.",
                stacklevel=2,
            )

    def _append(self, event: Any, mode: str) -> None:
        event.wall_time = time.time()
        with self.path.open(mode) as file:
            file.seek(0, os.SEEK_END)
            self._new_writer(file).write(event.SerializeToString())


def earlier_files(folder: Path) -> list[Path]:
    """The event files that were written to a folder before."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _tensorboard() -> tuple[Any, Any]:
    try:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer import record_writer
    except ImportError as error:
        raise ImportError(
            "`RegularizationMonitor` writes logs for TensorBoard, which is "
            "not installed: run `pip install 'tensorboard>=2.21'`"
        ) from error
    return event_pb2, record_writer
