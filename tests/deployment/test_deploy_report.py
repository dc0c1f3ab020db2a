"""The figures of a deploy report against NumPy and Keras."""

import gzip
import io
import json

import keras
import numpy as np
import pytest
from deployment.shipped_models import (
    Subclassed,
    dictionaries,
    with_random_weights,
)
from keras import layers
from rich.console import Console

import kreg
from kreg.deployment import _costs, deploy_report

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6)).astype("float32")
Y = RNG.integers(0, 3, size=70)


def classifier(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", kernel_regularizer=kreg.L1()),
            layers.Dense(3, activation="softmax"),
        ]
    )
    kernel, bias = model.layers[0].get_weights()
    kernel[:, ::2] = 0.0
    model.layers[0].set_weights([kernel, bias])
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy()],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("weighted")],
    )
    return model


@pytest.fixture(autouse=True)
def _only_one_test_converts(request, monkeypatch):
    """The conversion to LiteRT takes seconds."""
    if "litert" not in request.node.name:
        monkeypatch.setattr(_costs, "can_write", lambda kind: kind == "keras")


def rows_of(report):
    return {
        row.split("|")[1].strip(): [c.strip() for c in row.split("|")[2:-1]]
        for row in report.to_markdown().splitlines()
        if row.startswith("|")
    }


def test_counts_and_bytes_of_weights_are_those_of_numpy():
    model = classifier()
    figures = deploy_report(model, runs=1).before
    arrays = model.get_weights()
    raw = b"".join(array.tobytes() for array in arrays)
    assert figures.parameters == sum(a.size for a in arrays) == 83
    assert figures.nonzeros == sum((a != 0).sum() for a in arrays)
    assert figures.raw_bytes == len(raw) == 4 * 83
    assert figures.gzip_bytes == len(gzip.compress(raw, 6))
    assert figures.flops == 2 * (6 * 8 + 8 * 3)


def test_bytes_of_the_keras_file_are_without_an_optimizer(tmp_path):
    model = classifier()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    figures = deploy_report(model, runs=1).before
    path = tmp_path / "net.keras"
    kreg.export(model, path, "keras")
    assert figures.keras_bytes == pytest.approx(path.stat().st_size, abs=50)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_bytes_of_litert_are_those_of_an_export(tmp_path):
    model = classifier()
    figures = deploy_report(model, runs=1).before
    record = kreg.export(model, tmp_path / "net.tflite", "litert")
    assert figures.litert_bytes == record.bytes


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="is about what JAX cannot write"
)
def test_bytes_of_litert_are_a_dash_where_there_are_none():
    report = deploy_report(classifier(), runs=1)
    assert report.before.litert_bytes is None
    assert rows_of(report)["bytes of LiteRT"] == ["-"]


@pytest.mark.parametrize("weights", [None, RNG.uniform(size=70)])
def test_metrics_are_those_of_evaluate(weights):
    before, after = classifier(0), classifier(1)
    data = (X, Y) if weights is None else (X, Y, weights)
    report = deploy_report(before, after, data, runs=1)
    for model, figures in ((before, report.before), (after, report.after)):
        known = model.evaluate(
            X, Y, sample_weight=weights, return_dict=True, verbose=0
        )
        assert figures.metrics == pytest.approx(
            {k: known[k] for k in known if "loss" not in k}, rel=1e-5
        )


def test_model_after_needs_no_compilation():
    before = classifier()
    after = kreg.surgery.compact(before)
    report = deploy_report(before, after, (X, Y), runs=1)
    assert not after.compiled
    assert report.after.metrics == pytest.approx(report.before.metrics)


def test_batches_give_the_metrics_of_arrays():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 7

        def __getitem__(self, index):
            rows = slice(10 * index, 10 * index + 10)
            return X[rows], Y[rows]

    known = deploy_report(classifier(), data=(X, Y), runs=1).before.metrics
    dataset = Batches()
    for batches in (dataset, [dataset[i] for i in range(7)]):
        figures = deploy_report(classifier(), data=batches, runs=1).before
        assert figures.metrics == pytest.approx(known)


@pytest.mark.tensorflow
def test_tensorflow_dataset_gives_the_metrics_of_arrays():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    known = deploy_report(classifier(), data=(X, Y), runs=1).before.metrics
    found = deploy_report(classifier(), data=data, runs=1).before.metrics
    assert found == pytest.approx(known)


