"""The cause of an error is one line, wherever Keras writes it."""

from pathlib import Path

import keras
import pytest

from kreg.error_messages import cause_of, one_line


class Failing(keras.layers.Layer):
    def call(self, x):
        raise ValueError("too wide\nfor it")


def called():
    Failing()(keras.ops.ones((1, 2)))


def deserialized():
    config = keras.saving.serialize_keras_object(keras.layers.Dense(2))
    config["config"] |= {"wide": 3}
    keras.saving.deserialize_keras_object(config)


def opened():
    Path("/none/such\nfile").read_text()


def failed(error):
    def function():
        raise error

    return function


CAUSES = {
    "in a call": (called, "too wide"),
    "after a config": (
        deserialized,
        "Unrecognized keyword arguments passed to Dense: {'wide': 3}",
    ),
    "of a file": (opened, r"/none/such\nfile: No such file or directory"),
    "after a colon": (
        failed(ValueError("Not found:\n a, b\nc")),
        "Not found: a, b",
    ),
    "bold": (failed(ValueError("\x1b[1mwide\x1b[0m")), "wide"),
    "control characters": (failed(ValueError("a\x1b[31mb")), r"a\x1b[31mb"),
    "none": (failed(ValueError()), ""),
}


@pytest.mark.parametrize("place", CAUSES)
def test_the_cause_is_found(place):
    function, cause = CAUSES[place]
    with pytest.raises((OSError, TypeError, ValueError)) as raised:
        function()
    assert cause_of(raised.value) == cause


def test_a_long_cause_keeps_its_start_and_its_end():
    error = ValueError("first" + "." * 1000 + "last")
    for longest in (50, 300, 301):
        cause = cause_of(error, longest)
        assert longest - 10 <= len(cause) <= longest
        assert cause.startswith("first")
        assert cause.endswith("last")


@pytest.mark.parametrize(
    ("error", "line"),
    [(KeyError("x"), "KeyError: 'x'"), (ValueError(), "ValueError")],
)
def test_one_line_begins_with_the_class(error, line):
    assert one_line(error) == line
