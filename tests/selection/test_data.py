"""The data of a path are checked once and split once."""

import keras
import numpy as np
import pytest

import kreg
from kreg.selection.data.rows import class_labels, training_data

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
LABELS = np.array([0] * 15 + [1] * 5)


def test_rows_are_in_one_part_each():
    data = training_data((X, Y), validation=0.2)
    parts = [data.train.y, data.validation.y]
    assert (data.train.size, data.validation.size) == (16, 4)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), Y)


def test_inputs_and_targets_stay_together():
    data = training_data((X, Y, Y + 1.0), validation=0.3)
    for part in (data.train, data.validation):
        np.testing.assert_array_equal(part.x[:, 0], 2 * part.y)
        np.testing.assert_array_equal(part.sample_weight, part.y + 1.0)


def test_seed_decides_the_split():
    first, again, other = (
        training_data((X, Y), validation=0.5, seed=seed).train.y
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS == 1, LABELS * 1.0, np.eye(2)[LABELS]]
)
def test_classes_keep_their_proportions(labels):
    data = training_data((X, labels), validation=0.2)
    assert (class_labels(data.validation.y) == 1).sum() == 1
    assert (class_labels(data.train.y) == 1).sum() == 4


def test_inputs_may_be_a_dict():
    x = {"a": X, "b": X + 1.0}
    data = training_data((x, Y), validation=0.5)
    np.testing.assert_array_equal(data.train.x["a"] + 1, data.train.x["b"])


def test_dataset_is_taken_as_it_is():
    class Batches(keras.utils.PyDataset):
        pass

    batches = Batches()
    data = training_data(batches, validation=(X, Y))
    assert data.train is batches
    assert data.validation.size == 20


def test_fingerprint_tells_one_changed_number():
    changed = X.copy()
    changed[3, 1] += 1e-12
    first, same, other = (
        training_data((x, Y)).fingerprint() for x in (X, X.copy(), changed)
    )
    assert first == same != other


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(number):
    x = X.copy()
    x[0, 0] = number
    with pytest.raises(ValueError, match="1 entries that are NaN or infinite"):
        training_data((x, Y))
    with pytest.raises(ValueError, match="`validation` must hold finite"):
        training_data((X, Y), (x, Y))


def test_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"equally many rows.*\(19,\)"):
        training_data((X, Y[1:]))


def test_no_row_is_refused():
    with pytest.raises(ValueError, match="must hold rows"):
        training_data((X[:0], Y[:0]))


def test_targets_that_are_all_alike_are_refused():
    for target in (0, 0.0, 3):
        with pytest.raises(ValueError, match="`data` must have targets that"):
            training_data((X, np.full(20, target)))


def test_one_class_in_a_part_is_refused():
    with pytest.raises(
        ValueError, match="training part must have rows of at least two"
    ):
        training_data((X, np.eye(20)[0]), validation=0.9)
    with pytest.raises(ValueError, match="validation part must have rows"):
        training_data((X, LABELS), (X[:4], LABELS[:4]))


def test_counts_are_no_single_class_where_they_differ():
    assert training_data((X, Y.astype("int64"))).train.size == 20


@pytest.mark.parametrize("split", [-0.1, 0.0, 1.0, 2.0])
def test_split_must_be_a_fraction(split):
    with pytest.raises(
        ValueError, match="`validation` must be data, or a fraction"
    ):
        training_data((X, Y), validation=split)


@pytest.mark.parametrize("split", [0.01, 0.99])
def test_split_must_leave_rows(split):
    with pytest.raises(ValueError, match="must leave rows in both parts"):
        training_data((X, Y), validation=split)


@pytest.mark.parametrize("data", [X, 3, None, "rows", {"x": X}])
def test_what_is_no_data_is_refused(data):
    with pytest.raises(TypeError, match="`data` must be"):
        training_data(data)


def test_iterator_is_refused():
    with pytest.raises(TypeError, match="iterable more than once"):
        training_data(iter([(X, Y)]))


def test_negative_sample_weights_are_refused():
    with pytest.raises(ValueError, match="must be non-negative"):
        training_data((X, Y, -Y))


def test_result_comes_back_from_its_files(tmp_path):
    point = kreg.selection.PathPoint(
        0.1,
        None,
        0.5,
        3,
        1,
        2,
        (0, 2),
        {"loss": 1.0},
        {},
        4,
        8,
        None,
        0.5,
        True,
    )
    weights = ((np.ones((2, 3)), np.zeros(3)),)
    result = kreg.selection.PathResult(
        (point,), "L1", seed=3, start=point, weights=weights
    )
    result.save(tmp_path / "path.json")
    loaded = kreg.selection.PathResult.load(tmp_path / "path.json")
    assert loaded == result
    np.testing.assert_array_equal(loaded.weights[0][0], weights[0][0])


def test_best_is_where_an_accuracy_is_largest_and_a_loss_smallest():
    points = [
        kreg.selection.PathPoint(
            s, None, 0.0, 1, 0, 0, None, {}, figures, 1, 1, None, 0.1, True
        )
        for s, figures in [
            (0.1, {"accuracy": 0.9, "data_loss": 0.5}),
            (0.2, {"accuracy": 0.8, "data_loss": 0.4}),
            (0.3, {"accuracy": 0.9, "data_loss": 0.6}),
        ]
    ]
    for monitor, strength in [("accuracy", 0.3), ("data_loss", 0.2)]:
        result = kreg.selection.PathResult(tuple(points), "L1", monitor)
        assert result.best().strength == strength
    with pytest.raises(ValueError, match=r"`monitor`.*'accuracy', 'data_loss'"):
        kreg.selection.PathResult(tuple(points), "L1", "auc").best()
