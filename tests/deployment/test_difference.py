"""The largest difference of outputs, by hand."""

import numpy as np
import pytest

from kreg.surgery.outputs import largest_difference

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("expected", "found", "difference"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([0.0, 0.0], [0.0, 0.5], 0.5),
        ([1.0, NAN, INF], [1.0, NAN, INF], 0.0),
        ([1.0, NAN], [1.0, 2.0], INF),
        ([1.0, 2.0], [1.0, NAN], INF),
        ([1.0, INF], [1.0, -INF], INF),
        ([1.0, 2.0], [1.0], INF),
        ([True, False], [True, True], 1.0),
        ([], [], 0.0),
    ],
)
def test_relative_to_the_largest_entry(expected, found, difference):
    outputs = [np.array(expected)], [np.array(found)]
    assert largest_difference(*outputs) == difference


def test_every_output_has_its_own_scale():
    small, large = np.array([1e-3]), np.array([1e3])
    found = [small * 1.5, large]
    assert largest_difference([small, large], found) == pytest.approx(0.5)


def test_missing_output_is_infinitely_far():
    assert largest_difference([np.ones(1), np.ones(1)], [np.ones(1)]) == INF
