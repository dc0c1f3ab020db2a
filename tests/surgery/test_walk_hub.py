"""What can go inside of the models of KerasHub, with random weights."""

import numpy as np
import pytest
from keras import layers
from surgery.traced_execution import Analysis
from thorough import few_of

hub = pytest.importorskip("keras_hub")

WORDS, LENGTH = 50, 8
MODELS = {
    "bert": lambda: hub.models.BertBackbone(
        WORDS, 2, 4, 16, 32, max_sequence_length=LENGTH
    ),
    "distil_bert": lambda: hub.models.DistilBertBackbone(
        WORDS, 2, 4, 16, 32, max_sequence_length=LENGTH
    ),
    "gpt2": lambda: hub.models.GPT2Backbone(
        WORDS, 2, 4, 16, 32, max_sequence_length=LENGTH
    ),
    "llama": lambda: hub.models.LlamaBackbone(WORDS, 2, 4, 16, 32, 2),
    "gemma": lambda: hub.models.GemmaBackbone(WORDS, 2, 4, 2, 16, 64, 4),
    "t5": lambda: hub.models.T5Backbone(
        WORDS, 2, 4, 16, 32, key_value_dim=4, use_gated_activation=False
    ),
    "whisper": lambda: hub.models.WhisperBackbone(
        *(WORDS, 2, 4, 16, 32),
        num_mels=8,
        max_encoder_sequence_length=16,
        max_decoder_sequence_length=LENGTH,
    ),
    "vit": lambda: hub.models.ViTBackbone((16, 16, 3), 8, 2, 4, 16, 32),
    "bert_classifier": lambda: hub.models.BertTextClassifier(
        MODELS["bert"](), num_classes=3
    ),
    "gpt2_causal_lm": lambda: hub.models.GPT2CausalLM(
        MODELS["gpt2"](), preprocessor=None
    ),
}


def without_heads_and_units(model):
    """Draws all weights; 12 of 32 units and half of the heads do nothing.

    The heads are those of whole groups, too.

    Returns:
        The kernels that can get smaller.
    """
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "float" in variable.dtype and "seed" not in variable.path:
            variable.assign(rng.normal(size=variable.shape) * 0.3)
    smaller = []
    for layer in model._flatten_layers():
        if not isinstance(layer, layers.Dense | layers.EinsumDense):
            continue
        kernel = np.array(layer.kernel)
        if kernel.shape == (32, 16):
            kernel[20:] = 0
        elif kernel.shape == (4, 4, 16) and "output" in layer.name:
            kernel[2:] = 0
        else:
            continue
        layer.kernel.assign(kernel)
        smaller.append(layer.kernel)
    return smaller


# Keras warns that a T5 has layers that do not pass on masks.
@pytest.mark.filterwarnings("ignore:Layer")
@pytest.mark.parametrize("name", few_of(MODELS, "gpt2"))
def test_units_and_heads_go(name):
    model = MODELS[name]()
    smaller = without_heads_and_units(model)
    analysis = Analysis(model)
    assert analysis.worst < 1e-5
    assert not analysis.walk.not_followed
    assert smaller
    for kernel in smaller:
        rows = analysis.values[id(kernel)].shape[0]
        assert rows == {32: 20, 4: 2}[kernel.shape[0]], kernel.path
