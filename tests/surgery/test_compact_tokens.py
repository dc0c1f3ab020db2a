"""Rows of embeddings that go on request, and the map of ids."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import filled, zero
from surgery.random_weights import largest_difference, outputs
from thorough import few_of

import kreg

WORDS, LENGTH, WIDTH = 11, 6, 4
GONE = [2, 3, 7, 10]


def serializable(cls):
    return keras.saving.register_keras_serializable("tokens")(cls)


@serializable
class Table(layers.Layer):
    """A table that a layer of one's own looks up itself."""

    def __init__(self, words, **options):
        super().__init__(**options)
        self.words = words

    def build(self, shape):
        self.table = self.add_weight(shape=(self.words, WIDTH), name="table")
        self.position = self.add_weight(shape=(LENGTH, WIDTH), name="position")
        self.built = True

    def call(self, x, reverse=False):
        if reverse:
            return ops.matmul(x, ops.transpose(self.table))
        return ops.take(self.table, x, axis=0) + self.position

    def get_config(self):
        return {**super().get_config(), "words": self.words}


@serializable
class Inside(layers.Layer):
    """Keras's embedding inside of a layer of one's own."""

    def __init__(self, words, **options):
        super().__init__(**options)
        self.words = words
        self.embedding = layers.Embedding(words, WIDTH, mask_zero=True)

    def build(self, shape):
        self.embedding.build()
        self.built = True

    def call(self, x):
        return self.embedding(x)

    def compute_mask(self, x, mask=None):
        return ops.not_equal(x, 0)

    def get_config(self):
        return {**super().get_config(), "words": self.words}


def model_of(embed, dtype="int32", body=None):
    x = keras.Input((LENGTH,), dtype=dtype, name="ids")
    y = layers.Dense(5, "relu")(embed(x))
    y = layers.Flatten()(y) if body is None else body(y)
    return filled(keras.Model(x, layers.Dense(3)(y)))


def words(**options):
    return layers.Embedding(WORDS, WIDTH, **options)


def two_tables():
    one, other = words(), layers.Embedding(WORDS + 2, WIDTH)
    return model_of(lambda x: ops.concatenate([one(x), other(x)], -1))


def masked():
    attention = layers.MultiHeadAttention(2, 3)
    return model_of(
        words(mask_zero=True),
        body=lambda y: ops.mean(attention(y, y), axis=1),
    )


def masked_inside():
    attention = layers.MultiHeadAttention(2, 3)
    return model_of(
        Inside(WORDS), body=lambda y: ops.mean(attention(y, y), axis=1)
    )


def shifted(x):
    """The ids before, as a decoder reads them."""
    return words()(ops.pad(x, [[0, 0], [1, 0]])[:, :-1])


def columns(x):
    table = words()
    first, second, rest = ops.split(x, [1, 2], axis=1)
    first = ops.repeat(ops.squeeze(first, 1)[:, None], LENGTH, axis=1)
    second = ops.transpose(ops.concatenate([second, rest, second], axis=1))
    return table(first) + table(ops.flip(ops.transpose(second)))[:, :LENGTH]


def through_layers(x):
    x = layers.Reshape((2, -1))(layers.Flatten()(x))
    return words()(layers.Reshape((LENGTH,))(layers.Permute((2, 1))(x)))


