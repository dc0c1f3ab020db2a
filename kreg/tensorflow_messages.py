"""TensorFlow's messages, kept back where they are not for the user.

A model that a user trains, calls or exports may print whatever Keras prints.
These functions are for what kreg does on its own with TensorFlow.
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
    """Keep back TensorFlow's warning of retracing.

    TensorFlow counts traces by the line of code that makes a function. So it
    takes the train steps, or the prediction steps, of many models for one step
    that is traced many times.
    """
    with _filtered(lambda record: _ALARM not in record.getMessage()):
        yield


@contextmanager
def without_messages() -> Iterator[None]:
    """Keep back what TensorFlow tells, but for errors.

    Its C++ code writes to descriptor 2, past `sys.stderr`. What others write
    there meanwhile is shown at the end.
    """
    with (
        _filtered(lambda record: record.levelno >= logging.ERROR),
        _lock,
        _captured_descriptor(2, _NATIVE_MESSAGE),
    ):
        yield


@cache
def start_xla() -> None:
    """Start XLA on the CPU, without what it tells of it once in a process."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"), without_messages():
        # An operation that XLA compiles by way of MLIR, which tells of itself.
        tf.function(tf.abs, jit_compile=True)(tf.constant(0.0))


@cache
def start_generators() -> None:
    """Start `tf.data` on a generator, without what that tells once."""
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


# Descriptors belong to the process, so one thread at a time replaces one.
_lock = threading.RLock()

# The start of an information or a warning of TensorFlow's C++ code, in the
# forms of its versions, and of LiteRT's.
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
    """Keep back the lines on a descriptor that begin with a pattern."""
    try:
        shown = os.dup(descriptor)
    except OSError:  # a process without it, such as one without a terminal
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
