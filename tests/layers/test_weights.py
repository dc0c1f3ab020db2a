"""Units and inputs of each layer.

The oracle is the layer itself: an output channel depends on exactly the weights
of its unit, an input channel acts through exactly the weights of its group.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops
from layers.instances import LAYERS

from kreg._keras_private import own_trainable_variables
from kreg.layers.weights import layout_of, layouts_of

RNG = np.random.default_rng(0)

KERNELS = {
    name: instance for name, instance in LAYERS.items() if instance.kernel
}


def built(name):
    instance = KERNELS[name]
    layer = instance.make()
    layer.build((None, *instance.shape))
    owner = layer.cell if hasattr(layer, "cell") else layer
    (variable,) = [
        v for v in own_trainable_variables(owner) if v.name == instance.kernel
    ]
    return layer, owner, variable, instance.shape


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
        if KERNELS[name].feeds_itself:
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
    if name == "two groups":  # in the order of the view, here of three by two
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
