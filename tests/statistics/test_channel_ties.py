"""What readings, penalties and callbacks say of penalties on channels."""

import keras
import numpy as np
import pytest
from channels import entries, let_die, made, ties, value
from keras import optimizers
from thorough import few_of

import kreg

EAGER = {"run_eagerly": keras.backend.backend() == "tensorflow"}
PATHS = ("two/channels", "three/channels")


def data():
    rng = np.random.default_rng(3)
    return (
        rng.normal(size=(16, 4)).astype("float32"),
        rng.normal(size=(16, 2)).astype("float32"),
    )


def with_dead_channels(strength=0.1):
    """Branches of 3, of 6 and of 5 channels; the latter two are one tie."""
    model, _ = made("branches")
    penalty = kreg.GroupLasso(strength, "channels")
    kreg.attach(model, penalty)
    for group in (0, 7):
        let_die(ties(model)["three/channels"], group)
    return model, penalty


def expected(model, strength):
    return {
        path: strength
        * sum(np.sqrt(len(w)) * np.linalg.norm(w) for w in entries(parts))
        for path, parts in ties(model).items()
    }


def test_reading_has_a_row_for_each_tie():
    model, _ = with_dead_channels()
    reading = kreg.statistics.read(model)
    assert tuple(tie.path for tie in reading.ties) == PATHS
    assert [(tie.units, tie.dead_units) for tie in reading.ties] == [
        (3, 0),
        (11, 2),
    ]
    again = kreg.statistics.read(model)  # by the compiled pass
    for ties_read in (reading.ties, again.ties):
        for tie in ties_read:
            parts = ties(model)[tie.path]
            w = np.concatenate([value(p.variable).ravel() for p in parts])
            assert (tie.size, tie.zeros) == (w.size, (w == 0).sum())
            assert tie.l2_norm == pytest.approx(np.linalg.norm(w), rel=1e-5)
            assert tie.penalty == pytest.approx(
                expected(model, 0.1)[tie.path], rel=1e-5
            )


def test_penalty_is_counted_once():
    model, _ = with_dead_channels()
    total = sum(expected(model, 0.1).values())
    losses = [float(keras.ops.convert_to_numpy(loss)) for loss in model.losses]
    assert sum(losses) == pytest.approx(total, rel=1e-5)
    assert kreg.statistics.read(model).penalty == pytest.approx(total, rel=1e-5)
    assert dict(kreg.penalties(model)) == pytest.approx(
        expected(model, 0.1), rel=1e-5
    )


def test_gradient_is_that_of_the_penalty_under_an_optimizer_of_keras():
    plain, model = made("branches")[0], made("branches")[0]
    start = dict(
        zip(map(id, model.weights), map(value, plain.weights), strict=True)
    )
    kreg.attach(model, kreg.GroupLasso(0.02, "channels"))
    for one in (plain, model):
        one.compile(optimizers.SGD(0.1), "mse", **EAGER)
        one.fit(*data(), batch_size=16, verbose=0)
    after = dict(
        zip(map(id, model.weights), map(value, plain.weights), strict=True)
    )
    for parts in ties(model).values():
        rows = zip(
            entries(parts, [start[id(p.variable)] for p in parts]),
            entries(parts, [after[id(p.variable)] for p in parts]),
            entries(parts),
            strict=True,
        )
        for before, without, found in rows:
            slope = 0.02 * np.sqrt(len(before)) / np.linalg.norm(before)
            np.testing.assert_allclose(
                found, without - 0.1 * slope * before, atol=2e-6
            )


def test_multiplier_and_schedule_hold_for_all_ties():
    model, _ = made("branches")
    ramp = kreg.schedules.LinearRamp(0.0, 0.4, steps=4)
    penalty = kreg.GroupLasso(ramp, "channels")
    kreg.attach(model, penalty)
    penalty.multiplier = 0.5
    model.compile(kreg.ProximalOptimizer(optimizers.SGD(0.0)), "mse", **EAGER)
    logs = model.fit(*data(), batch_size=8, epochs=2, verbose=0).history
    one = 0.5 * sum(expected(model, 1.0).values())
    np.testing.assert_allclose(logs["penalty"], [0.05 * one, 0.25 * one], 1e-5)


def test_nothing_is_wrong_with_the_ties():
    model, _ = with_dead_channels()
    model.compile(kreg.ProximalOptimizer("adam"), "mse", **EAGER)
    model.fit(*data(), verbose=0)
    assert list(kreg.check(model)) == []


def test_linter_accepts_normalizations_in_the_channels():
    model, _ = made("cnn")
    kreg.attach(model, kreg.GroupLasso(1e-3, "channels"))
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    assert list(kreg.check(model)) == []


def test_monitor_logs_the_ties(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    model, _ = with_dead_channels(1e-3)
    model.compile(kreg.ProximalOptimizer("sgd"), "mse", **EAGER)
    monitor = kreg.RegularizationMonitor(tmp_path)
    model.fit(*data(), verbose=0, callbacks=[monitor])
    events = event_accumulator.EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    tags = set(events.Tags()["tensors"]) | set(events.Tags()["scalars"])
    assert {
        f"kreg_{figure}/{path}"
        for figure in ("penalty", "strength", "dead_units", "sparsity")
        for path in PATHS
    } <= tags


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TargetSparsity.*was not reached")
@pytest.mark.parametrize("units", few_of([False, True], True))
def test_steered_sparsity_is_that_of_the_channels(units):
    model, _ = made("branches")
    kreg.attach(model, kreg.GroupLasso(0.02, "channels"))
    adam = optimizers.Adam(0.02)
    model.compile(kreg.ProximalOptimizer(adam), "mse", **EAGER)
    callback = kreg.TargetSparsity(0.5, units=units, stop_at_target=False)
    logs = model.fit(
        *data(), batch_size=4, epochs=15, verbose=0, callbacks=[callback]
    ).history
    groups = [w for parts in ties(model).values() for w in entries(parts)]
    zeros = (
        [not w.any() for w in groups] if units else np.concatenate(groups) == 0
    )
    assert logs["steered_sparsity"][-1] == pytest.approx(
        np.mean(zeros), abs=1e-6
    )
    assert 0.2 < np.mean(zeros) < 0.8


def test_reading_is_saved_with_its_ties():
    model, _ = with_dead_channels()
    reading = kreg.statistics.read(model)
    copy = kreg.statistics.Reading.from_dict(reading.to_dict())
    assert copy.ties == reading.ties
