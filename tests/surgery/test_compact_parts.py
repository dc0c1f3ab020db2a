"""Models of one's own whose config holds the models inside them."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, kill, same, x_of
from thorough import few_of

import kreg


def serializable(cls):
    return keras.saving.register_keras_serializable("parts")(cls)


def serialized(*parts):
    return list(map(keras.saving.serialize_keras_object, parts))


def restored(parts):
    return list(map(keras.saving.deserialize_keras_object, parts))


@serializable
class Sampling(layers.Layer):
    """Draws random numbers, and does not use them."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed = keras.random.SeedGenerator(3)

    def call(self, inputs):
        mean, spread = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed)
        return mean + 0.0 * spread * noise


@serializable
class Pair(keras.Model):
    """An encoder and a decoder, with a step of its own."""

    def __init__(self, encoder, decoder, **options):
        super().__init__(**options)
        self.encoder, self.decoder = encoder, decoder

    def call(self, x):
        return self.decoder(self.encoder(x))

    def train_step(self, *arguments):
        return super().train_step(*arguments)

    def get_config(self):
        encoder, decoder = serialized(self.encoder, self.decoder)
        return {"encoder": encoder, "decoder": decoder, "name": self.name}

    @classmethod
    def from_config(cls, config):
        parts = restored([config.pop("encoder"), config.pop("decoder")])
        return cls(*parts, **config)


@serializable
class InList(Pair):
    """The same, with a list in its config."""

    def get_config(self):
        return {"parts": serialized(self.encoder, self.decoder)}

    @classmethod
    def from_config(cls, config):
        return cls(*restored(config["parts"]))


@serializable
class Forgets(Pair):
    """Its config forgets a factor."""

    def __init__(self, *parts, factor=1.0, **options):
        super().__init__(*parts, **options)
        self.factor = factor

    def call(self, x):
        return self.factor * super().call(x)


def row(name, *hidden, inputs=6):
    return keras.Sequential([keras.Input((inputs,)), *hidden], name=name)


def encoder():
    return row(
        "encoder",
        layers.Dense(8, "relu", name="first"),
        layers.BatchNormalization(),
        layers.Dense(3),
    )


def random_encoder():
    x = keras.Input((6,))
    y = layers.Dense(8, "relu", name="first")(x)
    y = Sampling()([layers.Dense(3)(y), layers.Dense(3)(y)])
    return keras.Model(x, y, name="encoder")


def decoder():
    second = layers.Dense(7, "tanh", name="second")
    return row("decoder", second, layers.Dense(4), inputs=3)


def made(cls, encoder, **options):
    model = cls(encoder, decoder(), **options)
    model(x_of(2, 6))
    filled(model)
    for layer in model._flatten_layers():
        if layer.name in ("first", "second"):
            kill(layer, 0, 2, 3, bias=0.0)
    return model


MODELS = {
    "pair": lambda: made(Pair, encoder()),
    "random": lambda: made(Pair, random_encoder()),
    "in_list": lambda: made(InList, encoder()),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", few_of(MODELS, "random", "in_list"))
def test_the_class_stays_with_smaller_parts(name, tmp_path):
    model, x = MODELS[name](), x_of(5, 6)
    small, record = kreg.compact(model, sample=x, return_compaction=True)
    assert type(small) is type(model)
    kernels = [w for w in small.weights if w.path.endswith("first/kernel")]
    assert [tuple(w.shape) for w in kernels] == [(6, 5)]
    assert record.parameters_after == small.count_params()
    plain = kreg.compact(model, sample=x, keep_class=False)
    assert small.count_params() == plain.count_params()
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    assert same(small, model, x)
    assert same(loaded, model, x)


@pytest.mark.thorough
def test_the_smaller_model_has_its_step():
    model = MODELS["random"]()
    small = kreg.compact(model, sample=x_of(5, 6))
    small.compile("sgd", "mse")
    losses = small.fit(x_of(8, 6), np.zeros((8, 4)), verbose=0).history["loss"]
    assert np.isfinite(losses).all()


@pytest.mark.thorough
def test_a_config_that_forgets_is_not_used():
    model, x = made(Forgets, encoder(), factor=3.0), x_of(5, 6)
    small = kreg.compact(model, sample=x)
    assert type(small) is not Forgets
    assert small.count_params() < model.count_params()
    assert same(small, model, x)
