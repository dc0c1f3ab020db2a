"""Models whose layers have no room for a regularizer in their configs.

Nothing here imports kreg: a process without it builds and loads them, too.
"""

import keras
import numpy as np
from keras import layers

register = keras.saving.register_keras_serializable(package="without_room")


@register
class Block(layers.Layer):
    """An attention and a feed-forward part, whose names Keras numbers."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.attention = layers.MultiHeadAttention(2, width // 2)
        self.wide = layers.Dense(2 * width, activation="relu")
        self.narrow = layers.Dense(width)
        self.norm = layers.RMSNormalization()

    def build(self, shape):
        self.attention.build(shape, shape)
        self.wide.build(shape)
        self.narrow.build((*shape[:-1], 2 * self.width))
        self.norm.build(shape)

    def call(self, x):
        x = x + self.attention(x, x)
        return self.norm(x + self.narrow(self.wide(x)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@register
class Scale(layers.Layer):
    """Weights of its own: with a name, without one, and regularized."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], name="scale")
        self.first = self.add_weight(shape=shape[-1:])
        self.second = self.add_weight(shape=shape[-1:])
        self.decayed = self.add_weight(
            shape=shape[-1:],
            name="decayed",
            regularizer=keras.regularizers.L2(0.5),
        )

    def call(self, x):
        return self.scale * self.first * x + self.second + self.decayed

    def compute_output_shape(self, shape):
        return shape


@register
class Cell(layers.Layer):
    """A recurrent cell with one weight."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1], self.units), name="kernel"
        )

    def call(self, x, states):
        output = keras.ops.tanh(x @ self.kernel + states[0])
        return output, [output]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class Subclassed(keras.Model):
    """Layers that its constructor makes."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.blocks = [Block(width), Block(width)]
        self.head = layers.Dense(1)

    def build(self, shape):
        for block in self.blocks:
            block.build(shape)
        self.head.build(shape)

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def functional(*parts, shape=(5, 4)):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x, name="net")


def part_of_an_attention():
    inputs = keras.Input((5, 4))
    attention = layers.MultiHeadAttention(2, 2, name="heads")
    return keras.Model(inputs, attention(inputs, inputs), name="net")


def composite():
    return functional(Block(4), Block(4), layers.Dense(1))


def own_weights():
    return functional(Scale(), layers.RMSNormalization(name="norm"))


def subclassed():
    model = Subclassed(name="net")
    model.build((None, 5, 4))
    return model


def nested():
    inner = functional(Block(4))
    middle = keras.Sequential([keras.Input((5, 4)), inner, Block(4)])
    return functional(middle, layers.Dense(4), Subclassed())


def twice():
    block = Block(4)
    return functional(block, layers.Dense(4), block)


def in_wrappers():
    return functional(
        layers.TimeDistributed(Scale()),
        layers.Bidirectional(layers.RNN(Cell(3), return_sequences=True)),
    )


def factors_of_lora():
    return functional(layers.Dense(3, lora_rank=2, name="dense"), Scale())


MODELS = {
    make.__name__: make
    for make in (
        part_of_an_attention,
        composite,
        own_weights,
        subclassed,
        nested,
        twice,
        in_wrappers,
        factors_of_lora,
    )
}


def some_inputs():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 5, 4)).astype("float32")


def outputs(model):
    return keras.ops.convert_to_numpy(model(some_inputs()))


def draw_weights(model):
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if "float" in variable.dtype:
            variable.assign(rng.normal(size=variable.shape))


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.modules["kreg"] = None  # type: ignore[assignment]
    for file in sorted(Path(sys.argv[1]).glob("*.keras")):
        expected = np.load(file.with_suffix(".npy"))
        loaded = keras.models.load_model(file)
        np.testing.assert_array_equal(outputs(loaded), expected)
        print(file.stem)
