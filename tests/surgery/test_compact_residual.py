"""The width of a residual stream: channels that nothing writes go."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.handmade import (
    PRECISIONS,
    compacted,
    filled,
    in_precision,
    zero,
)
from thorough import few_of

WIDTH, LENGTH, WORDS = 8, 6, 11
DEAD = [0, 3, 5]
EPSILON = 1e-2


def serializable(cls):
    return keras.saving.register_keras_serializable("residual")(cls)


class Own(layers.Layer):
    """A layer of one's own, of a width that is an argument."""

    def __init__(self, dim, **options):
        super().__init__(**options)
        self.dim = dim

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}


@serializable
class Tokens(Own):
    """Embeddings of tokens and of positions."""

    def __init__(self, dim, **options):
        super().__init__(dim, **options)
        self.token = layers.Embedding(WORDS, dim)

    def build(self, shape):
        self.token.build()
        self.position = self.add_weight(
            shape=(LENGTH, self.dim), name="position"
        )
        self.built = True

    def call(self, x):
        return self.token(x) + self.position


@serializable
class Positions(layers.Layer):
    """Embeddings of positions, as wide as what they are added to."""

    def build(self, shape):
        self.position = self.add_weight(
            shape=(LENGTH, shape[-1]), name="position"
        )

    def call(self, x):
        return x + self.position


@serializable
class OwnNorm(layers.Layer):
    """Root mean square normalization in code of one's own."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], name="scale")

    def call(self, x):
        square = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return x * ops.rsqrt(square + EPSILON) * self.scale


@serializable
class Tied(Own):
    """A table of embeddings by which the outputs are multiplied, too."""

    def build(self, shape):
        self.table = self.add_weight(shape=(WORDS, self.dim), name="table")
        self.built = True

    def call(self, x, reverse=False):
        if reverse:
            return ops.matmul(x, ops.transpose(self.table))
        return ops.take(self.table, x, axis=0)


@serializable
class Block(Own):
    """A block of a transformer with root mean square normalization."""

    def __init__(self, dim, norm_epsilon=EPSILON, **options):
        super().__init__(dim, **options)
        self.norm_epsilon = norm_epsilon
        self.norms = [
            layers.RMSNormalization(epsilon=norm_epsilon, name=name)
            for name in ("before_attention", "before_feed")
        ]
        self.attention = layers.MultiHeadAttention(2, 4, name="attention")
        self.up = layers.Dense(12, "gelu", name="up")
        self.down = layers.Dense(dim, name="down")

    def build(self, shape):
        for norm in self.norms:
            norm.build(shape)
        self.attention.build(shape, shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 12))
        self.built = True

    def call(self, x):
        y = self.norms[0](x)
        x = x + self.attention(y, y)
        return x + self.down(self.up(self.norms[1](x)))

    def get_config(self):
        return {**super().get_config(), "norm_epsilon": self.norm_epsilon}


@serializable
class FixedEpsilon(Block):
    """A block whose config does not tell the epsilon of its norms."""

    def get_config(self):
        return Own.get_config(self)


@serializable
class Transformer(keras.Model):
    """A subclassed model of such blocks."""

    block = Block

    def __init__(self, dim, norm_epsilon=EPSILON, **options):
        super().__init__(**options)
        self.dim, self.norm_epsilon = dim, norm_epsilon
        self.tokens = Tokens(dim)
        self.blocks = [self.block(dim, norm_epsilon) for _ in range(2)]
        self.norm = layers.RMSNormalization(epsilon=norm_epsilon)
        self.logits = layers.Dense(3, name="logits")

    def call(self, x):
        x = self.tokens(x)
        for block in self.blocks:
            x = block(x)
        return self.logits(self.norm(x))

    def get_config(self):
        return {"dim": self.dim, "norm_epsilon": self.norm_epsilon}


@serializable
class FixedTransformer(Transformer):
    """A model whose config does not tell the epsilon of its norms."""

    block = FixedEpsilon

    def get_config(self):
        return {"dim": self.dim}


def multi_head():
    return layers.MultiHeadAttention(2, 4)


def grouped_query():
    return layers.GroupQueryAttention(4, 4, 2)


def stock(x, attention=multi_head):
    """A block of Keras's layers."""
    y = layers.RMSNormalization(epsilon=EPSILON)(x)
    x = layers.Add()([x, attention()(y, y)])
    y = layers.RMSNormalization(epsilon=EPSILON)(x)
    y = layers.Dense(12, "gelu")(y)
    return layers.Add()([x, layers.Dense(WIDTH)(y)])


