"""Layers and models of one's own that add losses in their `call`."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, kill, same, x_of
from thorough import few_of

import kreg


class Block(layers.Layer):
    """Two layers that can lose units, and a loss."""

    def __init__(self, units=8, **options):
        super().__init__(**options)
        self.units = units
        self.first = layers.Dense(units, "relu")
        self.code = layers.Dense(4)
        self.aside = layers.Dense(3)

    def build(self, shape):
        self.first.build(shape)
        self.code.build((None, self.units))
        self.aside.build((None, 4))
        self.built = True

    def call(self, x):
        code = self.code(self.first(x))
        self.add_loss(self.loss_of(code))
        return code

    def loss_of(self, code):
        return ops.mean(ops.square(code))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class OfWeights(Block):
    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), name="scale")
        super().build(shape)

    def loss_of(self, code):
        return ops.sum(ops.square(self.scale) * ops.mean(code, axis=0))


class OfChannels(Block):
    def loss_of(self, code):
        return ops.mean(code, axis=0)


class OfAnotherLayer(Block):
    def loss_of(self, code):
        return [ops.max(self.aside(code)), ops.sum(ops.abs(code))]


class Model(keras.Model):
    """A model around such a layer, with a loss of its own."""

    def __init__(self, units=8, **options):
        super().__init__(**options)
        self.units = units
        self.block = Block(units)
        self.head = layers.Dense(2)

    def call(self, x):
        code = self.block(x)
        self.add_loss(0.1 * ops.sum(code))
        return self.head(code)

    def get_config(self):
        return {"units": self.units}


CLASSES = [Block, OfWeights, OfChannels, OfAnotherLayer, Model]
for made in CLASSES:
    keras.saving.register_keras_serializable("losses")(made)


def model_with(cls):
    if cls is Model:
        model = Model()
        model(x_of(2, 6))
    else:
        x = keras.Input((6,))
        model = keras.Model(x, layers.Dense(2)(cls()(x)))
        model = keras.Model(x, model(x))
    block = next(b for b in model._flatten_layers() if isinstance(b, Block))
    filled(model)
    kill(block.first, 1, 4, 5, bias=0.0)
    kill(block.code, 2, bias=0.0)
    return model


def losses(model, x):
    model(x, training=True)
    return [ops.convert_to_numpy(loss) for loss in model.losses]


@pytest.mark.parametrize("cls", few_of(CLASSES, Block, OfAnotherLayer, Model))
def test_units_go_and_the_losses_stay(cls, tmp_path):
    model, x = model_with(cls), x_of(5, 6)
    small = kreg.compact(model, sample=x)
    assert small.count_params() <= model.count_params() - 3 * (6 + 1 + 4)
    small.save(tmp_path / "small.keras")
    for made in (small, keras.saving.load_model(tmp_path / "small.keras")):
        assert same(made, model, x)
        pairs = zip(losses(made, x), losses(model, x), strict=True)
        for new, old in pairs:
            np.testing.assert_allclose(new, old, rtol=1e-5)
