"""A composite layer of any make: attention and hidden units with residuals.

Its arguments choose how attention is written, which normalization comes where,
and how the hidden units are made. `Encoder` tells them in its config;
`FixedEncoder` does not tell its sizes, so that no config gives it others.
"""

import keras
from keras import layers, ops

NORMALIZATIONS = {
    "rms": layers.RMSNormalization,
    "layer": layers.LayerNormalization,
    "none": layers.Identity,
}
ATTENTION = ("none", "stock", "grouped", "einsum", "split", "fused")
HIDDEN = ("plain", "gated", "own_weights", "shared_input")


class Attention(keras.Layer):
    """Attention of `heads` heads that is written with operations."""

    def __init__(self, heads, size, written, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.size, self.written = heads, size, written

    def build(self, shape):
        width = self.heads * self.size
        makers = {"einsum": self.einsum_dense}
        make = makers.get(self.written, layers.Dense)
        units = [3 * width] if self.written == "fused" else [width] * 3
        self.parts = [make(n) for n in units]
        for part in self.parts:
            part.build((None, None, shape[-1]))
        self.out = layers.Dense(shape[-1], use_bias=self.size > 1)
        self.out.build((None, None, width))

    def einsum_dense(self, width):
        shape = (None, self.heads, width // self.heads)
        return layers.EinsumDense("abc,cde->abde", shape, bias_axes="de")

    def call(self, x):
        projected = [part(x) for part in self.parts]
        if self.written == "fused":
            projected = ops.split(projected[0], 3, axis=-1)
        shape = (-1, x.shape[1], self.heads, self.size)
        if self.written != "einsum":
            projected = [ops.reshape(y, shape) for y in projected]
        query, key, value = projected
        scores = ops.einsum("bqhd,bkhd->bhqk", query * self.size**-0.5, key)
        mixed = ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores), value)
        width = self.heads * self.size
        return self.out(ops.reshape(mixed, (-1, x.shape[1], width)))


class Hidden(keras.Layer):
    """Hidden units between two kernels."""

    def __init__(self, units, activation, written, **kwargs):
        super().__init__(**kwargs)
        self.units, self.written = units, written
        self.activation = keras.activations.get(activation)

    def build(self, shape):
        width = shape[-1]
        if self.written == "own_weights":
            self.up = self.add_weight(shape=(width, self.units), name="up")
            self.shift = self.add_weight(shape=(self.units,), name="shift")
        else:
            self.up = layers.Dense(self.units)
            self.up.build(shape)
        if self.written in ("gated", "shared_input"):
            self.other = layers.Dense(self.units)
            self.other.build(shape)
        self.down = layers.Dense(width)
        twice = self.written == "shared_input"
        self.down.build((*shape[:-1], self.units * (1 + twice)))

    def call(self, x):
        if self.written == "own_weights":
            hidden = self.activation(ops.matmul(x, self.up) + self.shift)
        else:
            hidden = self.activation(self.up(x))
        if self.written == "gated":
            hidden = hidden * self.other(x)
        if self.written == "shared_input":
            hidden = ops.concatenate([hidden, self.other(x)], axis=-1)
        return self.down(hidden)


@keras.saving.register_keras_serializable(package="random_encoders")
class Encoder(keras.Layer):
    """Attention and hidden units, each with a residual.

    Args:
        attention: one of `ATTENTION`.
        heads, size: heads of attention, and how wide each is.
        units: hidden units.
        activation: their activation.
        hidden: one of `HIDDEN`.
        normalization: one of `NORMALIZATIONS`.
        first: whether it comes before attention, not after the sum.
        scaled: whether what is added is scaled by weights of its own.
    """

    def __init__(
        self,
        attention="stock",
        heads=2,
        size=3,
        units=6,
        activation="relu",
        hidden="plain",
        normalization="rms",
        first=True,
        scaled=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.arguments = {
            "attention": attention,
            "heads": heads,
            "size": size,
            "units": units,
            "activation": activation,
            "hidden": hidden,
            "normalization": normalization,
            "first": first,
            "scaled": scaled,
        }
        self.first, self.scaled = first, scaled
        self.attention = {
            "none": layers.Identity,
            "stock": lambda: layers.MultiHeadAttention(heads, size),
            "grouped": lambda: layers.GroupQueryAttention(
                size, 2 * heads, heads
            ),
        }.get(attention, lambda: Attention(heads, size, attention))()
        self.hidden = Hidden(units, activation, hidden)
        self.norms = [NORMALIZATIONS[normalization]() for _ in range(2)]

    def build(self, shape):
        kinds = layers.MultiHeadAttention, layers.GroupQueryAttention
        twice = isinstance(self.attention, kinds)
        self.attention.build(*[shape] * (1 + twice))
        self.twice = twice
        self.hidden.build(shape)
        for norm in self.norms:
            norm.build(shape)
        if self.scaled:
            self.scale = self.add_weight(shape=shape[-1:], name="scale")

    def attend(self, x):
        return self.attention(x, x) if self.twice else self.attention(x)

    def call(self, x):
        for norm, part in zip(
            self.norms, (self.attend, self.hidden), strict=True
        ):
            y = part(norm(x) if self.first else x)
            x = x + (y * self.scale if self.scaled else y)
            x = x if self.first else norm(x)
        return x

    def get_config(self):
        return {**super().get_config(), **self.arguments}


def fixed_encoder(number, **arguments):
    """An encoder of a class of its own, whose config has no sizes."""

    class FixedEncoder(Encoder):
        def __init__(self, **kwargs):
            super().__init__(**arguments, **kwargs)

        def get_config(self):
            return keras.Layer.get_config(self)

    FixedEncoder.__name__ = f"FixedEncoder{number}"
    register = keras.saving.register_keras_serializable("random_encoders")
    return register(FixedEncoder)()


@keras.saving.register_keras_serializable(package="random_encoders")
class Subclassed(keras.Model):
    """A model that calls random encoders in a loop."""

    def __init__(self, encoders, width, **kwargs):
        super().__init__(**kwargs)
        self.arguments = {"encoders": encoders, "width": width}
        self.first = layers.Dense(width)
        self.encoders = [Encoder(**arguments) for arguments in encoders]
        self.norm = layers.LayerNormalization()
        self.head = layers.Dense(2)

    def call(self, x):
        x = self.first(x)
        for encoder in self.encoders:
            x = encoder(x)
        return {"steps": self.head(self.norm(x)), "mean": ops.mean(x, axis=1)}

    def get_config(self):
        return {**super().get_config(), **self.arguments}
