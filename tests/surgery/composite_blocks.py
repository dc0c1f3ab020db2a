"""Layers of one's own, written with layers, weights and operations.

Each takes and returns tensors of shape (batch, length, 16). `BLOCKS` names
them. Heads are 4 of width 4.
"""

import keras
import numpy as np
from keras import layers, ops

WIDTH, HEADS, SIZE = 16, 4, 4


def sizes(x):
    """Batch and length, one of which a reshape may leave open."""
    length = x.shape[1]
    return (ops.shape(x)[0], -1) if length is None else (-1, length)


class Block(keras.Layer):
    """A layer that builds what it holds for tensors of width 16."""

    def part(self, layer, width=WIDTH):
        layer.build((None, None, width))
        return layer

    def weight(self, *shape, name):
        return self.add_weight(shape=shape, name=name)


class FeedForward(Block):
    """Two layers with an activation of one's own between them."""

    def build(self, shape):
        self.up = self.part(layers.Dense(12))
        self.down = self.part(layers.Dense(WIDTH), 12)

    def call(self, x):
        hidden = self.up(x)
        return x + self.down(hidden * ops.sigmoid(1.7 * hidden))


class NoBias(FeedForward):
    """Two layers without a bias, which their code cannot be given."""

    def build(self, shape):
        self.up = self.part(layers.Dense(12, "relu"))
        self.down = self.part(layers.Dense(WIDTH, use_bias=False), 12)


class Gated(Block):
    """Half of the units are gates of the other half."""

    def build(self, shape):
        self.up = self.part(layers.Dense(24))
        self.down = self.part(layers.Dense(WIDTH), 12)

    def call(self, x):
        gate, value = ops.split(self.up(x), 2, axis=-1)
        return x + self.down(ops.silu(gate) * value)


class OwnWeights(Block):
    """Weights of its own: matrices, a bias, a scale, a table of positions."""

    def build(self, shape):
        self.first = self.weight(WIDTH, 10, name="first")
        self.shift = self.weight(10, name="shift")
        self.scale = self.weight(10, name="scale")
        self.last = self.weight(10, WIDTH, name="last")
        self.places = self.weight(100, WIDTH, name="places")

    def call(self, x):
        x = x + self.places[: x.shape[1]]
        hidden = ops.relu(x @ self.first + self.shift) * self.scale
        return x + ops.einsum("btc,cd->btd", hidden, self.last)


class InAList(Block):
    """Weights in a list, which no attribute of the layer names."""

    def build(self, shape):
        self.kernels = [
            self.weight(WIDTH, 9, name="first"),
            self.weight(9, WIDTH, name="last"),
        ]

    def call(self, x):
        for kernel in self.kernels:
            x = ops.tanh(ops.matmul(x, kernel))
        return x


class Transposed(Block):
    """A kernel that is used in both directions."""

    def build(self, shape):
        self.kernel = self.weight(WIDTH, 10, name="kernel")

    def call(self, x):
        hidden = ops.relu(ops.matmul(x, self.kernel))
        return ops.matmul(hidden, ops.transpose(self.kernel))


class Hidden(Block):
    """A weight that is used without any trace of it."""

    def build(self, shape):
        self.up = self.part(layers.Dense(12, "relu"))
        self.down = self.part(layers.Dense(WIDTH), 12)

    def call(self, x):
        size = ops.sum(ops.convert_to_tensor(self.up.kernel))
        return self.down(self.up(x)) * size


class Attention(Block):
    """Attention whose heads are split by reshape and transpose."""

    def build(self, shape):
        self.query = self.part(layers.Dense(WIDTH))
        self.key = self.part(layers.Dense(WIDTH))
        self.value = self.part(layers.Dense(WIDTH))
        self.out = self.part(layers.Dense(WIDTH))

    def heads(self, x):
        x = ops.reshape(x, (*sizes(x), HEADS, SIZE))
        return ops.transpose(x, (0, 2, 1, 3))

    def joined(self, x):
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (*sizes(x), WIDTH))

    def projected(self, x):
        return map(self.heads, (self.query(x), self.key(x), self.value(x)))

    def call(self, x):
        query, key, value = self.projected(x)
        scores = ops.matmul(query, ops.swapaxes(key, -1, -2)) / SIZE**0.5
        weights = ops.softmax(scores + self.mask(x))
        return x + self.out(self.joined(ops.matmul(weights, value)))

    def mask(self, x):
        return 0.0


