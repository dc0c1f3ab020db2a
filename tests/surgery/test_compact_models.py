"""What the new model is, what is refused, and what the record says."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from surgery.compaction_graphs import Subclassed
from surgery.handmade import (
    entry,
    filled,
    kill,
    mlp,
    network,
    same,
    units,
    x_of,
)

import kreg


def test_names_of_layers_and_the_model_stay():
    model = mlp()
    kill(model.get_layer("first"), 1)
    small = kreg.compact(model)
    assert small.name == model.name
    assert [y.name for y in small.layers] == [y.name for y in model.layers]
    assert [v.path for v in small.weights] == [v.path for v in model.weights]


def test_paths_of_nested_weights_stay():
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, "relu", name="deep")], name="inner"
    )
    model = network((6,), inner, layers.Dense(4, name="outer"))
    kill(inner.get_layer("deep"), 1)
    small = kreg.compact(model)
    assert [v.path for v in small.weights] == [v.path for v in model.weights]
    assert units(small.get_layer("inner"), "deep") == 4
    assert same(small, model, x_of(5, 6))


def test_names_and_structure_of_inputs_and_outputs_stay():
    inputs = {name: keras.Input((3,), name=name) for name in "ab"}
    x = layers.Concatenate()(list(inputs.values()))
    x = layers.Dense(6, "relu", name="first")(x)
    heads = {
        "kind": layers.Dense(2, name="kind")(x),
        "size": [layers.Dense(1, name="size")(x)],
    }
    model = filled(keras.Model(inputs, heads))
    kill(model.get_layer("first"), 0)
    small = kreg.compact(model)
    x = {"a": x_of(5, 3), "b": x_of(5, 3)}
    assert small.output_names == model.output_names
    assert [t.name for t in small.inputs] == [t.name for t in model.inputs]
    results = small(x)
    assert set(results) == {"kind", "size"}
    assert isinstance(results["size"], list)
    assert same(small, model, x)


def test_trainable_flags_stay():
    model = mlp()
    model.get_layer("first").trainable = False
    kill(model.get_layer("first"), 1)
    small = kreg.compact(model)
    assert [y.trainable for y in small.layers] == [
        y.trainable for y in model.layers
    ]
    assert [v.path for v in small.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]


def test_dtype_policies_stay():
    model = network((6,), layers.Dense(8, dtype="mixed_float16", name="half"))
    kill(model.get_layer("half"), 1)
    layer = kreg.compact(model).get_layer("half")
    assert layer.dtype_policy.name == "mixed_float16"
    assert layer.kernel.dtype == "float32"


def test_a_sequential_model_stays_one():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, name="first"), layers.Dense(2)]
    )
    kill(model.get_layer("first"), 1)
    assert isinstance(kreg.compact(model), keras.Sequential)


def test_a_shared_layer_stays_shared():
    inputs = [keras.Input((6,)), keras.Input((6,))]
    shared = layers.Dense(5, "relu", name="shared")
    x = layers.Concatenate()([shared(i) for i in inputs])
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    kill(shared, 0, 2)
    small = kreg.compact(model)
    assert len(small.layers) == len(model.layers)
    assert units(small, "shared") == 3
    assert same(small, model, [x_of(5, 6), x_of(5, 6)])


@pytest.mark.thorough
def test_the_new_model_is_not_compiled_and_trains():
    model = mlp()
    model.compile("adam", "mse")
    x, y = x_of(16, 6), x_of(16, 3)
    model.fit(x, y, verbose=0)
    kill(model.get_layer("first"), 1, 4)
    small = kreg.compact(model)
    assert not small.compiled
    np.testing.assert_allclose(
        small.predict(x, verbose=0),
        model.predict(x, verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )
    small.compile("adam", "mse")
    small.fit(x, y, verbose=0)


def test_no_object_of_kreg_is_in_the_new_model():
    model = mlp(kernel_regularizer=kreg.L1(0.1), bias_regularizer="l2")
    model.compile(kreg.ProximalOptimizer("sgd"), "mse")
    kreg.freeze_support(model)
    kill(model.get_layer("first"), 1)
    small = kreg.compact(model)
    layer = small.get_layer("first")
    assert "kreg>" not in json.dumps(small.get_config())
    assert layer.kernel_regularizer is layer.kernel.regularizer is None
    assert layer.kernel_constraint is layer.kernel.constraint is None
    assert isinstance(layer.bias.regularizer, keras.regularizers.L2)
    assert isinstance(model.get_layer("first").kernel_regularizer, kreg.L1)


def test_a_penalty_of_kreg_kills_and_compact_removes():
    model = mlp(16, kernel_regularizer=kreg.GroupLasso(0.1))
    model.set_weights([0.3 * w for w in model.get_weights()])
    model.compile(kreg.ProximalOptimizer(keras.optimizers.SGD(0.05)), "mse")
    kreg.bind(model)
    x = x_of(64, 6)
    model.fit(x, x[:, :3], batch_size=16, epochs=15, verbose=0)
    kernel = model.get_layer("first").get_weights()[0]
    dead = int((kernel == 0).all(axis=0).sum())
    small = kreg.compact(model)
    assert dead > 0
    assert units(small, "first") <= max(1, 16 - dead)
    assert same(small, model, x)


# Refusals and the record


def test_subclassed_models_are_refused():
    model = Subclassed()
    model.build((None, 6))
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"(?i)subclass") as error:
        kreg.compact(model)
    assert model.name in str(error.value) or "Subclassed" in str(error.value)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unbuilt_models_are_refused():
    with pytest.raises(ValueError, match="`model`"):
        kreg.compact(keras.Sequential([layers.Dense(3)]))


@pytest.mark.parametrize("value", [None, "model", 3, layers.Dense(2)])
def test_other_things_than_models_are_refused(value):
    with pytest.raises(TypeError, match=r"`model`.*Received"):
        kreg.compact(value)


def test_nested_subclassed_models_give_way_to_their_layers():
    inner = Subclassed(5, name="inner")
    model = network((6,), layers.Dense(8, name="first"), inner)
    kill(model.get_layer("first"), 1)
    kill(inner.first, 2)
    small, compaction = kreg.compact(model, return_compaction=True)
    assert entry(compaction, "first").units_after == 7
    assert small.count_params() == model.count_params() - 7 - (9 + 4) - 5
    assert compaction.notes == (
        "The layers inside `inner` (Subclassed) are in its place.",
    )
    assert same(small, model, x_of(5, 6))


def test_the_record_is_plain_and_frozen():
    model = mlp()
    kill(model.get_layer("first"), 1)
    _, compaction = kreg.compact(
        model, drop_inputs=True, return_compaction=True
    )
    record = json.loads(json.dumps(compaction.to_dict()))
    assert record["parameters_before"] == model.count_params()
    assert record["parameters_after"] == model.count_params() - 6 - 1 - 8
    with pytest.raises(AttributeError):
        compaction.parameters_after = 0
    lines = str(compaction).splitlines()
    (line,) = [text for text in lines if "first" in text]
    assert "8" in line
    assert "7" in line


def test_the_record_has_each_layer_once():
    model = network(
        (8, 8, 2),
        layers.Conv2D(4, 3, name="convolution"),
        layers.BatchNormalization(name="normalization"),
        layers.GlobalMaxPooling2D(),
    )
    _, compaction = kreg.compact(model, return_compaction=True)
    paths = [layer.path for layer in compaction.layers]
    assert len(paths) == len(set(paths))
    assert {"convolution", "normalization", "logits"} <= {
        p.split("/")[-1] for p in paths
    }


def odd_layers():
    """Layers without units that can go, in a model that is nested."""
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 2, activation="relu", name="stem")(x)
    y = layers.Conv2D(8, 3, groups=8, activation="relu", name="grouped")(y)
    y = layers.DepthwiseConv2D(3, name="depthwise")(y)
    y = layers.BatchNormalization(name="normalization")(y)
    y = layers.LayerNormalization(name="layer_normalization")(y)
    y = layers.Reshape((9, 8))(y)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    shared = layers.Dense(8, name="shared")
    return keras.Model(x, shared(shared(y)), name="part")


def test_the_rows_of_the_record_add_up_to_the_model():
    x = keras.Input((8, 8, 3))
    y = layers.LSTM(3, return_state=True, name="recurrent")(odd_layers()(x))
    model = keras.Model(x, layers.Dense(2, name="last")(y[0]))
    part = model.layers[1]
    for name, dead in (("stem", [6, 7]), ("grouped", [0, 1, 2, 6])):
        kernel, bias = part.get_layer(name).get_weights()
        kernel[..., dead] = 0.0
        part.get_layer(name).set_weights([kernel, bias])
    small, compaction = kreg.compact(model, return_compaction=True)
    before = sum(layer.parameters_before for layer in compaction.layers)
    after = sum(layer.parameters_after for layer in compaction.layers)
    assert before == model.count_params()
    assert after == small.count_params()
    kept = {
        layer.path.split("/")[-1]: layer.kept for layer in compaction.layers
    }
    (reason,) = kept["grouped"]
    assert "layer_normalization` takes a mean over all channels" in reason
    assert sum(kept["grouped"].values()) >= 4
    (reason,) = kept["stem"]
    assert "equal numbers in its groups" in reason
    assert sum(kept["stem"].values()) == 2
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    np.testing.assert_allclose(
        small.predict(images, verbose=0),
        model.predict(images, verbose=0),
        rtol=1e-4,
        atol=1e-6,
    )