def test_difference_is_that_of_the_outputs_on_the_data():
    before, after = classifier(0), classifier(1)
    report = deploy_report(before, after, (X, Y), runs=1)
    one = before.predict(X, verbose=0)
    other = after.predict(X, verbose=0)
    known = np.abs(one - other).max() / np.abs(one).max()
    assert report.largest_difference == pytest.approx(known, rel=1e-5)


def test_ratio_is_of_after_to_before():
    before = classifier()
    after = kreg.surgery.compact(before)
    report = deploy_report(before, after, runs=1)
    rows = rows_of(report)
    assert rows["parameters"] == ["83", "43", f"{43 / 83:.3g}"]
    assert rows["FLOPs"] == ["144", "72", "0.5"]


def test_quartiles_enclose_the_median():
    latency = deploy_report(classifier(), runs=9).before.latency
    assert 0 < latency.lower_quartile <= latency.median
    assert latency.median <= latency.upper_quartile


def test_models_take_turns(monkeypatch):
    before, after = classifier(0), classifier(1)
    order = []
    for name, model in (("before", before), ("after", after)):
        monkeypatch.setattr(
            model, "predict_on_batch", lambda x, name=name: order.append(name)
        )
    report = deploy_report(before, after, runs=4)
    assert report.runs == 4
    timed = order[-8:]
    assert timed == ["before", "after", "after", "before"] * 2


@pytest.mark.parametrize("size", [1, 5])
def test_latency_is_of_the_batch_size(size, monkeypatch):
    model = classifier()
    sizes = set()
    monkeypatch.setattr(model, "predict_on_batch", lambda x: sizes.add(len(x)))
    report = deploy_report(model, sample=X[:3], batch_size=size, runs=1)
    assert sizes == {size} == {report.batch_size}


def test_dictionaries_of_inputs_and_outputs():
    model = with_random_weights(dictionaries())
    report = deploy_report(model, kreg.surgery.compact(model), runs=1)
    assert report.largest_difference < 1e-5


def test_subclassed_model_is_measured_on_a_sample():
    model = Subclassed()
    model(X)
    figures = deploy_report(model, sample=X[:2], runs=1).before
    assert figures.parameters == 6 * 4 + 4 + 4 * 2 + 2
    assert figures.flops == 2 * (6 * 4 + 4 * 2)


def test_records_are_fit_for_json():
    report = deploy_report(classifier(), classifier(1), (X, Y), runs=1)
    record = json.loads(json.dumps(report.to_dict()))
    assert record == report.to_dict()
    assert record["before"]["parameters"] == 83
    assert record["batch_size"] == 1


def test_rich_table_fits_eighty_columns():
    report = deploy_report(classifier(), classifier(1), (X, Y), runs=1)
    console = Console(file=io.StringIO(), width=80)
    console.print(report)
    printed = console.file.getvalue()
    assert "parameters" in printed
    assert "after / before" in printed
    assert "…" not in printed
    assert "batch size 1" in printed


def test_markdown_is_a_table_of_equal_rows():
    lines = deploy_report(classifier(), runs=1).to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {3}
    assert len({len(line) for line in table}) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"before": "net"}, TypeError, "must be a `keras.Model`"),
        ({"after": keras.Sequential()}, ValueError, "must be built"),
        ({"runs": 0}, ValueError, "`runs` must be a positive"),
        ({"batch_size": 1.5}, TypeError, "`batch_size` must be a positive"),
        ({"data": []}, ValueError, "at least one batch"),
        ({"data": (X,)}, ValueError, "inputs and targets"),
        ({"sample": X[:, :5]}, ValueError, r"shape \(None, 6\)"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    arguments = {"before": classifier(), "runs": 1, **arguments}
    with pytest.raises(error, match=message):
        deploy_report(**arguments)


def test_data_for_a_model_without_metrics_is_refused():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="compiled with metrics"):
        deploy_report(model, data=(X, Y))


def test_models_with_other_outputs_are_refused():
    other = keras.Sequential([keras.Input((6,)), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"\(1, 4\).*gives \[\(1, 3\)\]"):
        deploy_report(classifier(), other, runs=1)
