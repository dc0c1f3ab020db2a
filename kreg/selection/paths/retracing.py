"""TensorFlow's warning of retracing, silenced where paths make it false."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_ALARM = "triggered tf.function retracing"


@contextmanager
def without_retracing_alarm() -> Iterator[None]:
    """Silence TensorFlow's warning of retracing.

    Each path has a model of its own, and traces its train step once. TensorFlow
    counts traces by the line of code that makes a function. So it takes the
    train steps of many models for one step that is traced many times.
    """
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_alarm)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_alarm)


def _is_no_alarm(record: logging.LogRecord) -> bool:
    return _ALARM not in record.getMessage()
