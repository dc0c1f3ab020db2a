"""Networks of every kind are compared, and nothing leaks between rows."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from selection.network_models import (
    KINDS,
    LABELS,
    ROWS,
    X,
    compiled,
    normalized,
    two_outputs,
)
from selection.path_records import without_seconds
from sklearn.datasets import load_digits
from thorough import few_of

import kreg
from kreg.selection import (
    Arrays,
    Execution,
    Training,
    compare,
    path,
)
from kreg.selection.comparison import run as comparison_run

FAST = {
    "strengths": [0.003, 0.1],
    "folds": 2,
    "training": Training(3, batch_size=10, tolerance=None),
    "execution": Execution(verbose=0),
}
PENALTIES = {"none": None, "L1": kreg.L1}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_result_of_every_kind_is_that_of_its_weights(kind):
    build_model, rows = KINDS[kind]
    penalties = {**PENALTIES, "group": kreg.GroupLasso}
    result = compare(build_model, rows, penalties, test=rows, **FAST)
    model = build_model()
    model.set_weights(result.weights)
    evaluated = model.evaluate(
        *rows, batch_size=ROWS, verbose=0, return_dict=True
    )
    assert result.test["data_loss"] == pytest.approx(
        evaluated["loss"], rel=1e-4
    )
    for name in set(evaluated) - {"loss"}:
        assert result.test[name] == pytest.approx(evaluated[name], rel=1e-4)
    assert all(np.isfinite(row.scores).all() for row in result.rows)
    strongest = max(result.rows_of("L1"), key=lambda row: row.strength)
    assert strongest.sparsity > 0.05


@pytest.mark.slow
def test_a_metric_of_one_output_is_monitored():
    build_model, rows = KINDS["two outputs"]
    training = replace(FAST["training"], monitor="label_accuracy")
    options = {**FAST, "training": training}
    result = compare(build_model, rows, PENALTIES, **options)
    assert all(0.0 <= row.mean <= 1.0 for row in result.rows)


@pytest.mark.slow
def test_rows_of_no_weight_have_no_say():
    weight = np.ones(2 * ROWS, "float32")
    weight[ROWS:] = 0.0
    wild = np.concatenate([X, 50.0 * X]).astype("float32")
    both = [
        compare(
            two_outputs,
            (
                wild,
                {
                    "number": np.concatenate([X[:, :1], noise]),
                    "label": np.concatenate([LABELS, LABELS])[:, None],
                },
                {"number": weight, "label": weight},
            ),
            PENALTIES,
            **FAST,
        )
        for noise in (X[:, 2:3], 99.0 * X[:, 3:4])
    ]
    assert without_seconds(both[0]) == without_seconds(both[1])


@pytest.mark.thorough
def test_sample_weights_are_those_of_their_rows():
    # Weighted rows count as often as they are repeated.
    weight = np.where(np.arange(ROWS) < 20, 3.0, 1.0).astype("float32")
    repeated = np.repeat(np.arange(ROWS), weight.astype("int64"))

    def build_model():
        model = keras.Sequential(
            [keras.Input((8,)), keras.layers.Dense(1, "sigmoid")]
        )
        sgd = keras.optimizers.SGD(0.5, momentum=0.9)
        return compiled(model, "binary_crossentropy", sgd)

    y = LABELS.astype("float32")
    mean = weight.mean()
    options = {"training": Training(400, batch_size=None), "verbose": 0}
    weighted = path(
        build_model, (X, y, weight / mean), kreg.L1, [0.05], **options
    )
    plain = path(
        build_model, (X[repeated], y[repeated]), kreg.L1, [0.05], **options
    )
    np.testing.assert_allclose(
        weighted.weights[0][0], plain.weights[0][0], atol=1e-3
    )


@pytest.mark.slow
def test_digits_need_fewer_inputs_than_they_have():
    images, labels = load_digits(return_X_y=True)

    def build_model():
        model = keras.Sequential(
            [
                keras.Input((64,)),
                keras.layers.Dense(16, "relu"),
                keras.layers.Dense(10, "softmax"),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.01),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    inputs = (lambda s: kreg.GroupLasso(s, "inputs"), "dense*")
    result = compare(
        build_model,
        (images[:600] / 16.0, labels[:600]),
        {"none": None, "L1": kreg.L1, "inputs": inputs},
        strengths={"L1": [1e-4, 1e-3], "inputs": [1e-3, 4e-3]},
        test=1 / 4,
        folds=3,
        training=Training(epochs=15, batch_size=50),
        execution=Execution(verbose=0),
    )
    by_strength = sorted(result.rows_of("inputs"), key=lambda r: r.strength)
    assert by_strength[0].sparsity < by_strength[1].sparsity
    assert by_strength[1].sparsity > 0.05
    assert result.test["accuracy"] > 0.8
    (none,) = result.rows_of("none")
    assert none.sparsity == 0.0
    assert none.epochs in (15, 30)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", few_of(KINDS, "convolutional"))
def test_what_a_fold_leaves_out_changes_no_weight(kind):
    build_model, (x, y) = KINDS[kind]
    rows = Arrays(x, y)
    kept = np.arange(40)
    left_out = rows.rows(np.arange(40, ROWS))
    planted = Arrays(
        keras.tree.map_structure(lambda a: 1e3 + 7.0 * a, left_out.x),
        keras.tree.map_structure(lambda a: 1 - a, left_out.y),
    )
    first, second = (
        path(
            build_model,
            rows.rows(kept),
            kreg.L1,
            FAST["strengths"],
            training=FAST["training"],
            validation=validation,
            verbose=0,
        )
        for validation in (left_out, planted)
    )
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert first.points[0].validation != second.points[0].validation


@pytest.mark.slow
def test_labels_that_a_fold_leaves_out_change_none_of_its_weights(monkeypatch):
    kept = []

    class Keeping(comparison_run.PathTask):
        def __call__(self):
            object.__setattr__(self, "keeps_weights", True)
            result = super().__call__()
            kept.append(result.weights)
            return result

    monkeypatch.setattr(comparison_run, "PathTask", Keeping)
    order = np.arange(ROWS)
    folds = [(order[30:], order[:30]), (order[:30], order[30:])]
    planted = LABELS.copy()
    planted[:30] = 1 - planted[:30]  # which the first fold leaves out
    for y in (LABELS, planted):
        compare(normalized, (X, y), [kreg.L1], **{**FAST, "folds": folds})
    (first, second, _), (first_again, second_again, _) = kept[:3], kept[3:]
    for ours, theirs in zip(first, first_again, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(second[0][0], second_again[0][0])


@pytest.mark.slow
def test_other_test_rows_choose_the_same_and_train_the_same():
    first, second = (
        compare(normalized, (X, LABELS), PENALTIES, test=test, **FAST)
        for test in [(X, LABELS), (1e3 * X, 1 - LABELS)]
    )
    assert first.chosen.strength == second.chosen.strength
    assert first.test != second.test
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_dataset_to_test_on():
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(16)
    by_batches, by_rows = (
        compare(normalized, (X, LABELS), PENALTIES, test=test, **FAST)
        for test in (batches, (X, LABELS))
    )
    for name, value in by_rows.test.items():
        assert by_batches.test[name] == pytest.approx(value, rel=1e-5)
