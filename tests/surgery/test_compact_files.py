"""A table of models that are made smaller, saved, and loaded without kreg."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from surgery.random_weights import largest_difference, outputs
from surgery.saved_models import HUB, MODELS, OWN
from thorough import few_of

import kreg

LOADER = Path(__file__).with_name("load_saved_models.py")
TOLERANCES = {"float64": 1e-10, "half": 2e-3}
ALIKE = few_of([True, False], True, rest=pytest.mark.exhaustive)
# In these nothing can go, or no config has the sizes that are left.
WHOLE = {"fixed_net", "scaled", "operations", "bert_int8"}
# These stay the class that they were.
SAME_CLASS = {
    *("functional_subclass", "deberta", "gpt2_lm", "vit_classifier"),
}
# Their configs do not know widths that can go, too, such as those inside heads.
SMALLER_WITH_THEIR_CLASS = sorted(
    {"gpt2", "opt", "gemma", "llama", "mistral", "net", "vit"} & set(MODELS)
)


def with_dead_units(name, *, alike=True):
    """A model of the table in which a quarter of the hidden units is dead.

    Args:
        name: its name.
        alike: whether all layers of one size have equally many.
    """
    model, x = MODELS[name]()
    last = len(list(dense_layers(model))) - 1
    for i, layer in enumerate(dense_layers(model)):
        if i == last or getattr(layer, "quantization_mode", None):
            continue
        kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
        dead = kernel.shape[-1] // 4 + (0 if alike else i % 3)
        kernel[..., :dead] = 0
        layer._kernel.assign(kernel)
    return model, x


def dense_layers(model):
    for layer in model._flatten_layers():
        kinds = layers.Dense, layers.Conv2D, layers.EinsumDense
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        if isinstance(layer, kinds) and not depthwise:
            yield layer


def outputs_of(model, x):
    flat = keras.tree.flatten(model(x, training=False))
    return [keras.ops.convert_to_numpy(y).astype("d") for y in flat]


def saved(name, folder, **arguments):
    """Make a model smaller and save it with inputs and outputs."""
    model, x = with_dead_units(name, **arguments)
    expected = outputs_of(model, x)
    small, record = kreg.compact(model, sample=x, return_compaction=True)
    small.save(folder / f"{name}.keras")
    path = folder / f"{name}.pickle"
    path.write_bytes(pickle.dumps((x, expected)))
    before = sum(row.parameters_before for row in record.layers)
    after = sum(row.parameters_after for row in record.layers)
    assert (before, after) == (model.count_params(), small.count_params())
    return record


def differences(folder):
    """How far the loaded models predict from what they must, by name."""
    found = subprocess.run(
        [sys.executable, str(LOADER), str(folder)]
        + (["--hub"] if set(HUB) & set(MODELS) else []),
        env={**os.environ, "PYTHONPATH": str(LOADER.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout.splitlines()[-1])


def wrong(found):
    return {
        name: difference
        for name, difference in found.items()
        if difference > TOLERANCES.get(name, 1e-5)
    }


@pytest.mark.slow
def test_own_models_load_and_predict_where_kreg_is_not_installed(tmp_path):
    names = ["fixed", "sized", "net"]
    records = {name: saved(name, tmp_path) for name in names}
    assert not wrong(differences(tmp_path))
    for record in records.values():
        assert record.parameters_after < record.parameters_before


@pytest.mark.slow
# KerasHub's layers warn of what they do not support.
@pytest.mark.filterwarnings("ignore::UserWarning:keras")
@pytest.mark.parametrize("alike", ALIKE)
def test_every_model_loads_and_predicts_the_same(alike, tmp_path, capsys):
    records = {}
    for name in MODELS:
        keras.backend.clear_session()
        records[name] = saved(name, tmp_path, alike=alike)
    with capsys.disabled():
        print(f"\ndead units {'alike' if alike else 'differing'}")
        for name, record in records.items():
            stays = {row.stays for row in record.layers} - {""}
            print(
                f"{name:20} {record.parameters_before:>9,} -> "
                f"{record.parameters_after:>9,}  {record.kind_before} -> "
                f"{record.kind_after}  {len(stays)} reasons"
            )
    found = differences(tmp_path)
    assert set(found) == set(MODELS)
    assert not wrong(found)
    assert not [
        name
        for name, record in records.items()
        if name not in WHOLE
        and record.parameters_after == record.parameters_before
    ]
    if alike:
        assert not [
            name
            for name in SAME_CLASS & set(MODELS)
            if records[name].kind_after != records[name].kind_before
        ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:keras")
@pytest.mark.parametrize(
    "name",
    few_of(SMALLER_WITH_THEIR_CLASS, "gpt2", rest=pytest.mark.exhaustive),
)
def test_on_request_it_gets_smaller_and_keeps_its_class(name):
    model, x = with_dead_units(name)
    small = kreg.compact(model, sample=x, keep_class=True)
    assert type(small) is type(model)
    assert small.count_params() < model.count_params()
    assert largest_difference(outputs(small, x), outputs(model, x)) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif("gpt2_lm" not in MODELS, reason="needs keras-hub")
@pytest.mark.parametrize("alike", ALIKE)
def test_a_smaller_causal_model_generates_the_same_tokens(alike):
    model, x = with_dead_units("gpt2_lm", alike=alike)
    small = kreg.compact(model)
    assert small.count_params() < model.count_params()
    prompt = {
        "token_ids": x["token_ids"],
        "padding_mask": np.tile([1, 1, 1, 0, 0, 0, 0, 0], (4, 1)),
    }
    texts = []
    for each in (model, small):
        each.compile(sampler="greedy")
        texts.append(each.generate(prompt, stop_token_ids=None)["token_ids"])
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, texts))


def test_the_table_has_own_models_of_many_kinds():
    assert len(OWN) >= 20


def test_a_memory_that_was_used_is_no_obstacle(tmp_path):
    """A recurrent layer that goes on from batch to batch, after a batch."""
    inputs = keras.Input(batch_shape=(4, 6, 3))
    x = layers.Dense(6, "relu")(inputs)
    memory = layers.LSTM(5, stateful=True)
    model = keras.Model(inputs, layers.Dense(3)(memory(x)))
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    model(x)
    small = kreg.compact(model)
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    memory.reset_states()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(loaded(x)),
        keras.ops.convert_to_numpy(model(x)),
        atol=1e-6,
    )
