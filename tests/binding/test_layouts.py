"""What a unit and an input are, layer by layer.

The oracle is the layer itself: an output channel depends on exactly the weights
of its unit, an input channel acts through exactly the weights of its group.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kreg
from kreg._keras_private import own_trainable_variables
from kreg.layers.axes import layout_of, layouts_of

RNG = np.random.default_rng(0)

# name: (layer, input shape, name of the weight, axis of the channels)
KERNELS = {
    "Dense": (lambda: layers.Dense(4), (3,), "kernel"),
    "Conv1D": (lambda: layers.Conv1D(4, 2), (5, 3), "kernel"),
    "Conv2D": (lambda: layers.Conv2D(4, 2), (5, 5, 3), "kernel"),
    "Conv2D_groups": (
        lambda: layers.Conv2D(4, 2, groups=2),
        (5, 5, 6),
        "kernel",
    ),
    "Conv3D": (lambda: layers.Conv3D(4, 2), (3, 3, 3, 2), "kernel"),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(4, 2), (5, 3), "kernel"),
    "Conv2DTranspose": (
        lambda: layers.Conv2DTranspose(4, 2),
        (5, 5, 3),
        "kernel",
    ),
    "DepthwiseConv2D": (
        lambda: layers.DepthwiseConv2D(2, depth_multiplier=2),
        (5, 5, 3),
        "kernel",
    ),
    "EinsumDense": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 4)),
        (5, 3),
        "kernel",
    ),
    "SimpleRNN": (lambda: layers.SimpleRNN(4), (5, 3), "kernel"),
    "GRU": (lambda: layers.GRU(4), (5, 3), "kernel"),
}


def built(name):
    make, shape, weight = KERNELS[name]
    layer = make()
    layer.build((None, *shape))
    owner = layer.cell if hasattr(layer, "cell") else layer
    (variable,) = [
        v for v in own_trainable_variables(owner) if v.name == weight
    ]
    return layer, owner, variable, shape


def members(groups):
    """The group that each entry belongs to, in the weight's own shape."""
    index = np.arange(groups.count).reshape(
        [1 if a in groups.axes else n for a, n in enumerate(groups.view)]
    )
    return np.broadcast_to(index, groups.view)


def outputs(layer, x):
    y = ops.convert_to_numpy(layer(ops.convert_to_tensor(x, "float32")))
    return y


