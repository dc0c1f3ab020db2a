"""Differences are told from chance as the literature says."""

import math

import numpy as np
import pytest

from kreg.selection._student import t_quantile, t_tail
from kreg.selection._verdict import (
    Comparison,
    compared_text,
    comparisons_of,
    corrected_t_test,
)

stats = pytest.importorskip("scipy.stats")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9.5, 49, 300])
@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, -2.5, 8.0, 60.0])
def test_tail_of_the_t_distribution(t, freedom):
    assert t_tail(t, freedom) == pytest.approx(
        2 * stats.t.sf(abs(t), freedom), rel=1e-7
    )


@pytest.mark.parametrize("freedom", [1, 2, 4, 9.5, 49, 300])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_quantile_of_the_t_distribution(level, freedom):
    expected = stats.t.ppf(0.5 + level / 2, freedom)
    assert t_quantile(level, freedom) == pytest.approx(expected, rel=1e-9)


def test_without_correction_it_is_the_paired_t_test():
    a, b = RNG.normal(size=(2, 12))
    mean, low, high, p_value = corrected_t_test(a - b, 0.0)
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert p_value == pytest.approx(expected.pvalue)
    assert (low, high) == pytest.approx((interval.low, interval.high))
    assert mean == pytest.approx((a - b).mean())


def test_the_correction_is_that_of_nadeau_and_bengio():
    d = RNG.normal(0.5, 1.0, size=10)
    t = d.mean() / math.sqrt((1 / 10 + 1 / 9) * d.var(ddof=1))
    _, _, _, p_value = corrected_t_test(d, 1 / 9)
    assert p_value == pytest.approx(2 * stats.t.sf(abs(t), 9))


def test_equal_scores_do_not_differ():
    assert corrected_t_test(np.zeros(5), 0.25) == (0.0, 0.0, 0.0, 1.0)


def test_a_constant_difference_is_certain():
    assert corrected_t_test(np.full(5, 0.5), 0.25) == (0.5, 0.5, 0.5, 0.0)


def test_a_difference_that_is_not_a_number_is_never_significant():
    scores = {"a": np.array([1.0, np.nan, 2.0]), "b": np.zeros(3)}
    (pair,) = comparisons_of(scores, 0.5)
    assert math.isnan(pair.p_value)
    assert not pair.significant


def test_several_pairs_are_adjusted_after_holm():
    scores = {
        name: RNG.normal(shift, 0.3, size=10)
        for name, shift in (("a", 0.0), ("b", 0.2), ("c", 0.6), ("d", 0.7))
    }
    pairs = comparisons_of(scores, 1 / 9)
    plain = np.array([pair.p_value for pair in pairs])
    order = np.argsort(plain)
    factors = len(plain) - np.arange(len(plain))
    expected = np.minimum(np.maximum.accumulate(plain[order] * factors), 1.0)
    adjusted = np.array([pair.adjusted_p_value for pair in pairs])
    np.testing.assert_allclose(adjusted[order], expected)
    assert [p.significant for p in pairs] == (adjusted < 0.05).tolist()


def test_folds_of_noise_seldom_differ():
    # Two scores that differ by chance alone, over overlapping folds: what the
    # folds share makes the plain test find differences, the corrected not.
    found = {0.0: 0, 0.25: 0}
    trials = 300
    for _ in range(trials):
        rows = RNG.normal(size=60)
        left_out = [RNG.permutation(60)[:12] for _ in range(15)]
        differences = np.array([rows[chosen].mean() for chosen in left_out])
        for share in found:
            found[share] += corrected_t_test(differences, share)[3] < 0.05
    assert found[0.0] / trials > 0.2
    assert found[0.25] / trials < 0.08


def comparison(first, second, difference, p_value):
    ends = difference - 0.1, difference + 0.1
    adjusted = p_value
    return Comparison(
        first, second, difference, *ends, p_value, adjusted, adjusted < 0.05
    )


PAIRS = (
    comparison("none", "L1", 0.5, 0.01),  # none scores more
    comparison("L1", "L2", 0.5, 0.01),
    comparison("L1", "both", 0.2, 0.4),
    comparison("L1", "odd", math.nan, math.nan),
    comparison("none", "both", 3.0, 0.0),
)


def test_words_where_less_is_better():
    assert compared_text("L1", PAIRS, more_is_better=False) == (
        "Significantly better than none. Significantly worse than L2. "
        "No significant difference from both. Not comparable with odd."
    )


def test_words_where_more_is_better():
    assert compared_text("L1", PAIRS, more_is_better=True) == (
        "Significantly better than L2. Significantly worse than none. "
        "No significant difference from both. Not comparable with odd."
    )
