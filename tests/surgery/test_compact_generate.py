"""Smaller causal models of KerasHub: `generate` stays, with the same tokens."""

import keras
import numpy as np
import pytest
from keras import layers
from thorough import few_of

import kreg

hub = pytest.importorskip("keras_hub")

WORDS, LENGTH = 50, 12
SIZES = (WORDS, 2, 4, 16, 24)
# The class of a language model, and its backbone.
MODELS = {
    "gpt2": lambda: (
        hub.models.GPT2CausalLM,
        hub.models.GPT2Backbone(*SIZES, max_sequence_length=LENGTH),
    ),
    "opt": lambda: (
        hub.models.OPTCausalLM,
        hub.models.OPTBackbone(*SIZES, max_sequence_length=LENGTH),
    ),
    "bloom": lambda: (
        hub.models.BloomCausalLM,
        hub.models.BloomBackbone(*SIZES, max_sequence_length=LENGTH),
    ),
    "gpt_neo_x": lambda: (
        hub.models.GPTNeoXCausalLM,
        hub.models.GPTNeoXBackbone(*SIZES, rotary_percentage=1.0),
    ),
    "falcon": lambda: (
        hub.models.FalconCausalLM,
        hub.models.FalconBackbone(WORDS, 2, 4, 16, 24),
    ),
    "llama": lambda: (
        hub.models.LlamaCausalLM,
        hub.models.LlamaBackbone(WORDS, 2, 4, 16, 24, 2),
    ),
    "llama3": lambda: (
        hub.models.Llama3CausalLM,
        hub.models.Llama3Backbone(WORDS, 2, 4, 16, 24, 2),
    ),
    "mistral": lambda: (
        hub.models.MistralCausalLM,
        hub.models.MistralBackbone(WORDS, 2, 4, 16, 24, 2, sliding_window=4),
    ),
    "phi3": lambda: (
        hub.models.Phi3CausalLM,
        hub.models.Phi3Backbone(WORDS, 2, 16, 24, 4, 2),
    ),
    "gemma": lambda: (
        hub.models.GemmaCausalLM,
        hub.models.GemmaBackbone(WORDS, 2, 4, 2, 16, 48, 4),
    ),
    "qwen": lambda: (
        hub.models.QwenCausalLM,
        hub.models.QwenBackbone(WORDS, 2, 4, 2, 16, 24),
    ),
}


LARGE = few_of(MODELS, "gpt2", rest=pytest.mark.exhaustive)


def language_model(name, alike):
    """A model in which hidden units and heads are dead.

    Args:
        name: its name in `MODELS`.
        alike: whether all blocks have equally many.
    """
    keras.utils.set_random_seed(0)
    make, backbone = MODELS[name]()
    model = make(backbone, preprocessor=None)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "float" in variable.dtype and "seed" not in variable.path:
            variable.assign(rng.normal(size=variable.shape) * 0.5)
    hidden = 0
    for layer in model._flatten_layers():
        if not isinstance(layer, layers.Dense | layers.EinsumDense):
            continue
        kernel = np.array(layer.kernel)
        if kernel.shape in [(24, 16)]:
            kernel[18 - (0 if alike else hidden) :] = 0
            hidden += 1
            layer.kernel.assign(kernel)
    assert hidden == 2
    return model


def generated(model):
    rng = np.random.default_rng(1)
    model.compile(sampler="greedy")
    prompt = {
        "token_ids": rng.integers(1, WORDS, (4, LENGTH)),
        "padding_mask": np.tile(np.arange(LENGTH) < 4, (4, 1)).astype("int32"),
    }
    tokens = model.generate(prompt, stop_token_ids=None)["token_ids"]
    return keras.ops.convert_to_numpy(tokens)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:keras")
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("name", LARGE)
def test_a_smaller_causal_model_generates_the_same_tokens(name, alike):
    model = language_model(name, alike)
    small = kreg.compact(model)
    assert small.count_params() < model.count_params()
    assert type(small) is type(model)
    expected = generated(model)
    assert len(np.unique(expected)) > LENGTH  # it does say something
    np.testing.assert_array_equal(generated(small), expected)
