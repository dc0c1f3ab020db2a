"""Readings against NumPy over the weights."""

import io
import json

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import kreg

RNG = np.random.default_rng(0)


def plain(w):
    return 0.5 * keras.ops.sum(keras.ops.abs(w))


def network():
    """Every kind of regularizer, nested and frozen layers."""
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(
                4, 3, kernel_regularizer=kreg.GroupLasso(0.1), name="conv"
            ),
            layers.BatchNormalization(gamma_regularizer=kreg.L1(0.2)),
        ],
        name="inner",
    )
    inputs = keras.Input((6, 6, 3))
    x = inner(inputs)
    x = layers.Reshape((16, 4))(x)
    x = layers.LSTM(
        5,
        kernel_regularizer=kreg.L1L2(
            kreg.schedules.LinearRamp(0.0, 1.0, steps=4), 0.1
        ),
        recurrent_regularizer=keras.regularizers.L2(0.3),
    )(x)
    x = layers.Dense(4, kernel_regularizer=plain)(x)
    frozen = layers.Dense(3, kernel_regularizer=kreg.L2(0.1), trainable=False)
    outputs = layers.Dense(2, name="last")(frozen(x))
    model = keras.Model(inputs, outputs)
    weights = []
    for w in model.get_weights():
        w = RNG.normal(size=w.shape) * (RNG.uniform(size=w.shape) > 0.5)
        if w.ndim > 1:
            w[..., 0] = 0.0  # a dead unit where the last axis is units
        weights.append(w)
    model.set_weights(weights)
    return model


def compiled():
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    x, y = np.zeros((8, 6, 6, 3)), np.zeros((8, 2))
    model.fit(x, y, batch_size=4, verbose=0)
    return model


def values(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}


def test_norms_and_zeros_are_those_of_numpy():
    model = network()
    reading = kreg.statistics.read(model)
    known = values(model)
    assert {w.path for w in reading.weights} == {
        p for p in known if "moving" not in p and "seed" not in p
    }
    for weight in reading.weights:
        w = known[weight.path].astype("float64")
        assert weight.shape == w.shape
        assert weight.l1_norm == pytest.approx(np.abs(w).sum(), rel=1e-5)
        assert weight.l2_norm == pytest.approx(np.linalg.norm(w), rel=1e-5)
        assert weight.max_norm == pytest.approx(np.abs(w).max(), rel=1e-6)
        assert weight.zeros == np.sum(w == 0.0)
        assert weight.sparsity == np.mean(w == 0.0)


def test_totals_are_those_of_numpy():
    model = network()
    reading = kreg.statistics.read(model)
    known = values(model)
    w = np.concatenate([known[r.path].ravel() for r in reading.weights])
    assert reading.size == w.size
    assert reading.zeros == np.sum(w == 0.0)
    assert reading.sparsity == np.mean(w == 0.0)
    assert reading.l1_norm == pytest.approx(np.abs(w).sum(), rel=1e-5)
    assert reading.l2_norm == pytest.approx(np.linalg.norm(w), rel=1e-5)
    assert reading.max_norm == pytest.approx(np.abs(w).max(), rel=1e-6)


def by_path(reading, ending):
    (weight,) = [w for w in reading.weights if w.path.endswith(ending)]
    return weight


def test_dead_units_and_inputs():
    reading = kreg.statistics.read(network())
    dead = {
        "conv/kernel": (1, 4, 0, 3),
        "last/kernel": (1, 2),
    }
    for ending, expected in dead.items():
        weight = by_path(reading, ending)
        found = (weight.dead_units, weight.units)
        assert found == expected[:2]
        if len(expected) > 2:
            found = (weight.dead_inputs, weight.inputs)
            assert found == expected[2:]
    assert by_path(reading, "gamma").dead_units is None
    assert by_path(reading, "last/bias").units is None


def test_strengths_and_penalties_are_those_of_the_step():
    model = compiled()
    reading = kreg.statistics.read(model)
    assert reading.step == 2
    kernel = by_path(reading, "lstm_cell/kernel")
    assert kernel.strengths == pytest.approx({"l1": 0.5, "l2": 0.1})
    w = values(model)[kernel.path].astype("float64")
    expected = 0.5 * np.abs(w).sum() + 0.1 * np.sum(w**2)
    assert kernel.penalty == pytest.approx(expected, rel=1e-5)
    for path, penalty in kreg.penalties(model).items():
        assert by_path(reading, path).penalty == pytest.approx(
            penalty, rel=1e-6
        )
    assert reading.penalty == pytest.approx(
        sum(kreg.penalties(model).values()), rel=1e-5
    )


def test_every_kind_of_regularizer_is_named():
    reading = kreg.statistics.read(compiled())
    names = {w.path: (w.regularizer, w.strengths) for w in reading.weights}
    recurrent = by_path(reading, "recurrent_kernel").path
    assert names[recurrent] == ("L2", {"l2": pytest.approx(0.3)})
    assert by_path(reading, "last/kernel").regularizer is None
    assert "plain" in {name for name, _ in names.values()}


