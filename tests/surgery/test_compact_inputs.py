"""Features of the inputs that nothing reads."""

import keras
import numpy as np
from keras import layers
from surgery.handmade import (
    filled,
    ignore,
    mlp,
    x_of,
)
from surgery.random_weights import largest_difference, outputs

import kreg


def test_inputs_stay_unless_asked():
    model = mlp()
    ignore(model.get_layer("first"), 0, 3)
    small, compaction = kreg.compact(model, return_compaction=True)
    assert small.input_shape == (None, 6)
    np.testing.assert_array_equal(
        compaction.kept_inputs["features"], np.arange(6)
    )


def test_dropped_inputs_do_not_matter():
    model = mlp()
    ignore(model.get_layer("first"), 0, 3)
    small, compaction = kreg.compact(
        model, drop_inputs=True, return_compaction=True
    )
    kept = compaction.kept_inputs["features"]
    np.testing.assert_array_equal(kept, [1, 2, 4, 5])
    x = x_of(5, 6)
    expected = outputs(model, np.where(np.isin(range(6), kept), x, 99.0))
    assert largest_difference(outputs(small, x[:, kept]), expected) < 1e-5
    assert small.inputs[0].name == "features"


def test_inputs_read_by_dead_units_alone_are_dropped():
    model = mlp()
    kernel, bias = model.get_layer("first").get_weights()
    kernel[2, 1:] = 0.0
    model.get_layer("first").set_weights([kernel, bias])
    ignore(model.get_layer("second"), 0)
    _, compaction = kreg.compact(
        model, drop_inputs=True, return_compaction=True
    )
    np.testing.assert_array_equal(
        compaction.kept_inputs["features"], [0, 1, 3, 4, 5]
    )


def test_inputs_are_dropped_each_by_its_name():
    inputs = {
        "image": keras.Input((6, 6, 4), name="image"),
        "age": keras.Input((5,), name="age"),
    }
    a = layers.Conv2D(3, 3, padding="same", name="a")(inputs["image"])
    b = layers.Dense(4, name="b")(inputs["age"])
    x = layers.Concatenate()([layers.GlobalMaxPooling2D()(a), b])
    model = filled(keras.Model(inputs, layers.Dense(2)(x)))
    ignore(model.get_layer("a"), 1)
    ignore(model.get_layer("b"), 0, 4)
    small, compaction = kreg.compact(
        model, drop_inputs=True, return_compaction=True
    )
    kept = compaction.kept_inputs
    np.testing.assert_array_equal(kept["image"], [0, 2, 3])
    np.testing.assert_array_equal(kept["age"], [1, 2, 3])
    x = {"image": x_of(5, 6, 6, 4), "age": x_of(5, 5)}
    reduced = {name: x[name][..., kept[name]] for name in x}
    assert largest_difference(outputs(small, reduced), outputs(model, x)) < 1e-5


def test_one_input_stays_where_none_is_read():
    model = mlp()
    ignore(model.get_layer("first"), *range(6))
    small, compaction = kreg.compact(
        model, drop_inputs=True, return_compaction=True
    )
    kept = compaction.kept_inputs["features"]
    assert len(kept) == 1
    x = x_of(5, 6)
    np.testing.assert_allclose(
        outputs(small, x[:, kept])[0], outputs(model, x)[0], rtol=1e-5
    )