class Causal(Attention):
    """Attention with a mask that is computed from the length."""

    def mask(self, x):
        places = ops.arange(x.shape[1])
        later = places[None, :] > places[:, None]
        return ops.where(later, -1e9, 0.0)


class Fused(Attention):
    """Queries, keys and values of one layer, split afterwards."""

    def build(self, shape):
        self.all = self.part(layers.Dense(3 * WIDTH))
        self.out = self.part(layers.Dense(WIDTH))

    def projected(self, x):
        return map(self.heads, ops.split(self.all(x), 3, axis=-1))


class FiveAxes(Fused):
    """Queries, keys and values that are told apart by an axis."""

    def projected(self, x):
        x = ops.reshape(self.all(x), (*sizes(x), 3, HEADS, SIZE))
        return ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), 3, axis=0)


class Picked(Fused):
    """Queries, keys and values that are picked by slices."""

    def projected(self, x):
        x = ops.reshape(self.all(x), (*sizes(x), 3, HEADS, SIZE))
        x = ops.transpose(x, (2, 0, 3, 1, 4))
        return x[0], x[1], x[2]


class Einsum(Block):
    """Attention written with EinsumDense and einsum."""

    def build(self, shape):
        def heads():
            layer = layers.EinsumDense(
                "abc,cde->abde", (None, HEADS, SIZE), bias_axes="de"
            )
            return self.part(layer)

        self.query, self.key, self.value = heads(), heads(), heads()
        self.out = layers.EinsumDense("abcd,cde->abe", (None, WIDTH), "relu")
        self.out.build((None, None, HEADS, SIZE))

    def call(self, x):
        query = self.query(x) * SIZE**-0.5
        scores = ops.einsum("bqhd,bkhd->bhqk", query, self.key(x))
        weights = ops.softmax(ops.cast(scores, x.dtype), axis=-1)
        mixed = ops.einsum("bhqk,bkhd->bqhd", weights, self.value(x))
        return x + self.out(mixed)


