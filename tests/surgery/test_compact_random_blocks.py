"""Random models of composite layers, of one's own and of KerasHub.

Like `test_compact_random_sequences.py`, whose layers they have too, in
functional, nested and subclassed models.
"""

from importlib.util import find_spec

import keras
import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from keras import layers
from surgery.composite_blocks import BLOCKS, WIDTH, thinned
from surgery.random_encoders import (
    ATTENTION,
    HIDDEN,
    NORMALIZATIONS,
    Encoder,
    Subclassed,
    fixed_encoder,
)
from surgery.random_weights import outputs, some_inputs
from surgery.test_compact_random_graphs import (
    ACTIVATIONS,
    TOLERANCE,
    assert_same_outputs,
    examples,
    in_double_precision,
    many_examples,
)
from surgery.test_compact_random_sequences import SequenceGraph, randomized

import kreg

HAS_HUB = find_spec("keras_hub") is not None
WORDS = 20


def hub():
    import keras_hub

    return keras_hub


def encoder_arguments(draw):
    def one_of(values):
        return draw(st.sampled_from(sorted(values)))

    return {
        "attention": one_of(ATTENTION),
        "heads": draw(st.integers(1, 3)),
        "size": draw(st.integers(1, 4)),
        "units": draw(st.integers(1, 7)),
        "activation": one_of([*ACTIVATIONS, "gelu", "silu"]),
        "hidden": one_of(HIDDEN),
        "normalization": one_of(NORMALIZATIONS),
        "first": draw(st.booleans()),
        "scaled": draw(st.booleans()),
    }


class BlockGraph(SequenceGraph):
    """A graph with composite layers among the others."""

    def mixer(self, x):
        if len(x.shape) != 3 or np.prod(x.shape[1:]) > 400:
            return super().mixer(x)
        kinds = [super().mixer, self.encoder, self.encoder, self.fixed]
        kinds += [self.block, self.block] * (x.shape[-1] == WIDTH)
        kinds += [self.of_hub, self.of_hub] * HAS_HUB
        kinds += [self.nested, self.widened]
        return self.draw(st.sampled_from(kinds))(x)

    def encoder(self, x):
        arguments = encoder_arguments(self.draw)
        note(str(arguments))
        return Encoder(**arguments)

    def fixed(self, x):
        arguments = encoder_arguments(self.draw)
        note(str(arguments))
        return fixed_encoder(len(self.tensors), **arguments)

    def block(self, x):
        return BLOCKS[self.one_of(sorted(BLOCKS))]()

    def widened(self, x):
        return layers.Dense(WIDTH)

    def nested(self, x):
        inputs = keras.Input(x.shape[1:])
        make = self.one_of([self.encoder, super().mixer])
        return keras.Model(inputs, make(inputs)(inputs))

    def of_hub(self, x):
        width, kinds = x.shape[-1], hub().layers
        heads = self.one_of([n for n in (1, 2, 3, 4) if width % n == 0])
        arguments = {
            "intermediate_dim": self.draw(st.integers(1, 7)),
            "activation": self.one_of(["relu", "gelu"]),
        }
        makers = [
            lambda: kinds.TransformerEncoder(
                num_heads=heads, normalize_first=self.flag(), **arguments
            ),
            lambda: kinds.TransformerDecoder(
                num_heads=heads, normalize_first=self.flag(), **arguments
            ),
            lambda: kinds.PositionEmbedding(x.shape[1]),
            lambda: AttendingToItself(
                kinds.CachedMultiHeadAttention(
                    self.width(), self.width(), use_bias=self.flag()
                )
            ),
        ]
        if width % 2 == 0:
            makers.append(kinds.RotaryEmbedding)
        return self.one_of(makers)()


class AttendingToItself:
    """An attention layer that is called as layers on one tensor are."""

    def __init__(self, layer):
        self.layer, self.name = layer, layer.name
        self.get_config = layer.get_config

    def __call__(self, x):
        return self.layer(x, x)


def with_random_weights(model, draw):
    """Random weights of which parts are 0, by one of two ways."""
    if draw(st.booleans()):
        return randomized(model, draw)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    thinned(model, rng, draw(st.sampled_from([0.3, 0.6, 1.0])))
    return model


def functional(draw):
    graph = BlockGraph(draw, draw(st.sampled_from([(4, 6), (3, 4), (5, 16)])))
    for _ in range(draw(st.integers(1, 4))):
        graph.step()
    return graph.model()


def subclassed(draw):
    encoders = [encoder_arguments(draw) for _ in range(draw(st.integers(1, 2)))]
    model = Subclassed(encoders, draw(st.integers(1, 6)))
    note(str(model.arguments))
    model(np.zeros((2, 4, 5)))
    return model


def of_hub(draw):
    """A model of KerasHub with random sizes."""
    models = hub().models
    heads, layers_, hidden, units = (
        draw(st.integers(low, high))
        for low, high in ((1, 3), (1, 2), (1, 3), (1, 9))
    )
    width = 2 * heads * hidden
    sizes = WORDS, layers_, heads, width, units
    makers = {
        "gpt2": lambda: models.GPT2Backbone(*sizes, max_sequence_length=6),
        "bert": lambda: models.BertBackbone(*sizes, max_sequence_length=6),
        "llama": lambda: models.LlamaBackbone(
            WORDS, layers_, 2 * heads, 2 * width, units, heads
        ),
        "gemma": lambda: models.GemmaBackbone(
            WORDS, layers_, 2 * heads, heads, width, 2 * units, 2 * hidden
        ),
        "vit": lambda: models.ViTBackbone(
            (8, 8, 2), 4, layers_, heads, width, units
        ),
    }
    name = draw(st.sampled_from(sorted(makers)))
    note(f"{name} of {sizes}, {hidden}")
    return makers[name]()


def inputs_of(model):
    if isinstance(model, Subclassed):
        return np.random.default_rng(1).normal(size=(7, 4, 5))
    if isinstance(model.input, dict):
        rng = np.random.default_rng(1)
        found = {
            name: np.zeros((7, 6), "int32")
            if "segment" in name
            else rng.integers(1, WORDS, (7, 6))
            for name in model.input
        }
        found["padding_mask"] = np.ones((7, 6), "int32")
        return found
    return some_inputs(model, batch=7)


def assert_outputs_stay(data):
    in_double_precision()
    makers = [functional] * 6 + [subclassed] + [of_hub] * HAS_HUB
    make = data.draw(st.sampled_from(makers))
    model = with_random_weights(make(data.draw), data.draw)
    x = inputs_of(model)
    if not all(np.isfinite(y).all() for y in outputs(model, x)):
        return  # products of random weights may overflow
    small = kreg.compact(
        model, sample=x, round_to=data.draw(st.sampled_from([1, 1, 2]))
    )
    # Rotary angles are of single precision whatever the model's precision is;
    # eager and compiled calls of one such model differ by as much.
    names = {type(layer).__name__ for layer in model._flatten_layers()}
    is_single = any("Rotary" in name for name in names)
    tolerance = max(TOLERANCE, 1e-6) if is_single else TOLERANCE
    assert_same_outputs(small, model, x, tolerance)


ignored = pytest.mark.filterwarnings("ignore::UserWarning:keras")


@pytest.mark.thorough
@ignored
@examples(12)
@given(st.data())
def test_outputs_of_random_blocks_are_the_same(data):
    assert_outputs_stay(data)


@pytest.mark.exhaustive
@ignored
@many_examples
@given(st.data())
def test_outputs_of_many_random_blocks_are_the_same(data):
    assert_outputs_stay(data)
