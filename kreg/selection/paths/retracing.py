"""TensorFlow's alarm about retracing, which is false along paths."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_ALARM = "triggered tf.function retracing"


@contextmanager
def without_retracing_alarm() -> Iterator[None]:
    """Silence TensorFlow's alarm about retracing.

    Each path has a model of its own, whose train step is traced once. But
    TensorFlow counts traces by the line that makes a function, and so takes
    the train steps of many models for one that is traced many times.
    """
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_alarm)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_alarm)


def _is_no_alarm(record: logging.LogRecord) -> bool:
    return _ALARM not in record.getMessage()