class Grouped(Block):
    """Two heads of keys and values, each for two heads of queries."""

    def build(self, shape):
        self.query = self.part(layers.Dense(WIDTH))
        self.key = self.part(layers.Dense(WIDTH // 2))
        self.value = self.part(layers.Dense(WIDTH // 2))
        self.out = self.part(layers.Dense(WIDTH))

    def call(self, x):
        query = ops.reshape(self.query(x), (*sizes(x), HEADS, SIZE))
        key, value = (
            ops.repeat(ops.reshape(y, (*sizes(x), 2, SIZE)), 2, axis=2)
            for y in (self.key(x), self.value(x))
        )
        mixed = ops.dot_product_attention(query, key, value)
        return x + self.out(ops.reshape(mixed, (*sizes(x), WIDTH)))


class GroupedEinsum(Grouped):
    """The same with an axis of groups."""

    def call(self, x):
        query = ops.reshape(self.query(x), (*sizes(x), 2, 2, SIZE))
        key, value = (
            ops.reshape(y, (*sizes(x), 2, SIZE))
            for y in (self.key(x), self.value(x))
        )
        scores = ops.einsum("btkgd,bskd->bkgts", query, key) * 0.5
        weights = ops.softmax(scores)
        mixed = ops.einsum("bkgts,bskd->btkgd", weights, value)
        return x + self.out(ops.reshape(mixed, (*sizes(x), WIDTH)))


class Rotary(Attention):
    """Queries and keys are turned by an angle for each position."""

    def projected(self, x):
        query, key, value = super().projected(x)
        return self.turned(query), self.turned(key), value

    def turned(self, x):
        angle = np.arange(x.shape[2])[:, None] * np.array([1.0, 0.1])
        cos, sin = (
            ops.convert_to_tensor(np.tile(f(angle), 2), x.dtype)
            for f in (np.cos, np.sin)
        )
        first, second = ops.split(x, 2, axis=-1)
        return x * cos + ops.concatenate([-second, first], axis=-1) * sin


class Excited(Block):
    """Channels are scaled by what all positions say."""

    def build(self, shape):
        self.up = self.part(layers.Dense(12, "relu"))
        self.squeeze = self.part(layers.Dense(5, "relu"), 12)
        self.excite = self.part(layers.Dense(12, "sigmoid"), 5)
        self.down = self.part(layers.Dense(WIDTH), 12)

    def call(self, x):
        x = self.up(x)
        mean = ops.mean(x, axis=1, keepdims=True)
        return self.down(x * self.excite(self.squeeze(mean)))


class Normalized(Block):
    """RMS and layer normalization of units, written with operations."""

    def build(self, shape):
        self.up = self.part(layers.Dense(12))
        self.scale = self.weight(12, name="scale")
        self.norm = self.part(layers.LayerNormalization(), 12)
        self.down = self.part(layers.Dense(WIDTH), 12)

    def call(self, x):
        x = self.up(x)
        power = ops.mean(ops.square(x), axis=-1, keepdims=True)
        x = x * ops.rsqrt(power + 1e-6) * (1.0 + self.scale)
        return self.down(ops.gelu(self.norm(x)))


class Arranged(Block):
    """Entries are stacked, flipped, padded, repeated and cut."""

    def build(self, shape):
        self.one = self.part(layers.Dense(6, "relu"))
        self.other = self.part(layers.Dense(6, "tanh"))
        self.down = self.part(layers.Dense(WIDTH), 24)
        self.token = self.weight(1, 1, WIDTH, name="token")

    def call(self, x):
        one, other = self.one(x), self.other(x)
        x = ops.stack([one, other], axis=-1)
        x = ops.reshape(x, (*sizes(x), 12))
        x = ops.concatenate([x, ops.flip(x, axis=1)], axis=-1)
        x = self.down(ops.roll(x, 1, axis=1))
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, WIDTH))
        x = ops.concatenate([token, x], axis=1)
        return ops.pad(x[:, 1:], ((0, 0), (1, 0), (0, 0)))[:, 1:]


class Mixed(Block):
    """Channels of different places are added, and summed up."""

    def build(self, shape):
        self.up = self.part(layers.Dense(12, "relu"))
        self.down = self.part(layers.Dense(WIDTH), 12)

    def call(self, x):
        x = self.up(x)
        x = x + ops.roll(x, 1, axis=-1)
        x = x + ops.where(ops.max(x, axis=-1, keepdims=True) > 1.0, x, 0.0)
        return self.down(ops.cumsum(x, axis=1))


class Stock(Block):
    """Keras's own layers of attention and normalization inside."""

    def build(self, shape):
        self.attention = layers.MultiHeadAttention(HEADS, SIZE)
        self.attention.build((None, None, WIDTH), (None, None, WIDTH))
        self.norm = self.part(layers.LayerNormalization())
        self.feed = self.part(FeedForward())

    def call(self, x, training=False):
        x = self.norm(x + self.attention(x, x, training=training))
        return self.feed(x)


class Opaque(Block):
    """Code that branches on a value."""

    def build(self, shape):
        self.dense = self.part(layers.Dense(WIDTH))

    def call(self, x):
        if isinstance(x, keras.KerasTensor) and ops.mean(x) > 0:
            return x
        return self.dense(x)


class Branching(Block):
    """Other layers are called for long sequences."""

    def build(self, shape):
        self.short = self.part(layers.Dense(WIDTH))
        self.long = self.part(layers.Dense(WIDTH))

    def call(self, x):
        layer = self.short if (x.shape[1] or 0) < 8 else self.long
        return layer(x)


class Nested(Block):
    """A block that calls another one twice."""

    def build(self, shape):
        self.inner = self.part(FeedForward())
        self.middle = self.part(layers.Dense(WIDTH))

    def call(self, x):
        return self.inner(self.middle(self.inner(x)))


BLOCKS = {
    block.__name__: block
    for block in (
        *(FeedForward, NoBias, Gated, OwnWeights, InAList, Transposed, Hidden),
        *(Attention, Causal, Fused, FiveAxes, Picked, Einsum, Grouped),
        *(GroupedEinsum, Rotary, Excited, Normalized, Arranged, Mixed, Stock),
        *(Opaque, Branching, Nested),
    )
}


def thinned(model, rng, share=0.3):
    """Draws all weights anew, and zeroes whole slices of most."""
    for variable in model.variables:
        if "float" not in variable.dtype or "seed" in variable.path:
            continue
        value = rng.normal(size=variable.shape) * 0.6
        if value.ndim == 1 and rng.random() < 0.3:
            value *= 0  # as biases start
        for axis, size in enumerate(value.shape):
            if size > 2 and rng.random() < 0.6:
                gone = rng.random(size) < share * rng.random()
                value[(slice(None),) * axis + (gone,)] = 0.0
                if size % SIZE == 0 and rng.random() < 0.5:
                    heads = rng.random(size // SIZE) < share
                    gone = np.repeat(heads, SIZE)
                    value[(slice(None),) * axis + (gone,)] = 0.0
        if "variance" in variable.path:
            value = np.abs(value) + 0.5
        variable.assign(value)