MODELS = {
    "shifted": lambda: model_of(shifted),
    "columns": lambda: model_of(columns),
    "through_layers": lambda: model_of(through_layers),
    "embedding": lambda: model_of(words()),
    "floats": lambda: model_of(words(), "float32"),
    "masked": masked,
    "lstm": lambda: model_of(words(mask_zero=True), body=layers.LSTM(3)),
    "own_table": lambda: model_of(Table(WORDS)),
    "inside": masked_inside,
    "two_tables": two_tables,
    "cast": lambda: model_of(lambda x: words()(ops.cast(x, "int32")), "int64"),
    "sequential": lambda: filled(
        keras.Sequential(
            [
                keras.Input((LENGTH,), name="ids"),
                words(),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )
    ),
}
if hasattr(layers, "ReversibleEmbedding"):
    MODELS["reversible"] = lambda: model_of(
        layers.ReversibleEmbedding(WORDS, WIDTH)
    )


def compacted(model, folder, drop_tokens):
    small, record = kreg.compact(
        model, drop_tokens=drop_tokens, return_compaction=True
    )
    new_ids = record.new_ids["ids"]
    x = np.random.default_rng(0).choice(np.flatnonzero(new_ids >= 0), (9, 6))
    small.save(folder / "small.keras")
    for made in (small, keras.models.load_model(folder / "small.keras")):
        difference = largest_difference(
            outputs(made, new_ids[x]), outputs(model, x)
        )
        assert difference < 1e-5
    assert small.count_params() == record.parameters_after
    return small, new_ids


@pytest.mark.parametrize("name", few_of(MODELS, "columns", "own_table"))
def test_ids_that_never_occur_go(name, tmp_path):
    model = MODELS[name]()
    small, new_ids = compacted(model, tmp_path, GONE)
    kept = np.setdiff1d(np.arange(WORDS), GONE)
    np.testing.assert_array_equal(np.flatnonzero(new_ids >= 0), kept)
    np.testing.assert_array_equal(new_ids[kept], np.arange(len(kept)))
    gone = model.count_params() - small.count_params()
    assert gone == len(GONE) * WIDTH * (2 if name == "two_tables" else 1)


@pytest.mark.parametrize("name", few_of(["embedding", "masked"], "masked"))
def test_ids_of_zeros_share_a_row(name, tmp_path):
    model = MODELS[name]()
    (layer,) = [x for x in model.layers if isinstance(x, layers.Embedding)]
    zero(layer.embeddings, [0, *GONE])
    small, new_ids = compacted(model, tmp_path, "zeros")
    np.testing.assert_array_equal(new_ids, [0, 1, 2, 2, 3, 4, 5, 2, 6, 7, 2])
    assert np.array_equal(np.unique(new_ids), np.arange(8))
    (layer,) = [x for x in small.layers if isinstance(x, layers.Embedding)]
    assert layer.input_dim == 8


def test_rows_and_columns_go_together(tmp_path):
    model = MODELS["embedding"]()
    zero(model.layers[1].embeddings, ..., 1)
    small, _ = compacted(model, tmp_path, GONE)
    assert small.layers[1].embeddings.shape == (WORDS - 4, WIDTH - 1)


def test_the_first_id_stays(tmp_path):
    _, new_ids = compacted(MODELS["embedding"](), tmp_path, [0, 1])
    np.testing.assert_array_equal(new_ids, [0, -1, *range(1, 10)])


def two_inputs(shared):
    inputs = [keras.Input((LENGTH,), dtype="int32", name=n) for n in "ab"]
    one = words(name="one")
    other = one if shared else words(name="other")
    y = ops.concatenate([one(inputs[0]), other(inputs[1])], -1)
    return filled(keras.Model(inputs, layers.Dense(3)(y)))


@pytest.mark.parametrize("shared", [True, False])
def test_several_inputs_are_named(shared):
    model = two_inputs(shared)
    small, record = kreg.compact(
        model, drop_tokens={"a": GONE, "b": GONE}, return_compaction=True
    )
    rng = np.random.default_rng(0)
    kept = np.setdiff1d(np.arange(WORDS), GONE)
    x = [rng.choice(kept, (5, LENGTH)) for _ in range(2)]
    new = [record.new_ids[n][y] for n, y in zip("ab", x, strict=True)]
    assert largest_difference(outputs(small, new), outputs(model, x)) < 1e-5
    again = kreg.surgery.Compaction.from_dict(record.to_dict())
    assert again == record


@serializable
class Counted(layers.Layer):
    """What is looked up, and the ids themselves."""

    def __init__(self, **options):
        super().__init__(**options)
        self.embedding = words()

    def build(self, shape):
        self.embedding.build()
        self.built = True

    def call(self, x):
        return self.embedding(x) + ops.cast(x, "float32")[..., None]


def tied():
    x = keras.Input((LENGTH,), dtype="int32", name="ids")
    table = Table(WORDS)
    return filled(keras.Model(x, table(table(x), reverse=True)))


def started(x):
    """The ids after one that is not of the input."""
    start = ops.ones_like(x[:, :1])
    return words()(ops.concatenate([start, x[:, 1:]], axis=1))


def padded_with_one(x):
    return words()(ops.pad(x[:, 1:], [[0, 0], [1, 0]], constant_values=1))


def narrowed(x):
    """Ids above 255 wrap, as in a larger vocabulary."""
    return words()(ops.cast(x, "uint8"))


def with_constant(x):
    start = np.full((1, LENGTH), 5)
    return words()(ops.concatenate([start, x], axis=0))


def adapted():
    embedding = words()
    model = model_of(embedding)
    embedding.enable_lora(2)
    return model


def hashed():
    return model_of(lambda x: words()(ops.mod(x, 7)))


REFUSED = {
    "started": (lambda: model_of(started), GONE, "reads the ids, too"),
    "padded": (lambda: model_of(padded_with_one), GONE, "reads the ids, too"),
    "narrowed": (lambda: model_of(narrowed), GONE, "reads the ids, too"),
    "constant": (lambda: model_of(with_constant), GONE, "reads the ids, too"),
    "lora": (adapted, GONE, "is quantized or has LoRA"),
    "hashed": (hashed, GONE, "`mod.*` reads the ids, too"),
    "other_uses": (lambda: model_of(Counted()), GONE, "reads the ids, too"),
    "tied": (tied, GONE, "uses the rows, too"),
    "several": (lambda: two_inputs(False), GONE, "dict by the names"),
    "unlike": (lambda: two_inputs(True), {"a": GONE}, "the same ids"),
    "name": (MODELS["embedding"], {"b": GONE}, "name inputs of the model"),
    "large": (MODELS["embedding"], [WORDS], "ids from 0 to 10"),
    "kind": (MODELS["embedding"], "all", "ids from 0 to 10"),
    "no_ids": (
        lambda: filled(keras.Sequential([keras.Input((3,)), layers.Dense(2)])),
        [1],
        "no ids are looked up in an Embedding",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_is_refused(name):
    make, drop_tokens, reason = REFUSED[name]
    with pytest.raises(ValueError, match=f"`drop_tokens` must.*{reason}"):
        kreg.compact(make(), drop_tokens=drop_tokens)


def test_a_preprocessor_makes_the_ids():
    model = MODELS["embedding"]()
    model.preprocessor = str
    with pytest.raises(ValueError, match="preprocessor"):
        kreg.compact(model, drop_tokens=GONE)


def test_a_sample_without_such_ids():
    x = np.full((2, LENGTH), GONE[0])
    with pytest.raises(ValueError, match="occur in `sample`"):
        kreg.compact(MODELS["embedding"](), drop_tokens=GONE, sample=x)


@serializable
class Language(keras.Model):
    """Its config has one number for the ids that it reads and predicts."""

    def __init__(self, words, **options):
        super().__init__(**options)
        self.words = words
        self.embedding = layers.Embedding(words, WIDTH)
        self.head = layers.Dense(words)

    def call(self, x):
        return self.head(self.embedding(x))

    def get_config(self):
        return {"words": self.words}


def test_that_no_ids_go_is_said():
    model, sample = Language(WORDS), np.zeros((2, LENGTH), "int32")
    model(sample)
    _, record = kreg.compact(
        model,
        sample=sample,
        drop_tokens=GONE,
        keep_class=True,
        return_compaction=True,
    )
    assert not record.new_ids
    assert any("No ids of `drop_tokens` go" in note for note in record.notes)


def test_rows_stay_unless_asked():
    model = MODELS["embedding"]()
    zero(model.layers[1].embeddings, GONE)
    small, record = kreg.compact(model, return_compaction=True)
    assert small.count_params() == model.count_params()
    assert not record.new_ids
