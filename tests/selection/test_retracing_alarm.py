"""TensorFlow's warning of retracing is silent along paths alone."""

import logging

import pytest

from kreg.selection.paths.retracing import without_retracing_alarm

ALARM = (
    "5 out of the last 6 calls to <function f> triggered tf.function retracing."
)


@pytest.fixture
def told():
    """The messages of TensorFlow's logger."""
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_the_alarm_alone_is_silent_and_for_a_while(told):
    logger = logging.getLogger("tensorflow")
    with without_retracing_alarm():
        logger.warning(ALARM)
        logger.warning("something else")
    assert told == ["something else"]
    logger.warning(ALARM)
    assert told[1:] == [ALARM]


@pytest.mark.tensorflow
def test_tensorflow_words_it_so(told):
    import tensorflow as tf

    for _ in range(8):

        @tf.function
        def traced(x):
            return x

        traced(tf.constant(1.0))
    assert any("triggered tf.function retracing" in text for text in told)
