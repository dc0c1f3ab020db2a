"""Penalties on channels in files, under a frozen support, and taken off."""

import copy
import pickle

import keras
import numpy as np
import pytest
from channels import entries, let_die, made, ties, value
from keras import optimizers
from thorough import few_of

import kreg

EAGER = {"run_eagerly": keras.backend.backend() == "tensorflow"}
MEMBERS = ("mlp", "resnet", "branches", "partly fixed")


def attached(name, strength=0.02):
    model, _ = made(name)
    penalty = kreg.GroupLasso(strength, "channels")
    kreg.attach(model, penalty)
    return model, penalty


def fit(model, epochs=1, start=0):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(16, *model.inputs[0].shape[1:])).astype("float32")
    y = rng.normal(size=(16, *model.outputs[0].shape[1:])).astype("float32")
    model.fit(x, y, 8, epochs, initial_epoch=start, shuffle=False, verbose=0)


def groups(model):
    return [
        [group.tolist() for group in entries(parts)]
        for parts in ties(model).values()
    ]


@pytest.mark.parametrize("name", few_of(MEMBERS, "branches", "partly fixed"))
def test_ties_come_back_from_a_file(name, tmp_path):
    model, _ = attached(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kreg.bind(loaded)
    assert groups(loaded) == groups(model)
    assert sum(kreg.penalties(loaded).values()) == sum(
        kreg.penalties(model).values()
    )
    loaded.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    kreg.bind(again)
    assert groups(again) == groups(model)


def inner_model():
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(7, "relu", name="up"),
            keras.layers.Dense(4, name="down"),
        ],
        name="inner",
    )


def around(inside, shape):
    x = keras.Input(shape)
    return keras.Model(x, keras.layers.Dense(3, name="last")(inside(x)))


AROUND = {
    "model": lambda: around(inner_model(), (5,)),
    "model in a model": lambda: around(
        keras.Sequential([keras.Input((5,)), inner_model()]), (5,)
    ),
    "model in each step": lambda: around(
        keras.layers.TimeDistributed(inner_model()), (2, 5)
    ),
}


@pytest.mark.parametrize("name", few_of(AROUND, "model"))
def test_ties_beyond_a_model_inside_come_back(name, tmp_path):
    model = AROUND[name]()
    kreg.attach(model, kreg.GroupLasso(0.02, "channels"))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for twin in (loaded, copy.deepcopy(model), pickle_copy(model)):
        kreg.bind(twin)
        assert groups(twin) == groups(model)


def pickle_copy(model):
    return pickle.loads(pickle.dumps(model))


def test_a_model_inside_keeps_its_part_of_the_ties(tmp_path):
    inner = inner_model()
    kreg.attach(around(inner, (5,)), kreg.GroupLasso(0.02, "channels"))
    inner.save(tmp_path / "inner.keras")
    loaded = keras.saving.load_model(tmp_path / "inner.keras")
    kreg.bind(loaded)
    assert {
        path: [part.slices.numbers.tolist() for part in parts]
        for path, parts in ties(loaded).items()
    } == {
        path: [
            part.slices.numbers.tolist()
            for part in parts
            if part.variable.path in {v.path for v in inner.weights}
        ]
        for path, parts in ties(inner).items()
    }


def test_ties_are_in_a_copy():
    model, _ = attached("branches")
    twin = copy.deepcopy(model)
    kreg.bind(twin)
    assert groups(twin) == groups(model)
    for one, other in zip(ties(model), ties(twin), strict=True):
        penalty = ties(twin)[other][0].penalty
        assert penalty is not ties(model)[one][0].penalty


@pytest.mark.thorough
def test_training_of_a_checkpoint_goes_on(tmp_path):
    def compiled():
        ramp = kreg.schedules.LinearRamp(0.0, 0.1, steps=8)
        model, _ = attached("partly fixed", ramp)
        adam = optimizers.Adam(0.05)
        model.compile(kreg.ProximalOptimizer(adam), "mse", **EAGER)
        return model

    unbroken, model = compiled(), compiled()
    fit(unbroken, 4)
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kreg.bind(loaded)
    loaded.run_eagerly = EAGER["run_eagerly"]
    fit(loaded, 4, start=2)
    for one, other in zip(unbroken.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(value(one), value(other))


def test_frozen_support_keeps_dead_channels():
    model, _ = attached("branches")
    (parts, _) = sorted(ties(model).values(), key=len, reverse=True)
    for group in (1, 4):
        let_die(parts, group)
    optimizer = kreg.ProximalOptimizer(optimizers.Adam(0.05))
    model.compile(optimizer, "mse", **EAGER)
    kreg.freeze_support(model)
    fit(model, 3)
    alive = [any(group) for group in entries(parts)]
    assert [i for i, a in enumerate(alive) if not a] == [1, 4]
    assert sum(kreg.penalties(model).values()) == 0.0
    kreg.unfreeze_support(model)
    assert sum(kreg.penalties(model).values()) > 0.0


def test_strip_takes_them_off():
    model, _ = attached("resnet")
    kreg.strip(model)
    assert all(v.regularizer is None for v in model.weights)
    assert model.losses == []


def test_compacted_model_needs_no_kreg(tmp_path):
    model, _ = attached("normalized mlp")
    for parts in ties(model).values():
        let_die(parts, 1)
    small = kreg.compact(model)
    small.save(tmp_path / "small.keras")
    assert ties(small) == {}
    assert b"kreg" not in (tmp_path / "small.keras").read_bytes()
    # The given model keeps its penalty.
    assert len(ties(model)) == 1
