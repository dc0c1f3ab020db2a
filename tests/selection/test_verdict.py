"""The tests of differences agree with the literature."""

import math

import numpy as np
import pytest

from kreg.selection.comparison.verdict import (
    Comparison,
    PairedTest,
    compared_text,
    comparisons_of,
    corrected_t_test,
)

stats = pytest.importorskip("scipy.stats")
RNG = np.random.default_rng(0)


def test_without_correction_it_is_the_paired_t_test():
    a, b = RNG.normal(size=(2, 12))
    expected = stats.ttest_rel(a, b)
    for level in (0.95, 0.99):
        found = corrected_t_test(a - b, 0.0, level)
        low, high = expected.confidence_interval(level)
        assert found.p_value == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((low, high))
        assert found.mean == pytest.approx((a - b).mean())


def test_the_correction_is_that_of_nadeau_and_bengio():
    d = RNG.normal(0.5, 1.0, size=10)
    t = d.mean() / math.sqrt((1 / 10 + 1 / 9) * d.var(ddof=1))
    p_value = corrected_t_test(d, 1 / 9).p_value
    assert p_value == pytest.approx(2 * stats.t.sf(abs(t), 9))


def test_equal_scores_do_not_differ():
    assert corrected_t_test(np.zeros(5), 0.25) == PairedTest(0.0, 0.0, 0.0, 1.0)


def test_a_constant_difference_is_certain():
    assert corrected_t_test(np.full(5, 0.5), 0.25) == PairedTest(
        0.5, 0.5, 0.5, 0.0
    )


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


def test_an_interval_leaves_out_zero_exactly_where_it_is_significant():
    # Among them pairs that 95 % intervals, or those after Bonferroni, would
    # tell otherwise.
    seen = {"95 %": 0, "Bonferroni": 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = {
            name: rng.normal(shift, 0.3, size=10)
            for name, shift in (("a", 0.0), ("b", 0.3), ("c", 0.6), ("d", 0.6))
        }
        for pair in comparisons_of(scores, 1 / 9):
            assert (not pair.low <= 0.0 <= pair.high) == pair.significant
            seen["95 %"] += pair.p_value < 0.05 and not pair.significant
            seen["Bonferroni"] += pair.p_value > 0.05 / 6 and pair.significant
    assert min(seen.values()) > 0


def test_levels_of_the_intervals_are_those_of_holm():
    steady = np.tile([1.0, -1.0], 5)
    scores = {"a": 0.1 * steady, "b": 0.1 * steady[::-1] + 0.13}
    scores["c"] = scores["a"] - 5.0 + 0.05 * np.arange(10)
    pairs = comparisons_of(scores, 1 / 9)
    ordered = sorted(pairs, key=lambda pair: pair.p_value)
    below = [pair.p_value for pair in ordered]
    assert below[1] < 0.05 / 2 < below[2]
    levels = [pair.level for pair in ordered]
    np.testing.assert_allclose(levels, [1 - 0.05 / 3, 1 - 0.05 / 2, 0.95])
    for pair, level in zip(ordered, levels, strict=True):
        plain = corrected_t_test(
            scores[pair.first] - scores[pair.second], 1 / 9, level
        )
        assert (pair.low, pair.high) == (plain.low, plain.high)


def test_a_single_pair_has_the_plain_interval():
    scores = {"a": RNG.normal(size=8), "b": RNG.normal(size=8)}
    (pair,) = comparisons_of(scores, 0.25)
    assert pair.level == 0.95
    assert pair.adjusted_p_value == pair.p_value


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
            found[share] += corrected_t_test(differences, share).p_value < 0.05
    assert found[0.0] / trials > 0.2
    assert found[0.25] / trials < 0.08


def comparison(first, second, difference, p_value):
    ends = difference - 0.1, difference + 0.1
    adjusted = p_value
    return Comparison(
        first,
        second,
        difference,
        *ends,
        0.95,
        p_value,
        adjusted,
        adjusted < 0.05,
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
