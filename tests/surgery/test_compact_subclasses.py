"""Subclasses whose config has no sizes: the calls in their code go on."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, ignore, kill, same
from thorough import few_of

import kreg

WIDTH, WORDS = 6, 11


def serializable(cls):
    return keras.saving.register_keras_serializable("subclasses")(cls)


class Own(keras.Model):
    """A subclass, whose constructor takes no sizes."""

    def __init__(self, **options):
        super().__init__(**options)
        self.hidden = layers.Dense(8, "gelu", name="hidden")
        self.last = layers.Dense(3, name="last")


@serializable
class InARow(Own):
    def call(self, x):
        return self.last(self.hidden(x))


@serializable
class InLists(Own):
    """Layers in lists of lists, and weights that no method calls."""

    def __init__(self, **options):
        super().__init__(**options)
        self.blocks = [
            [layers.RMSNormalization(), layers.Dense(WIDTH)] for _ in range(2)
        ]

    def call(self, x):
        for norm, layer in self.blocks:
            x = x + layer(norm(x))
        return self.last(self.hidden(x))


@serializable
class OfNames(Own):
    """A dict goes in, and one comes out."""

    def __init__(self, **options):
        super().__init__(**options)
        self.other = layers.Dense(3, name="other")

    def build(self, shapes):
        self.hidden.build(shapes["a"])
        self.last.build((None, None, 8))
        self.other.build((None, None, 8))

    def call(self, x):
        a, b = self.hidden(x["a"]), self.hidden(x["b"])
        return {"sum": self.last(a + b), "product": self.other(a * b)}


@serializable
class OfTwo(Own):
    def call(self, pair):
        first, second = pair
        return self.last(self.hidden(first)), self.last(self.hidden(second))


@serializable
class WithinAnother(Own):
    def __init__(self, **options):
        super().__init__(**options)
        self.inner = InARow(name="inner")

    def call(self, x):
        return self.last(self.hidden(self.inner(x)))


@serializable
class WithAside(Own):
    """What it computes aside reads units that nothing else reads."""

    def __init__(self, **options):
        super().__init__(**options)
        self.aside = layers.Dense(4, name="aside")

    def call(self, x, training=None):
        hidden = self.hidden(x)
        spread = self.aside(hidden)
        mean = self.last(hidden)
        return mean + ops.sum(spread) if training else mean


@serializable
class HoldsAPart(Own):
    """A layer inside another one is an attribute of the model, too."""

    def __init__(self, **options):
        super().__init__(**options)
        inside = keras.Sequential([layers.Dense(WIDTH, name="part")])
        self.front = layers.TimeDistributed(inside, name="front")
        self.part = inside.layers[0]

    def call(self, x):
        return self.last(self.hidden(self.front(x)))


@serializable
class OwnWeight(Own):
    def build(self, shape):
        self.shift = self.add_weight(shape=(8,), name="shift")

    def call(self, x):
        return self.last(self.hidden(x) * self.shift)


class Language(Own):
    """Tokens and positions; the embedding of tokens makes the outputs."""

    def __init__(self, **options):
        super().__init__(**options)
        self.token = layers.Embedding(WORDS, WIDTH)
        self.position = layers.Embedding(32, WIDTH)
        self.back = layers.Dense(WIDTH, name="back")

    def build(self, shape):
        self.token.build()
        self.position.build()
        self.hidden.build((*shape, WIDTH))
        self.back.build((*shape, 8))

    def call(self, ids):
        x = self.token(ids) + self.position(ops.arange(ops.shape(ids)[1]))
        return self.read_out(x + self.back(self.hidden(x)))


@serializable
class Transposed(Language):
    def read_out(self, x):
        return ops.matmul(x, ops.transpose(self.token.embeddings))


@serializable
class ByOperator(Language):
    def read_out(self, x):
        return x @ ops.swapaxes(self.token.embeddings * 0.5, 0, 1)


@serializable
class BySum(Language):
    def read_out(self, x):
        return ops.einsum("bnd,vd->bnv", x, self.token.embeddings)


@serializable
class Scaled(Language):
    def build(self, shape):
        super().build(shape)
        self.last.build((*shape, WIDTH))

    def read_out(self, x):
        return self.last(x) * ops.sum(self.token.embeddings)


@serializable
class IntoNothing(Own):
    """The last sum of a residual stream is read by nothing."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first = layers.Dense(5, name="first")
        self.back = layers.Dense(5, name="back")

    def call(self, x):
        x = self.first(x)
        hidden = self.hidden(x)
        outputs = self.last(hidden)
        x = x + self.back(hidden)
        return outputs


def floats(rng, batch, length):
    return rng.normal(size=(batch, length, WIDTH)).astype("float32")


def names(rng, batch, length):
    return {name: floats(rng, batch, length) for name in "ab"}


def pairs(rng, batch, length):
    return [floats(rng, batch, length), floats(rng, batch, length + 1)]


def ids(rng, batch, length):
    return rng.integers(0, WORDS, (batch, length)).astype("int32")


# Each with its inputs, and how many weights go with two of eight hidden units.
ONE_UNIT = WIDTH + 1
TO_LAST = 3
MODELS = {
    InARow: (floats, 2 * (ONE_UNIT + TO_LAST)),
    InLists: (floats, 2 * (ONE_UNIT + TO_LAST)),
    OfNames: (names, 2 * (ONE_UNIT + TO_LAST + TO_LAST)),
    OfTwo: (pairs, 2 * (ONE_UNIT + TO_LAST)),
    WithinAnother: (floats, 2 * (3 + 1 + TO_LAST)),
    OwnWeight: (floats, 2 * (ONE_UNIT + TO_LAST + 1)),
    Transposed: (ids, 2 * (ONE_UNIT + WIDTH)),
    ByOperator: (ids, 2 * (ONE_UNIT + WIDTH)),
    BySum: (ids, 2 * (ONE_UNIT + WIDTH)),
    Scaled: (ids, 2 * (ONE_UNIT + WIDTH)),
}


