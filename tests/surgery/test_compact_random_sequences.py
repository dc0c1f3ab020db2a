"""Random graphs of attention, recurrent layers, groups and norms.

Like `test_compact_random_graphs.py`, on sequences of vectors and of images.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from surgery.random_weights import some_inputs
from surgery.test_compact_random_graphs import (
    Graph,
    activations,
    assert_same_outputs,
    chances,
    examples,
    in_double_precision,
    many_examples,
    paddings,
)

import kreg

SHAPES = [(4, 6), (3, 4), (4, 4, 4), (3, 4, 4, 2)]
RECURRENT = (layers.LSTM, layers.GRU, layers.SimpleRNN)
MODES = ("concat", "sum", "ave", "mul")
GATES = {"conv_lstm_cell": 4, "lstm_cell": 4, "gru_cell": 3, "simple_rnn": 1}
LARGE = 400


def divisors(number):
    return [n for n in range(1, number + 1) if number % n == 0]


class SequenceGraph(Graph):
    """A graph with the layers of sequences, and with groups and norms."""

    def mixer(self, x):
        if len(x.shape) == 2 or np.prod(x.shape[1:]) > LARGE:
            return super().mixer(x) if len(x.shape) == 2 else layers.Flatten()
        makers = {3: self.of_steps, 4: self.of_images, 5: self.of_videos}
        return self.draw(st.sampled_from(makers[len(x.shape)](x)))()

    def keeper(self, x):
        channels = x.shape[-1]
        makers = [
            layers.RMSNormalization,
            layers.UnitNormalization,
            lambda: layers.GroupNormalization(self.one_of(divisors(channels))),
            layers.BatchNormalization,
            layers.LayerNormalization,
            lambda: layers.Activation(self.draw(activations)),
            lambda: layers.Dropout(0.3),
        ]
        if len(x.shape) == 5:
            makers += [lambda: layers.TimeDistributed(layers.Flatten())]
        if len(x.shape) == 4:
            makers += [lambda: layers.Reshape((-1, channels))]
        return self.draw(st.sampled_from(makers))()

    def of_steps(self, x):
        return [
            self.attention,
            self.attention,
            self.query_sets,
            self.recurrent,
            lambda: layers.Bidirectional(
                self.recurrent(), merge_mode=self.one_of(MODES)
            ),
            lambda: layers.TimeDistributed(self.dense()),
            lambda: self.convolution(layers.Conv1D, x.shape[-1]),
        ]

    def of_images(self, x):
        return [lambda: self.convolution(layers.Conv2D, x.shape[-1])] * 2 + [
            self.dense
        ]

    def of_videos(self, x):
        channels = x.shape[-1]
        return [
            lambda: layers.ConvLSTM2D(
                self.width(),
                self.one_of([1, 2]),
                padding="same",
                return_sequences=self.flag(),
                use_bias=self.flag(),
            ),
            lambda: layers.TimeDistributed(
                self.convolution(layers.Conv2D, channels)
            ),
            lambda: layers.TimeDistributed(self.dense()),
        ]

    def one_of(self, values):
        return self.draw(st.sampled_from(values))

    def flag(self):
        return self.draw(st.booleans())

    def width(self):
        return self.draw(st.integers(1, 5))

    def dense(self):
        return layers.Dense(
            self.width(),
            activation=self.draw(activations),
            use_bias=self.flag(),
        )

    def convolution(self, kind, channels):
        groups = self.one_of(divisors(channels))
        window = self.one_of([1, 2])
        return kind(
            groups * self.one_of([1, 2, 3]),
            window,
            groups=groups,
            padding="same" if window > 1 else self.draw(paddings),
            activation=self.draw(activations),
            use_bias=self.flag(),
        )

    def recurrent(self):
        return self.one_of(RECURRENT)(
            self.width(), return_sequences=True, use_bias=self.flag()
        )

    def attention(self):
        return AttendingToItself(
            layers.MultiHeadAttention(
                self.width(),
                self.width(),
                value_dim=self.width(),
                output_shape=self.one_of([None, 3, 6]),
                use_bias=self.flag(),
                dropout=self.one_of([0.0, 0.2]),
            ),
            causal=self.flag(),
        )

    def query_sets(self):
        sets = self.one_of([1, 2, 3])
        return AttendingToItself(
            layers.GroupQueryAttention(
                self.width(),
                sets * self.one_of([1, 2, 3]),
                sets,
                use_bias=self.flag(),
            ),
            causal=self.flag(),
        )


class AttendingToItself:
    """An attention layer that is called as layers on one tensor are."""

    def __init__(self, layer, causal):
        self.layer, self.causal = layer, causal
        self.name, self.get_config = layer.name, layer.get_config

    def __call__(self, x):
        return self.layer(x, x, use_causal_mask=self.causal)


def randomized(model, draw):
    """Random weights; parts of each axis of a weight are 0 by chance.

    The parts of recurrent weights are units, in all gates and weights alike.
    """
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    chance = {
        kind: draw(chances) for kind in ("units", "axis", "bias", "gamma")
    }
    dead = {}
    for variable in {id(v): v for v in model.weights}.values():
        *owner, name = variable.path.split("/")
        shape = tuple(variable.shape)
        if "seed" in name:
            continue
        w = rng.normal(size=shape)
        gates = next((n for c, n in GATES.items() if c in variable.path), None)
        if name == "moving_variance":
            w = rng.uniform(0.5, 2.0, shape)
        elif gates:
            units = shape[-1] // gates
            live = dead.setdefault(
                tuple(owner), rng.uniform(size=units) >= chance["units"]
            )
            w = w * np.tile(live, gates)
        elif name == "kernel":
            for axis, size in enumerate(shape):
                by = np.ones(len(shape), int)
                by[axis] = size
                w = w * (rng.uniform(size=by) >= chance["axis"] / 2)
        else:
            kind = "bias" if name in ("bias", "beta") else "gamma"
            w = w * (rng.uniform(size=shape) >= chance[kind])
        variable.assign(w)
    return model


def assert_outputs_stay(data, shape, steps):
    in_double_precision()
    graph = SequenceGraph(data.draw, shape)
    for _ in range(steps):
        graph.step()
    model = randomized(graph.model(), data.draw)
    small = kreg.compact(model, round_to=data.draw(st.sampled_from([1, 1, 2])))
    assert_same_outputs(small, model, some_inputs(model, batch=7))


@pytest.mark.thorough
@examples(12)
@given(st.data(), st.sampled_from(SHAPES), st.integers(1, 4))
def test_outputs_of_random_sequences_are_the_same(data, shape, steps):
    assert_outputs_stay(data, shape, steps)


@pytest.mark.slow
@many_examples
@given(st.data(), st.sampled_from(SHAPES), st.integers(2, 7))
def test_outputs_of_many_random_sequences_are_the_same(data, shape, steps):
    assert_outputs_stay(data, shape, steps)
