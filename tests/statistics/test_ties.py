"""What readings, penalties and callbacks say of penalties on heads."""

import keras
import numpy as np
import pytest
from heads import (
    AXES,
    QUICK,
    X,
    Y,
    attention_model,
    dead_heads,
    head_rows,
    values,
)
from keras import optimizers
from thorough import few_of

import kreg

SIZE = 3 * 6 * 4 + 3 * 4 + 4 * 6


def with_dead_head(strength=0.1, **arguments):
    model = attention_model(**arguments)
    penalty = kreg.GroupLasso(strength, "heads")
    kreg.attach(model, penalty)
    for variable in model.weights:
        if variable.path in AXES:
            w = np.array(keras.ops.convert_to_numpy(variable))
            np.moveaxis(w, AXES[variable.path], 0)[1] = 0.0
            variable.assign(w)
    return model, penalty


def expected_penalty(model, strength):
    norms = np.linalg.norm(head_rows(values(model)), axis=1)
    return strength * np.sqrt(SIZE) * norms.sum()


def test_reading_has_a_row_for_the_tie():
    model, _ = with_dead_head()
    reading = kreg.statistics.read(model)
    (tie,) = reading.ties
    rows = head_rows(values(model))
    assert tie.path == "attention/heads"
    assert set(tie.weights) == AXES.keys()
    assert (tie.units, tie.dead_units) == (3, 1)
    assert (tie.regularizer, tie.strengths) == ("GroupLasso", {"strength": 0.1})
    assert (tie.size, tie.zeros) == (rows.size, (rows == 0).sum())
    assert tie.l2_norm == pytest.approx(np.linalg.norm(rows), rel=1e-5)
    assert tie.l1_norm == pytest.approx(np.abs(rows).sum(), rel=1e-5)
    assert tie.penalty == pytest.approx(expected_penalty(model, 0.1), rel=1e-5)


def test_penalty_is_counted_once():
    model, _ = with_dead_head()
    expected = expected_penalty(model, 0.1)
    reading = kreg.statistics.read(model)
    losses = [float(keras.ops.convert_to_numpy(loss)) for loss in model.losses]
    assert sum(losses) == pytest.approx(expected, rel=1e-5)
    assert reading.penalty == pytest.approx(expected, rel=1e-5)
    assert dict(kreg.penalties(model)) == {
        "attention/heads": pytest.approx(expected, rel=1e-5)
    }
    again = kreg.statistics.read(model)  # by the compiled pass
    assert again.penalty == pytest.approx(expected, rel=1e-5)


def test_reading_is_saved_with_its_ties():
    model, _ = with_dead_head()
    reading = kreg.statistics.read(model)
    copy = kreg.statistics.Reading.from_dict(reading.to_dict())
    assert copy.to_dict() == reading.to_dict()
    assert copy.ties == reading.ties


def test_optimality_is_that_of_the_whole_heads():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    optimizer = optimizers.SGD(0.01, momentum=0.5)
    model.compile(kreg.ProximalOptimizer(optimizer), "mse", **QUICK)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    paths = [v.path for v in optimizer._trainable_variables]
    # After 4 updates its momenta are -0.01 / (1 - 0.5) * (1 - 0.5**4) times an
    # average of gradients.
    gradients = {
        path: keras.ops.convert_to_numpy(optimizer.momentums[paths.index(path)])
        * -(1 - 0.5)
        / 0.01
        / (1 - 0.5**4)
        for path in AXES
    }
    w, g = head_rows(values(model)), head_rows(gradients)
    moved = w - g
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    after = moved * np.maximum(1 - 0.02 * np.sqrt(SIZE) / norms, 0.0)
    reading = kreg.statistics.read(model)
    squares = [x.optimality**2 for x in reading.weights if x.path in AXES]
    expected = np.sum((w - after) ** 2)
    assert sum(squares) == pytest.approx(expected, rel=1e-4)