def built(cls, inputs):
    model = cls(name="own")
    model(inputs(np.random.default_rng(0), 2, 5))
    return filled(model)


@pytest.mark.parametrize(
    "cls", few_of(MODELS, InLists, OfNames, OwnWeight, Transposed)
)
def test_hidden_units_of_a_subclass_go(cls, tmp_path):
    inputs, gone = MODELS[cls]
    model = built(cls, inputs)
    kill(model.hidden, 2, 5)
    reader = model.back if hasattr(model, "back") else model.last
    before = model.count_params()
    small = kreg.compact(model, sample=inputs(np.random.default_rng(1), 2, 5))
    # The units are constants that their reader adds to its bias.
    assert reader.use_bias
    assert small.count_params() == before - gone
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    for length in (5, 1, 9):  # as many as the model takes
        x = inputs(np.random.default_rng(length), 3, length)
        for made in (small, loaded):
            assert same(made, model, x)


def test_layers_keep_their_names_and_rows_add_up():
    model = built(InLists, floats)
    kill(model.hidden, 2, 5)
    _, record = kreg.compact(
        model,
        sample=floats(np.random.default_rng(1), 2, 5),
        return_compaction=True,
    )
    small = kreg.compact(model, sample=floats(np.random.default_rng(1), 2, 5))
    assert small.get_layer("hidden").units == 6
    assert small.get_layer("last").units == 3
    assert record.parameters_after == sum(
        layer.parameters_after for layer in record.layers
    )


def test_what_is_computed_aside_is_left_out_and_said():
    model = built(WithAside, floats)
    ignore(model.last, 2, 5)  # only `aside` reads these units now
    x = floats(np.random.default_rng(1), 2, 5)
    kill(model.hidden, 3)
    small, record = kreg.compact(model, sample=x, return_compaction=True)
    assert same(small, model, x)
    (aside,) = [row for row in record.layers if row.path == "aside"]
    assert aside.way == "left out, as the outputs do not depend on it"
    assert aside.parameters_after == 0
    assert record.parameters_after == small.count_params()
    assert record.parameters_after == sum(
        layer.parameters_after for layer in record.layers
    )
    assert any("in training alone" in note for note in record.notes)


def test_a_part_of_a_layer_is_not_left_out_where_the_model_holds_it_too():
    model = built(HoldsAPart, floats)
    x = floats(np.random.default_rng(1), 2, 5)
    kill(model.hidden, 3)
    small, record = kreg.compact(model, sample=x, return_compaction=True)
    assert same(small, model, x)
    assert not any("left out" in row.way for row in record.layers)
    assert record.parameters_after == small.count_params()
    assert record.parameters_after == sum(
        row.parameters_after for row in record.layers
    )


def test_a_sum_that_nothing_reads_does_not_keep_the_rest():
    model = built(IntoNothing, floats)
    x = floats(np.random.default_rng(1), 2, 5)
    kill(model.first, 1, 3, bias=0.0)  # `back` still writes to these channels
    small = kreg.compact(model, sample=x)
    # `back` is left out, and with two channels goes what reads them.
    gone = 5 * (8 + 1) + 2 * (WIDTH + 1 + 8)
    assert small.count_params() == model.count_params() - gone
    assert same(small, model, x)


@pytest.mark.parametrize("unused", ["second", "first"])
def test_an_unused_output_of_a_nested_model_does_not_keep_the_rest(unused):
    x = keras.Input((WIDTH,))
    shared = layers.Dense(8, "gelu", name="shared")
    hidden = shared(x)
    pair = [
        layers.Dense(4, name="used")(hidden),
        layers.Dense(5, name="unused")(hidden),
    ]
    if unused == "first":
        pair.reverse()
    encoder = keras.Model(x, pair, name="encoder")
    y = keras.Input((WIDTH,))
    used = encoder(y)[0 if unused == "second" else 1]
    model = filled(keras.Model(y, layers.Dense(2, name="logits")(used)))
    kill(shared, 1, 2, 6)
    kill(encoder.get_layer("used"), 3)
    small = kreg.compact(model)
    # Three hidden units, with what reads them; one unit more.
    gone = 3 * (ONE_UNIT + 4 + 5) + (8 - 3 + 1) + 2
    assert small.count_params() == model.count_params() - gone
    x = np.random.default_rng(0).normal(size=(4, WIDTH))
    assert same(small, model, x)
    # The units that only the unused output reads are still read by it.
    ignore(encoder.get_layer("used"), 0)
    small = kreg.compact(model)
    assert small.count_params() == model.count_params() - gone


@serializable
class OfAnother(keras.Model):
    """Its `from_config` puts the model that it makes into the config."""

    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = inner

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {"name": self.name, "inner": inner}

    @classmethod
    def from_config(cls, config):
        config["inner"] = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**config)


def test_a_config_that_is_changed_by_its_class_is_searched_nevertheless():
    hidden = layers.Dense(8, "gelu", name="hidden")
    inner = keras.Sequential(
        [keras.Input((WIDTH,)), hidden, layers.Dense(3, name="last")]
    )
    model = OfAnother(inner)
    x = np.random.default_rng(0).normal(size=(4, WIDTH)).astype("float32")
    model(x)
    filled(model)
    kill(hidden, 2, 5, bias=0.0)
    small = kreg.compact(model, sample=x)
    assert isinstance(small, OfAnother)
    assert small.inner.get_layer("hidden").units == 6
    assert same(small, model, x)
