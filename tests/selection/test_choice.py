"""Strengths are chosen as the rules say."""

import numpy as np
import pytest

from kreg.selection.comparison.choice import (
    checked_select,
    chosen_index,
    held_out_scores,
    standard_errors,
)

STRENGTHS = [0.1, 0.2, 0.4, 0.8]
# Two folds of one seed; means 1, 3, 2.5, 0; the best has a standard error of 1.
SCORES = np.array([[[0.0, 2.0, 1.5, 0.0], [2.0, 4.0, 3.5, 0.0]]])
ZEROS = np.array([[[0.0, 0.3, 0.5, 1.0], [0.0, 0.5, 0.7, 1.0]]])


def choice(select, scores=SCORES, zeros=ZEROS, strengths=STRENGTHS):
    return chosen_index(scores, zeros, strengths, select)


def test_best():
    assert choice("best") == 1


def test_one_standard_error_is_the_largest_strength_within_it():
    assert choice("one_standard_error") == 2


def test_one_standard_error_looks_beyond_a_dip():
    # 3 - 1 = 2 at the most: 0.4 is below, 0.8 within.
    scores = np.array([[[0.0, 2.0, 0.0, 1.0], [2.0, 4.0, 0.0, 3.0]]])
    assert choice("one_standard_error", scores) == 3


def test_the_order_of_the_strengths_does_not_matter():
    back = slice(None, None, -1)
    for select in ("best", "one_standard_error", 0.4):
        index = choice(
            select, SCORES[..., back], ZEROS[..., back], STRENGTHS[back]
        )
        assert len(STRENGTHS) - 1 - index == choice(select)


def test_sparsity_is_the_smallest_strength_that_reaches_it():
    assert choice(0.5) == 2
    assert choice(0.35) == 1


def test_the_sparsest_where_none_reaches_it():
    assert choice(0.95, zeros=0.9 * ZEROS) == 3


def test_of_equals_the_largest_strength():
    assert choice("best", np.zeros((1, 2, 4))) == 3


@pytest.mark.parametrize("select", ["best", "one_standard_error", 0.4])
def test_what_is_not_a_number_is_not_chosen(select):
    chosen = choice(select)
    scores = SCORES.copy()
    scores[0, 1, chosen] = np.nan
    assert choice(select, scores) != chosen


def test_standard_error_of_one_seed_is_the_textbook_one():
    scores = np.random.default_rng(0).normal(size=(1, 5, 3))
    expected = scores[0].std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(standard_errors(scores), expected)


def test_the_same_folds_again_lower_no_standard_error():
    scores = np.random.default_rng(0).normal(size=(1, 5, 3))
    many = np.repeat(scores, 10, axis=0)
    np.testing.assert_allclose(standard_errors(many), standard_errors(scores))


def test_no_fold_has_a_say_in_its_own_strength():
    scores = np.random.default_rng(0).normal(size=(2, 4, 3))
    zeros = np.zeros_like(scores)
    expected = np.empty((2, 4))
    for seed in range(2):
        for fold in range(4):
            others = [k for k in range(4) if k != fold]
            best = scores[seed, others].mean(axis=0).argmax()
            expected[seed, fold] = scores[seed, fold, best]
    found = held_out_scores(scores, zeros, [1.0, 2.0, 3.0], "best")
    np.testing.assert_array_equal(found, expected)


def test_many_useless_strengths_are_no_advantage():
    # Scores of chance alone: the best of 50 strengths seems good, and is not.
    scores = np.random.default_rng(0).normal(size=(40, 5, 50))
    zeros = np.zeros_like(scores)
    seeming = scores.mean(axis=1).max(axis=1).mean()
    held_out = held_out_scores(scores, zeros, range(50), "best").mean()
    assert seeming > 0.8
    assert abs(held_out) < 0.2


@pytest.mark.parametrize("select", [0.0, 1.0, -0.5, "two", "0.5"])
def test_rules_that_are_none_are_refused(select):
    with pytest.raises(ValueError, match=r"`select` must be .*Received"):
        checked_select(select)