def test_frozen_weight_has_no_penalty():
    reading = kreg.statistics.read(compiled())
    frozen = [w for w in reading.weights if not w.trainable]
    assert len(frozen) == 2
    assert {w.penalty for w in frozen} == {0.0}


def test_scheduled_strength_of_an_unbound_model():
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.optimizer.iterations.assign(4)
    reading = kreg.statistics.read(model)
    kernel = by_path(reading, "lstm_cell/kernel")
    assert kernel.strengths["l1"] == pytest.approx(1.0)


def test_shared_layer_is_read_once():
    inputs = keras.Input((4,))
    shared = layers.Dense(4)
    model = keras.Model(inputs, shared(shared(inputs)))
    assert len(kreg.statistics.read(model).weights) == 2


def test_half_precision_is_summed_in_single():
    model = keras.Sequential(
        [keras.Input((300,)), layers.Dense(300, dtype="float16")]
    )
    model.set_weights([np.full((300, 300), 2.0), np.zeros(300)])
    kernel, _ = kreg.statistics.read(model).weights
    assert kernel.l1_norm == pytest.approx(180_000)
    assert kernel.l2_norm == pytest.approx(600)


def test_counts_are_exact_where_single_precision_is_not():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(17_000_001)])
    bias = kreg.statistics.read(model).weights[1]
    assert bias.zeros == 17_000_001


def test_a_model_without_weights():
    model = keras.Sequential([keras.Input((1,)), layers.Flatten()])
    reading = kreg.statistics.read(model)
    assert (reading.weights, reading.size, reading.sparsity) == ((), 0, 0.0)


def test_to_dict_is_json():
    found = json.loads(json.dumps(kreg.statistics.read(compiled()).to_dict()))
    assert found["step"] == 2
    assert {"path", "strengths", "sparsity"} <= set(found["weights"][0])


def test_reading_is_frozen():
    reading = kreg.statistics.read(network())
    with pytest.raises(AttributeError):
        reading.weights[0].zeros = 3


@pytest.mark.parametrize("read", [kreg.statistics.read, kreg.summary])
def test_bad_models_are_refused(read):
    with pytest.raises(TypeError, match=r"`model` must be a `keras\.Model`"):
        read([1])
    with pytest.raises(ValueError, match="`model` must be built"):
        read(keras.Sequential([layers.Dense(1)]))


def printed(model, width=120):
    text = io.StringIO()
    kreg.summary(model, console=Console(file=text, width=width))
    return text.getvalue()


def test_summary_shows_every_weight_and_the_totals():
    model = compiled()
    text = printed(model)
    reading = kreg.statistics.read(model)
    assert len([line for line in text.splitlines() if "kernel" in line]) == 6
    assert "L1L2 0.5 0.1" in text
    assert "(frozen)" in text
    assert f"{reading.sparsity:.1%}" in text


def test_summary_of_a_keras_model_without_regularizers():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    assert "total" in printed(model)


def test_summary_prints(capsys):
    kreg.summary(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))
    assert "kernel" in capsys.readouterr().out


def test_summary_fits_a_narrow_terminal():
    lines = printed(compiled(), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["total"] for line in lines)


def test_nan_is_not_dead():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.set_weights([np.full((3, 2), np.nan), np.zeros(2)])
    kernel, _ = kreg.statistics.read(model).weights
    assert (kernel.zeros, kernel.dead_units, kernel.dead_inputs) == (0, 0, 0)
    assert np.isnan(kernel.l1_norm)


@pytest.mark.parametrize(("live", "dead"), [(True, 0), (False, 4)])
def test_recurrent_unit_is_dead_if_both_kernels_are(live, dead):
    model = keras.Sequential([keras.Input((5, 3)), layers.LSTM(4)])
    kernel, recurrent, bias = model.get_weights()
    model.set_weights([0 * kernel, live * recurrent, bias])
    reading = kreg.statistics.read(model)
    assert reading.dead_units == dead


def test_strength_of_a_weight_bound_to_an_optimizer_of_its_own():
    ramp = kreg.schedules.LinearRamp(0.0, 1.0, steps=4)
    layer = layers.Dense(
        1, kernel_initializer="ones", kernel_regularizer=kreg.L1(ramp)
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    optimizer = keras.optimizers.SGD()
    kreg.bind(model, optimizer)
    optimizer.iterations.assign(2)
    kernel, _ = kreg.statistics.read(model).weights
    assert kernel.strengths == {"l1": 0.5}
    assert kernel.penalty == 1.5
    assert list(kreg.penalties(model).values()) == [1.5]


def test_summary_of_names_that_look_like_markup():
    layer = layers.Dense(1, name="part[a]")
    model = keras.Sequential([keras.Input((2,)), layer], name="net[")
    text = printed(model)
    assert "net[" in text
    assert "part[a]" in text


def test_group_penalty_of_a_model_that_is_not_bound():
    layer = layers.Dense(
        2, kernel_initializer="ones", kernel_regularizer=kreg.GroupLasso(0.5)
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    assert list(kreg.penalties(model).values()) == [0.5 * 2 * 2 * 2]
