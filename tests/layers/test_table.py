"""Every row of the table: counts against those by hand, and compaction."""

import keras
import numpy as np
import pytest
from layers.instances import LAYERS
from surgery.random_weights import randomize
from thorough import few_of

import kreg
from kreg.deployment._costs import multiply_adds
from kreg.layers.table import TABLE, rows_of
from kreg.surgery.sample import random_sample


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.kinds[0].__name__)
def test_each_class_has_an_instance(row):
    covered = [instance.make() for instance in LAYERS.values()]
    covered += [layer.cell for layer in covered if hasattr(layer, "cell")]
    assert set(row.kinds) <= {type(layer) for layer in covered}


def test_no_row_hides_one_below_it():
    hidden = [
        (below, above)
        for place, row in enumerate(TABLE)
        for below in row.kinds
        for above_row in TABLE[:place]
        for above in above_row.kinds
        if issubclass(below, above)
    ]
    assert hidden == []


@pytest.mark.parametrize("name", LAYERS)
def test_one_call_counts_as_by_hand(name):
    instance = LAYERS[name]
    inputs = [keras.Input(instance.shape) for _ in range(instance.num_inputs)]
    model = keras.Model(inputs, called(instance.make(), inputs))
    counts = multiply_adds(model, random_sample(model, 1))
    assert counts.total == instance.multiply_adds
    assert counts.uncounted == []


@pytest.mark.parametrize("name", few_of(LAYERS, *list(LAYERS)[::3]))
def test_compaction_follows_it_or_keeps_it_whole(name):
    """The layer, between dense layers with half of their units dead."""
    instance = LAYERS[name]
    *places, channels = instance.shape
    x = keras.Input((*places, channels))
    layer, branches = instance.make(), [x]
    if not isinstance(layer, keras.layers.Embedding):
        branches = [
            keras.layers.Dense(channels, "relu")(x)
            for _ in range(instance.num_inputs)
        ]
    model = keras.Model(x, keras.layers.Dense(2)(called(layer, branches)))
    randomize(model, aligned=not instance.is_kept_whole)
    small = kreg.compact(model)
    data = np.random.default_rng(0).uniform(0, 6, size=(4, *instance.shape))
    expected = model.predict(data, verbose=0)
    np.testing.assert_allclose(
        small.predict(data, verbose=0),
        expected,
        rtol=1e-4,
        atol=1e-4 * np.abs(expected).max(),
    )
    if not instance.is_kept_whole:
        assert small.count_params() < model.count_params()


def called(layer, tensors):
    attention = (
        keras.layers.MultiHeadAttention,
        keras.layers.GroupQueryAttention,
    )
    if isinstance(layer, attention):
        return layer(*tensors)
    return layer(tensors if len(tensors) > 1 else tensors[0])


def test_of_several_rows_the_nearest_class_comes_first():
    rows = list(rows_of(keras.layers.LSTM(3)))
    assert [row.kinds[-1] for row in rows] == [
        keras.layers.SimpleRNN,
        keras.layers.RNN,
    ]
