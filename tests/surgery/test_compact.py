"""A table of models: the same outputs, and no dead unit that can go."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from surgery.compaction_models import TABLE, WIDTH
from surgery.random_weights import (
    calibrate,
    largest_difference,
    outputs,
    randomize,
    some_inputs,
)
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
CASES = [
    pytest.param(name, marks=[pytest.mark.slow] if case.slow else [])
    for name, case in TABLE.items()
]
TRAINED = [
    *("dense", "dense_without_bias", "conv_bn_pool_dense", "conv2d_same"),
    *("depthwise2d", "separable2d", "masked_lstm", "gru", "both_ways"),
    *("squeeze_and_excite", "several_inputs", "several_outputs", "siamese"),
    *("nested_twice", "attention", "einsum_dense"),
]
LOADER = Path(__file__).with_name("load_without_kreg.py")
every_case = pytest.mark.parametrize("name", CASES)


def made(name, *, aligned=True):
    """A model of the table, with random weights, and inputs for it."""
    if BACKEND != "tensorflow" and "float64" in name:
        pytest.skip("Keras computes in float32 there")
    model = TABLE[name].build(WIDTH)
    randomize(model, aligned=aligned)
    x = some_inputs(model)
    calibrate(model, x)
    return model, x


@functools.cache
def compacted(name):
    model, x = made(name)
    return model, x, *kreg.compact(model, return_compaction=True)


def assert_same_outputs(small, model, x, tolerance):
    expected = outputs(model, x)
    assert max(y.std(axis=0).max() for y in expected) > 1e-4
    assert largest_difference(outputs(small, x), expected) <= tolerance


@every_case
def test_outputs_are_the_same(name):
    model, x, small, _ = compacted(name)
    assert_same_outputs(small, model, x, TABLE[name].tolerance)


@every_case
def test_what_can_go_goes(name):
    model, _, small, _ = compacted(name)
    before, case = model.count_params(), TABLE[name]
    assert small.count_params() <= case.bound(before)
    if case.keeps:
        assert small.count_params() == before


@every_case
def test_the_record_counts_parameters_and_units(name):
    model, _, small, compaction = compacted(name)
    assert compaction.parameters_before == model.count_params()
    assert compaction.parameters_after == small.count_params()
    for layer in compaction.layers:
        assert 1 <= layer.units_after <= layer.units_before
        assert all(
            reason and isinstance(reason, str) and count > 0
            for reason, count in layer.kept.items()
        )
        assert sum(layer.kept.values()) <= layer.units_after
        assert layer.path in str(compaction)
    json.dumps(compaction.to_dict())


@pytest.mark.slow
@every_case
def test_outputs_are_the_same_where_each_layer_loses_units_of_its_own(name):
    model, x = made(name, aligned=False)
    small = kreg.compact(model)
    assert_same_outputs(small, model, x, TABLE[name].tolerance)
    assert small.count_params() <= model.count_params()


@pytest.mark.slow
@every_case
def test_the_original_is_untouched(name):
    model, _ = made(name)
    weights = [np.copy(w) for w in model.get_weights()]
    config, trainable = model.get_config(), trainable_paths(model)
    small = kreg.compact(model)
    small.set_weights([np.zeros_like(w) for w in small.get_weights()])
    for now, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)
    assert model.get_config() == config
    assert trainable_paths(model) == trainable


def trainable_paths(model):
    return [v.path for v in model.trainable_variables]


@pytest.mark.slow
@every_case
def test_a_compact_model_has_nothing_more_to_lose(name):
    _, _, small, _ = compacted(name)
    assert kreg.compact(small).count_params() == small.count_params()


def saved(small, model, x, name, folder):
    """Write a compact model, and what it must predict."""
    small.save(folder / f"{name}.keras")
    arrays, expected = keras.tree.flatten(x), outputs(model, x)
    np.savez(
        folder / f"{name}.npz",
        **{f"x{i:02}": a for i, a in enumerate(arrays)},
        **{f"y{i:02}": a for i, a in enumerate(expected)},
    )


def wrong_without_kreg(folder):
    """How far models predict from what they must where there is no kreg.

    Of those beyond their tolerance; and the names of all.
    """
    found = subprocess.run(
        [sys.executable, str(LOADER), str(folder)],
        env={**os.environ, "PYTHONPATH": str(LOADER.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    differences = json.loads(found.stdout.splitlines()[-1])
    wrong = {
        name: difference
        for name, difference in differences.items()
        if difference > TABLE[name].tolerance
    }
    return wrong, set(differences)


def known_names():
    if BACKEND == "tensorflow":
        return list(TABLE)
    return [name for name in TABLE if "float64" not in name]


@pytest.mark.slow
def test_all_load_and_predict_where_kreg_is_not_installed(tmp_path):
    names = [name for name in known_names() if not TABLE[name].slow]
    for name in names:
        model, x = made(name)
        saved(kreg.compact(model), model, x, name, tmp_path)
    assert wrong_without_kreg(tmp_path) == ({}, set(names))


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:The regularizers attached:UserWarning")
def test_the_whole_way_of_every_model(tmp_path):
    """Attach, fit, strip, compact, save, load without kreg, predict."""
    for name in known_names():
        model, x = trained(name)
        kreg.strip(model)
        saved(kreg.compact(model), model, x, name, tmp_path)
    assert wrong_without_kreg(tmp_path) == ({}, set(known_names()))


def trained(name):
    """A model of the table after a `fit` with penalties, with dead units."""
    model, x = made(name)
    kreg.attach(model, kreg.GroupLasso(1e-6))
    # Keras adds penalties in float64 to no loss in float32.
    keras.config.set_floatx("float64" if "float64" in name else "float32")
    y = keras.tree.map_structure(keras.ops.zeros_like, model(x))
    model.compile(
        kreg.ProximalOptimizer(keras.optimizers.SGD(1e-6)),
        keras.tree.map_structure(lambda _: "mse", y),
    )
    model.fit(x, y, verbose=0)
    keras.config.set_floatx("float32")
    randomize(model)
    return model, x


@pytest.mark.parametrize(
    "name",
    few_of(TRAINED, "conv_bn_pool_dense", "nested_twice"),
)
def test_attach_fit_strip_compact(name):
    model, x = trained(name)
    kreg.strip(model)
    small = kreg.compact(model)
    assert_same_outputs(small, model, x, TABLE[name].tolerance)
    assert small.count_params() <= TABLE[name].bound(model.count_params())