@pytest.mark.parametrize("name", KERNELS)
def test_a_unit_without_weights_has_a_constant_output(name):
    layer, owner, variable, shape = built(name)
    groups = layout_of(owner, variable).units
    index = members(groups).reshape(variable.shape)
    x = RNG.normal(size=(2, *shape))
    before = outputs(layer, x)
    channels = before.reshape(before.size // groups.count, -1)
    for unit in range(groups.count):
        w = ops.convert_to_numpy(variable).copy()
        w[index == unit] = 0.0
        original = ops.convert_to_numpy(variable)
        variable.assign(w)
        after = outputs(layer, x).reshape(channels.shape)
        changed = np.abs(after - channels).max(axis=0) > 1e-6
        if "RNN" in name or name == "GRU":  # units also feed one another
            assert changed[unit]
        else:
            assert changed.tolist() == [k == unit for k in range(groups.count)]
            assert not after[:, unit].any()
        variable.assign(original)


@pytest.mark.parametrize("name", KERNELS)
def test_an_input_without_weights_is_not_heard(name):
    layer, owner, variable, shape = built(name)
    groups = layout_of(owner, variable).inputs
    assert groups.count == shape[-1]
    index = members(groups).reshape(variable.shape)
    if "groups" in name:  # in the order of the view, here of three by two
        index = (index % 2) * 3 + index // 2
    x = RNG.normal(size=(2, *shape))
    original = ops.convert_to_numpy(variable)
    for channel in range(shape[-1]):
        w = original.copy()
        w[index == channel] = 0.0
        variable.assign(w)
        silenced = x.copy()
        silenced[..., channel] = 0.0
        np.testing.assert_allclose(
            outputs(layer, x), outputs(layer, silenced), atol=1e-6
        )
        w = original.copy()
        w[index != channel] = 0.0
        variable.assign(w)
        silenced = np.zeros_like(x)
        silenced[..., channel] = x[..., channel]
        np.testing.assert_allclose(
            outputs(layer, x), outputs(layer, silenced), atol=1e-6
        )
    variable.assign(original)


@pytest.mark.parametrize(
    ("cell", "gates"), [("SimpleRNN", 1), ("GRU", 3), ("LSTM", 4)]
)
def test_units_of_recurrent_layers_hold_every_gate(cell, gates):
    layer = getattr(layers, cell)(5)
    layer.build((None, 7, 3))
    for variable, size in zip(
        layer.cell.trainable_weights, (3, 5, None), strict=True
    ):
        groups = layout_of(layer.cell, variable).units
        assert groups.count == 5
        if size:
            assert groups.size == size * gates
        index = members(groups).reshape(variable.shape)
        for gate in range(gates):  # units follow one another in each gate
            part = index[..., 5 * gate : 5 * gate + 5]
            np.testing.assert_array_equal(
                part, np.broadcast_to(np.arange(5), part.shape)
            )


@pytest.mark.parametrize(
    ("name", "units", "inputs"),
    [("depthwise_kernel", 6, 3), ("pointwise_kernel", 4, 6), ("bias", 4, None)],
)
def test_separable_convolution(name, units, inputs):
    layer = layers.SeparableConv2D(4, 2, depth_multiplier=2)
    layer.build((None, 5, 5, 3))
    (variable,) = [v for v in layer.trainable_weights if v.name == name]
    layout = layout_of(layer, variable)
    assert layout.units.count == units
    assert (layout.inputs and layout.inputs.count) == inputs


def test_embedding():
    layer = layers.Embedding(7, 3)
    layer.build()
    layout = layout_of(layer, layer.embeddings)
    assert (layout.units.count, layout.inputs.count) == (3, 7)


def test_convolutional_lstm():
    layer = layers.ConvLSTM2D(4, 2)
    layer.build((None, 5, 6, 6, 3))
    layouts = layouts_of(keras.Sequential([keras.Input((5, 6, 6, 3)), layer]))
    kernel = layouts[id(layer.cell.kernel)]
    assert (kernel.units.count, kernel.inputs.count) == (4, 3)


def test_attention_is_made_of_known_layers():
    layer = layers.MultiHeadAttention(2, 3)
    layer.build((None, 5, 4), (None, 5, 4))
    model = keras.Model(
        x := keras.Input((5, 4)),
        layer(x, x),
    )
    layouts = layouts_of(model)
    counts = {
        v.path: (layouts[id(v)].units.count, layouts[id(v)].inputs.count)
        for v in layer.trainable_weights
        if v.name == "kernel"
    }
    assert list(counts.values()) == [(6, 4), (6, 4), (6, 4), (4, 6)]


class Own(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(
            shape=(shape[-1], 2),
            name="table",
            regularizer=kreg.GroupLasso(0.1, "units"),
        )

    def call(self, x):
        return x @ self.table


def test_layer_of_an_unknown_kind_is_refused_by_name():
    model = keras.Sequential([keras.Input((3,)), Own()])
    with pytest.raises(ValueError, match=r"table`.*not defined.*Own layer"):
        kreg.bind(model)


def test_groups_along_an_axis_that_is_not_there_are_refused():
    layer = layers.Dense(2, kernel_regularizer=kreg.GroupLasso(0.1, (2,)))
    with pytest.raises(ValueError, match=r"kernel`: `groups` must name"):
        kreg.bind(keras.Sequential([keras.Input((3,)), layer]))


def test_factors_of_another_shape_are_refused():
    penalty = kreg.L1(0.1, factors=np.ones((2, 3)))
    layer = layers.Dense(2, kernel_regularizer=penalty)
    with pytest.raises(ValueError, match=r"kernel`: `factors` must have"):
        kreg.bind(keras.Sequential([keras.Input((3,)), layer]))


def test_groups_by_name_on_a_bare_array_are_refused():
    with pytest.raises(ValueError, match=r"call `kreg\.bind\(model\)`"):
        kreg.GroupLasso(0.1)(np.ones((3, 2)))


def test_groups_by_name_unbound_raise_before_a_weight_changes():
    layer = layers.Dense(2, kernel_regularizer=kreg.GroupLasso(0.1))
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match=r"call `kreg\.bind\(model\)`"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    if keras.backend.backend() != "jax":  # where Keras loses the weights
        np.testing.assert_array_equal(model.get_weights()[0], before)
