"""TensorFlow's messages are kept back where kreg calls it, and there alone."""

import logging
import os

import pytest

from kreg.tensorflow_messages import (
    without_messages,
    without_retracing_alarm,
)

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


NATIVE = [
    b"I0000 00:00:1795836765.740558    5355 service.cc:153] XLA\n",
    b"W0000 00:00:1795836765.740558    5355 model.cc:2] Ignored\n",
    b"2026-01-31 01:02:03.456789: I tensorflow/cc/reader.cc:83] Reading\n",
]
OTHERS = [
    b"E0000 00:00:1795836765.740558    5355 model.cc:2] Failed\n",
    b"2026-01-31 01:02:03.456789: E tensorflow/cc/reader.cc:83] Failed\n",
    b"somebody else's line\n",
    b"I am one as well, without an end",
]


def fail_after_messages():
    with without_messages():
        for line in [*NATIVE, *OTHERS]:
            os.write(2, line)
        raise ZeroDivisionError


def test_errors_and_lines_of_others_are_shown_afterwards(capfd):
    with pytest.raises(ZeroDivisionError):
        fail_after_messages()
    os.write(2, NATIVE[0])
    shown = b"".join([*OTHERS, NATIVE[0]])
    assert capfd.readouterr().err.encode() == shown


def test_its_logger_tells_of_errors_alone(told):
    logger = logging.getLogger("tensorflow")
    with without_messages():
        logger.warning("Assets written to: here")
        logger.error("a failure")
    logger.warning("a warning")
    assert told == ["a failure", "a warning"]


def test_one_inside_another(capfd):
    with without_messages():
        with without_messages():
            os.write(2, NATIVE[0] + OTHERS[0])
        os.write(2, NATIVE[1] + OTHERS[1])
    assert capfd.readouterr().err.encode() == OTHERS[0] + OTHERS[1]


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_process_without_a_stream_for_errors(monkeypatch, tmp_path, stream):
    closed = (tmp_path / "closed").open("w")
    closed.close()
    monkeypatch.setattr("sys.stderr", stream and closed)
    with without_messages():
        pass
