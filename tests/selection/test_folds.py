"""Every row is left out once, and never trained on in the same fold."""

import numpy as np
import pytest

from kreg.selection import Arrays
from kreg.selection.data.folds import checked_folds, folds_of

RNG = np.random.default_rng(0)


def arrays(y):
    return Arrays(np.arange(len(y), dtype="float32")[:, None], np.asarray(y))


@pytest.mark.parametrize("rows", [10, 11, 37])
@pytest.mark.parametrize("number", [2, 5, 10])
def test_every_row_is_left_out_once(rows, number):
    folds = folds_of(arrays(RNG.normal(size=rows)), number, seed=3)
    left_out = np.concatenate([fold.validation for fold in folds])
    assert sorted(left_out) == list(range(rows))


def test_a_row_is_trained_on_where_it_is_not_left_out():
    for fold in folds_of(arrays(RNG.normal(size=23)), 4, seed=0):
        both = np.concatenate([fold.train, fold.validation])
        assert sorted(both) == list(range(23))


def test_folds_differ_by_one_row_at_most():
    folds = folds_of(arrays(RNG.normal(size=23)), 4, seed=0)
    sizes = [len(fold.validation) for fold in folds]
    assert max(sizes) - min(sizes) == 1


@pytest.mark.parametrize("one_hot", [False, True])
def test_classes_are_spread_evenly(one_hot):
    labels = np.repeat([0, 1, 2], [50, 11, 6])
    RNG.shuffle(labels)
    y = np.eye(3)[labels] if one_hot else labels
    for label in range(3):
        counts = [
            (labels[fold.validation] == label).sum()
            for fold in folds_of(arrays(y), 5, seed=1)
        ]
        assert max(counts) - min(counts) <= 1


def test_the_seed_alone_decides():
    y = RNG.normal(size=30)
    first, again, other = (folds_of(arrays(y), 3, s) for s in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.validation, b.validation)
    assert not all(
        np.array_equal(a.validation, b.validation)
        for a, b in zip(first, other, strict=True)
    )


def test_folds_of_scikit_learn_are_taken_as_they_are():
    model_selection = pytest.importorskip("sklearn.model_selection")
    pairs = list(model_selection.KFold(3).split(np.zeros((10, 1))))
    folds = folds_of(arrays(RNG.normal(size=10)), checked_folds(pairs), 0)
    for fold, (train, validation) in zip(folds, pairs, strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.validation, validation)


def test_masks_are_folds_too():
    mask = np.arange(6) < 4
    folds = folds_of(arrays(RNG.normal(size=6)), [(mask, ~mask)], 0)
    assert folds[0].validation.tolist() == [4, 5]


def test_a_row_in_both_parts_is_refused():
    pairs = [([0, 1, 2], [2, 3]), ([2, 3], [0, 1])]
    with pytest.raises(ValueError, match=r"fold 1 with 1 rows in both"):
        folds_of(arrays(RNG.normal(size=4)), pairs, 0)


def test_a_row_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"indices from 0 to 3.*fold 1"):
        folds_of(arrays(RNG.normal(size=4)), [([0, 1], [2, 4])], 0)


def test_an_empty_part_is_refused():
    empty = np.array([], dtype="int64")
    with pytest.raises(ValueError, match=r"fold 1 with no validation rows"):
        folds_of(arrays(RNG.normal(size=4)), [([0, 1], empty)], 0)


def test_fewer_rows_than_folds_are_refused():
    with pytest.raises(ValueError, match=r"folds=5, with 4 rows"):
        folds_of(arrays(RNG.normal(size=4)), 5, 0)


def test_one_class_to_train_on_is_refused():
    pairs = [([0, 1], [2, 3]), ([2, 3], [0, 1])]
    with pytest.raises(ValueError, match=r"training \(fold 1\).*class 0"):
        folds_of(arrays(np.array([0, 0, 1, 1])), pairs, 0)


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_too_few_folds_are_refused(folds):
    with pytest.raises(ValueError, match=f"Received: folds={folds}"):
        checked_folds(folds)


@pytest.mark.parametrize("folds", [[], [1, 2], [([0], [1], [2])]])
def test_what_holds_no_pairs_is_refused(folds):
    with pytest.raises(ValueError, match="pairs of row indices"):
        checked_folds(folds)


@pytest.mark.parametrize("folds", ["5", 2.5, None, True])
def test_what_is_no_number_is_refused(folds):
    with pytest.raises(TypeError, match="`folds` must be a positive integer"):
        checked_folds(folds)
