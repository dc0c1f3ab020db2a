"""The error bounds of stability selection, as the papers have them."""

import math

import pytest

from kreg.selection.features.stability_result import (
    largest_number,
    stability_bound,
)


def test_example_of_meinshausen_and_buehlmann():
    # Their section 2.3: q = sqrt(0.8 p) at 0.9 bounds the mistakes by one.
    assert stability_bound(math.sqrt(0.8 * 200), 200, 0.9) == pytest.approx(1.0)


def test_worst_case_at_threshold_one_is_the_square_over_all():
    assert stability_bound(10, 1000, 1.0) == pytest.approx(0.1)


def test_unimodal_bound_of_the_package_of_hofner():
    # R's `stabs` prints "PFER: 0.454" for its example of body fat: 9
    # features, 2 selected, a threshold of 0.75 and 50 pairs.
    bound = stability_bound(2, 9, 0.75, unimodal=True)
    assert bound == pytest.approx(0.4535, abs=5e-5)


def test_unimodal_bound_above_three_quarters():
    # 4 (1 - 0.9 + 1/100) / (1 + 1/50) = 0.44 / 1.02, of theorem 2.
    bound = stability_bound(10, 100, 0.9, unimodal=True)
    assert bound == pytest.approx(0.44 / 1.02)


def test_unimodal_branches_meet_at_three_quarters_for_many_pairs():
    below = stability_bound(5, 1000, 0.75, pairs=10**6, unimodal=True)
    above = stability_bound(5, 1000, 0.75 + 1e-9, pairs=10**6, unimodal=True)
    assert below == pytest.approx(above, rel=1e-4)


@pytest.mark.parametrize("threshold", [0.6, 0.75, 0.9, 1.0])
def test_unimodal_bound_is_the_smaller(threshold):
    plain = stability_bound(10, 1000, threshold)
    assert stability_bound(10, 1000, threshold, unimodal=True) < plain


@pytest.mark.parametrize("threshold", [0.55, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("expected_false", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("num_features", [10, 100, 1000])
def test_largest_number_is_the_largest(threshold, expected_false, num_features):
    number = largest_number(expected_false, num_features, threshold)
    allowed = [
        q
        for q in range(1, num_features + 1)
        if stability_bound(q, num_features, threshold)
        <= expected_false * (1 + 1e-12)
    ]
    assert number == max(allowed, default=0)


@pytest.mark.parametrize("threshold", [0.5, 0.0, 1.01, -1.0])
def test_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold={threshold}"):
        stability_bound(2, 9, threshold)


def test_more_selected_than_there_are():
    with pytest.raises(ValueError, match=r"num_selected=10.*num_features=9"):
        stability_bound(10, 9, 0.75)


@pytest.mark.parametrize(
    ("selected", "threshold"), [(2, 0.505), (90, 0.75), (40, 0.6)]
)
def test_unimodal_bound_where_it_does_not_hold(selected, threshold):
    with pytest.raises(ValueError, match="for the unimodal bound"):
        stability_bound(selected, 100, threshold, unimodal=True)
