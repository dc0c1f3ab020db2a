"""Silences TensorFlow's messages about work that kreg does on its own.

Where the user trains, calls or exports a model, messages are left alone.
"""

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

_ALARM = "triggered tf.function retracing"


@contextmanager
def without_retracing_alarm() -> Iterator[None]:
    """Suppress TensorFlow's warning about retracing.

    TensorFlow counts traces by the line of code that creates a function. So the
    training steps of many models look to it like one step that is traced many
    times.
    """
    with _filtered(lambda record: _ALARM not in record.getMessage()):
        yield


@contextmanager
def without_messages() -> Iterator[None]:
    """Suppress TensorFlow's messages, except errors.

    Its C++ code writes to file descriptor 2, past `sys.stderr`. Other output to
    that descriptor is shown at the end.
    """
    with (
        _filtered(lambda record: record.levelno >= logging.ERROR),
        _lock,
        _captured_descriptor(2, _NATIVE_MESSAGE),
    ):
        yield


@cache
def start_xla() -> None:
    """Start XLA on the CPU without the message it prints once per process."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"), without_messages():
        # XLA compiles this operation with MLIR, which prints a message, too.
        tf.function(tf.abs, jit_compile=True)(tf.constant(0.0))


@cache
def start_generators() -> None:
    """Start `tf.data` on a generator without the message it prints once."""
    import tensorflow as tf

    with without_messages():
        signature = tf.TensorSpec((), tf.int32)
        numbers = tf.data.Dataset.from_generator(
            lambda: iter([0]), output_signature=signature
        )
        sum(1 for _ in numbers)


@contextmanager
def _filtered(shows: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    logger = logging.getLogger("tensorflow")
    logger.addFilter(shows)
    try:
        yield
    finally:
        logger.removeFilter(shows)


# File descriptors belong to the process: only one thread may replace them at a
# time.
_lock = threading.RLock()

# How a line of level INFO or WARNING starts in the C++ logs of TensorFlow's
# versions and of LiteRT.
_NATIVE_MESSAGE = re.compile(
    rb"[IW]\d{4} \d\d:\d\d:\d+\.\d+ "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|INFO: Created TensorFlow Lite"
)


@contextmanager
def _captured_descriptor(
    descriptor: int, unwanted: re.Pattern[bytes]
) -> Iterator[None]:
    """Drop the lines written to a file descriptor that start with a pattern."""
    try:
        shown = os.dup(descriptor)
    except OSError:  # the process has no such descriptor: it has no terminal
        yield
        return
    with tempfile.TemporaryFile() as captured, os.fdopen(shown, "wb") as stream:
        _flush()
        os.dup2(captured.fileno(), descriptor)
        try:
            yield
        finally:
            _flush()
            os.dup2(shown, descriptor)
            captured.seek(0)
            stream.writelines(
                line for line in captured if not unwanted.match(line)
            )


def _flush() -> None:
    stderr: Any = sys.stderr
    with suppress(AttributeError, OSError, ValueError):  # None, or closed
        stderr.flush()
