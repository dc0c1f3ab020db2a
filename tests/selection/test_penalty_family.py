"""The forms of a penalty that a path takes, and those that it refuses."""

import numpy as np
import pytest

import kreg
from kreg.selection.strengths.penalty_family import penalty_family


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (kreg.L1, ["l1"]),
        (kreg.L1L2, ["l1", "l2"]),
        (kreg.SparseGroupLasso, ["l1", "group"]),
        (kreg.MCP, ["strength"]),
    ],
)
def test_all_strengths_of_a_class_are_equal(cls, names):
    found = penalty_family(cls).strengths(0.3)
    assert found == pytest.approx(dict.fromkeys(names, 0.3))


def test_strengths_of_a_function_are_its_own():
    family = penalty_family(lambda s: kreg.L1L2(2.0 * s, 1e-2))
    assert family.strengths(0.5) == pytest.approx({"l1": 1.0, "l2": 1e-2})


def test_l1_l2_as_a_class_costs_both():
    family = penalty_family(kreg.L1L2)
    family.penalty.multiplier = 0.5
    w = np.array([[3.0], [-4.0]], "float32")
    assert float(family.penalty(w)) == pytest.approx(0.5 * 7.0 + 0.5 * 25.0)
