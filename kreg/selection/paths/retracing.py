"""TensorFlow's alarm about retracing, which is false along paths."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_ALARM = "triggered tf.function retracing"


@contextmanager
def without_retracing_alarm() -> Iterator[None]:
    """Silence it: each path has a model of its own, which is traced once.

    TensorFlow counts by the place in the code where a function was made, and
    so takes the train steps of many models for one.
    """
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_alarm)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_alarm)


def _is_no_alarm(record: logging.LogRecord) -> bool:
    return _ALARM not in record.getMessage()