def test_optimality_is_not_known_without_all_gradients():
    model, _ = with_dead_head(0.02)
    chosen = optimizers.OptimizerMap(optimizers.SGD(0.01, momentum=0.5))
    chosen[".*value.*"] = optimizers.RMSprop(0.01)
    multi = optimizers.MultiOptimizer(chosen)
    model.compile(kreg.ProximalOptimizer(multi), "mse", **QUICK)
    model.fit(X, Y, verbose=0)
    reading = kreg.statistics.read(model)
    optimality = {w.path: w.optimality for w in reading.weights}
    assert all(optimality[path] is None for path in AXES)
    assert optimality["attention/attention_output/bias"] is not None


def test_nothing_is_wrong_with_a_tie():
    model, _ = with_dead_head()
    model.compile(kreg.ProximalOptimizer("adam"), "mse", **QUICK)
    model.fit(X, Y, verbose=0)
    assert list(kreg.check(model)) == []


def test_linter_sees_an_optimizer_without_proximal_steps():
    model, _ = with_dead_head()
    model.compile("adam", "mse")
    findings = str(kreg.check(model))
    assert "GroupLasso makes no exact zeros under Adam" in findings


def test_monitor_logs_the_tie(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    model, _ = with_dead_head()
    model.compile(kreg.ProximalOptimizer("sgd"), "mse", **QUICK)
    model.fit(X, Y, verbose=0, callbacks=[kreg.RegularizationMonitor(tmp_path)])
    events = event_accumulator.EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    tags = set(events.Tags()["tensors"]) | set(events.Tags()["scalars"])
    assert {
        "kreg_penalty/attention/heads",
        "kreg_strength/attention/heads",
        "kreg_dead_units/attention/heads",
        "kreg_sparsity/attention/heads",
    } <= tags


@pytest.mark.parametrize("scale", few_of([1.0, 0.5], 0.5))
def test_multiplier_scales_the_whole_tie(scale):
    model, penalty = with_dead_head()
    model.compile(kreg.ProximalOptimizer(optimizers.SGD(0.0)), "mse", **QUICK)
    penalty.multiplier = scale
    logs = model.fit(X, Y, batch_size=32, verbose=0).history
    expected = scale * expected_penalty(model, 0.1)
    assert logs["penalty"][0] == pytest.approx(expected, rel=1e-5)


def test_schedule_follows_the_optimizer():
    model = attention_model()
    ramp = kreg.schedules.LinearRamp(0.0, 0.4, steps=4)
    kreg.attach(model, kreg.GroupLasso(ramp, "heads"))
    model.compile(kreg.ProximalOptimizer(optimizers.SGD(0.0)), "mse")
    logs = model.fit(X, Y, batch_size=16, epochs=2, verbose=0).history
    one = expected_penalty(model, 1.0)
    np.testing.assert_allclose(logs["penalty"], [0.05 * one, 0.25 * one], 1e-5)


def test_frozen_support_keeps_dead_heads():
    model, _ = with_dead_head()
    model.compile(kreg.ProximalOptimizer(optimizers.Adam(0.01)), "mse", **QUICK)
    kept = kreg.freeze_support(model)
    assert kept.keys() == AXES.keys()
    logs = model.fit(X, Y, batch_size=16, verbose=0).history
    assert logs["penalty"] == [0.0]
    assert all(heads == [1] for heads in dead_heads(model).values())
    kreg.unfreeze_support(model)
    assert kreg.statistics.read(model).penalty > 0.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TargetSparsity.*was not reached")
@pytest.mark.parametrize("units", few_of([False, True], True))
def test_steered_sparsity_is_that_of_the_heads(units):
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.02, "heads"))
    adam = optimizers.Adam(0.02)
    model.compile(kreg.ProximalOptimizer(adam), "mse", **QUICK)
    callback = kreg.TargetSparsity(0.33, units=units, stop_at_target=False)
    logs = model.fit(
        X, Y, batch_size=8, epochs=12, verbose=0, callbacks=[callback]
    ).history
    rows = head_rows(values(model)) == 0
    expected = rows.all(axis=1).mean() if units else rows.mean()
    assert logs["steered_sparsity"][-1] == pytest.approx(expected, abs=1e-6)


def test_largest_strength_is_not_guessed():
    model = attention_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="ties several"):
        kreg.strength_max(model, (X, Y), lambda s: kreg.GroupLasso(s, "heads"))