def model_of(embedding, block=stock, head=None):
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = block(block(embedding(inputs)))
    x = layers.RMSNormalization(epsilon=EPSILON)(x)
    head = layers.Dense(3, name="logits") if head is None else head
    return keras.Model(inputs, head(x))


def words():
    return layers.Embedding(WORDS, WIDTH)


def tied(table):
    return model_of(table, head=lambda x: table(x, reverse=True))


def reversible(**options):
    return tied(layers.ReversibleEmbedding(WORDS, WIDTH, **options))


def with_positions():
    inputs = [keras.Input((LENGTH,), dtype="int32") for _ in range(2)]
    x = words()(inputs[0]) + layers.Embedding(LENGTH, WIDTH)(inputs[1])
    x = layers.RMSNormalization(epsilon=EPSILON)(stock(x))
    return keras.Model(inputs, layers.Dense(3)(x))


def nested():
    inputs = keras.Input((LENGTH, WIDTH))
    body = keras.Model(inputs, stock(inputs))
    other = keras.Model(inputs, stock(inputs))
    return model_of(words(), block=lambda x: other(body(x)))


def subclassed(cls):
    model = cls(WIDTH)
    model(np.zeros((1, LENGTH), "int32"))
    return model


MODELS = {
    "functional": lambda: model_of(words()),
    "grouped_query": lambda: model_of(
        words(), lambda x: stock(x, grouped_query)
    ),
    "positions": with_positions,
    "wide_as_input": lambda: model_of(lambda x: Positions()(words()(x))),
    "own_embedding": lambda: model_of(Tokens(WIDTH)),
    "own_blocks": lambda: model_of(Tokens(WIDTH), lambda x: Block(WIDTH)(x)),
    "fixed_epsilon": lambda: model_of(
        Tokens(WIDTH), lambda x: FixedEpsilon(WIDTH)(x)
    ),
    "nested": nested,
    "own_tied": lambda: tied(Tied(WIDTH)),
    "subclassed": lambda: subclassed(Transformer),
}
if hasattr(layers, "ReversibleEmbedding"):
    MODELS |= {
        "reversible": reversible,
        "untied": lambda: reversible(tie_weights=False),
        "soft_cap": lambda: reversible(logit_soft_cap=5.0),
    }


def without_writers(model):
    """Zeroes what every layer writes to some channels of the stream."""
    filled(model)
    for weight in model.weights:
        norms = weight.path.endswith(("scale", "gamma", "beta"))
        if weight.shape[-1] == WIDTH and not norms:
            zero(weight, ..., DEAD)
    return model


def sample(model):
    rng = np.random.default_rng(1)
    words = rng.integers(0, WORDS, (4, LENGTH))
    if len(getattr(model, "inputs", [words])) == 1:
        return words
    return [words, rng.integers(0, LENGTH, (4, LENGTH))]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", few_of(MODELS, "wide_as_input", "own_tied"))
def test_channels_that_nothing_writes_go(name, precision, tmp_path):
    in_precision(precision[0])
    model = without_writers(MODELS[name]())
    x = sample(model)
    small, _ = compacted(model, x, precision[1], tmp_path, sample=x)
    left = WIDTH - len(DEAD)
    # No weight is left of the width of the stream.
    assert all(WIDTH not in weight.shape for weight in small.weights)
    assert any(left in weight.shape for weight in small.weights)


def test_what_keeps_channels_of_own_weights_is_named(tmp_path):
    # Own code takes the mean over the number of channels that there are.
    model = without_writers(
        model_of(Tokens(WIDTH, name="tokens"), lambda x: x + OwnNorm()(x))
    )
    x = sample(model)
    _, record = compacted(model, x, 1e-5, tmp_path, sample=x)
    row = next(r for r in record.layers if r.path == "tokens")
    ((reason, count),) = row.kept.items()
    assert count == len(DEAD)
    assert "mean" in reason
    assert "RMSNormalization" in reason


@pytest.mark.thorough
def test_a_subclassed_model_stays_one(tmp_path):
    model = without_writers(subclassed(Transformer))
    x = sample(model)
    small, _ = compacted(model, x, 1e-5, tmp_path, sample=x)
    assert type(small) is Transformer
    assert small.norm_epsilon == pytest.approx(EPSILON * 8 / 5)


@pytest.mark.thorough
def test_a_class_stays_whole_whose_config_tells_no_epsilon(tmp_path):
    model = without_writers(subclassed(FixedTransformer))
    x = sample(model)
    small, record = compacted(
        model, x, 1e-5, tmp_path, sample=x, keep_class=True
    )
    assert small.count_params() == model.count_params()
    assert all("epsilon" in row.stays for row in record.layers)
