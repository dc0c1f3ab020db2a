"""A table of models of the kinds that people save: makers and inputs.

It does not import kreg, and their files are loaded where it is imported.
"""

from importlib.util import find_spec

import keras
import numpy as np
from keras import layers, ops

BATCH, LENGTH, WIDTH, VOCABULARY = 4, 8, 16, 50


def floats(*shape):
    return np.random.default_rng(0).normal(size=(BATCH, *shape)).astype("f")


def tokens(names=("token_ids", "padding_mask")):
    """Random tokens, masks whose last two entries are 0, or other zeros."""
    mask = np.ones((BATCH, LENGTH), "int32")
    mask[::2, -2:] = 0
    ids = np.random.default_rng(0).integers(1, VOCABULARY, mask.shape)
    kinds = {"ids": ids.astype("int32"), "mask": mask}
    return {
        name: kinds.get(name.split("_")[-1], ids)
        if "segment" not in name
        else np.zeros_like(mask)
        for name in names
    }


@keras.saving.register_keras_serializable("saved_models")
class Sized(layers.Layer):
    """Two layers whose sizes are in the config."""

    def __init__(self, hidden, outputs, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.outputs = hidden, outputs
        self.up = layers.Dense(hidden, "relu", name="up")
        self.drop = layers.Dropout(0.5)
        self.down = layers.Dense(outputs, name="down")

    def build(self, shape):
        self.up.build(shape)
        self.down.build((*shape[:-1], self.hidden))

    def call(self, x, training=False):
        return self.down(self.drop(self.up(x), training=training))

    def get_config(self):
        sizes = {"hidden": self.hidden, "outputs": self.outputs}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("saved_models")
class Fixed(Sized):
    """The same, with sizes that no config tells."""

    def __init__(self, **kwargs):
        super().__init__(24, WIDTH, **kwargs)

    def call(self, x, training=False):
        return x + super().call(x, training=training)

    def get_config(self):
        return layers.Layer.get_config(self)


@keras.saving.register_keras_serializable("saved_models")
class Scaled(Fixed):
    """The same, with a weight of its own."""

    def build(self, shape):
        super().build(shape)
        self.scale = self.add_weight(
            shape=(WIDTH,), initializer="ones", name="scale"
        )

    def call(self, x, training=False):
        return self.scale * super().call(x, training=training)


@keras.saving.register_keras_serializable("saved_models")
class Block(layers.Layer):
    """A transformer block of one's own."""

    def __init__(self, heads=4, hidden=24, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.hidden = heads, hidden
        self.attention = layers.MultiHeadAttention(heads, 4)
        self.first = layers.LayerNormalization()
        self.mixer = Sized(hidden, WIDTH)
        self.second = layers.LayerNormalization()

    def build(self, shape):
        self.attention.build(shape, shape)
        self.first.build(shape)
        self.mixer.build(shape)
        self.second.build(shape)

    def call(self, x):
        x = self.first(x + self.attention(x, x))
        return self.second(x + self.mixer(x))

    def get_config(self):
        sizes = {"heads": self.heads, "hidden": self.hidden}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("saved_models")
class Net(keras.Model):
    """A subclassed model whose sizes are in the config."""

    def __init__(self, first=24, second=20, **kwargs):
        super().__init__(**kwargs)
        self.sizes = first, second
        self.one = Sized(first, WIDTH)
        self.other = Sized(second, WIDTH)
        self.head = layers.Dense(2)

    def call(self, x, training=False):
        x = x + self.one(x, training=training)
        return self.head(self.other(x, training=training))

    def get_config(self):
        first, second = self.sizes
        return {**super().get_config(), "first": first, "second": second}


@keras.saving.register_keras_serializable("saved_models")
class FixedNet(Net):
    """The same, with sizes that no config tells."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("saved_models")
class FunctionalNet(keras.Model):
    """A functional model of a class of one's own, with a size."""

    def __init__(self, hidden=24, name=None):
        x = keras.Input((WIDTH,))
        y = layers.Dense(hidden, "relu", name="hidden")(x)
        super().__init__(x, layers.Dense(2)(y), name=name)
        self.hidden = hidden

    def get_config(self):
        return {"hidden": self.hidden, "name": self.name}


def stack(*between, shape=(LENGTH, WIDTH), dtype=None):
    """Layers between a first and a last one, and inputs."""

    def make():
        x = y = keras.Input(shape, dtype=dtype)
        for layer in between:
            y = layer()(y)
        return keras.Model(x, layers.Dense(2)(y)), floats(*shape)

    return make


def sequential():
    parts = [layers.Dense(24, "gelu"), layers.Dense(20, "relu")]
    return keras.Sequential(
        [keras.Input((WIDTH,)), *parts, layers.Dense(2)]
    ), floats(WIDTH)


def convolutions():
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = layers.BatchNormalization()(layers.Conv2D(12, 3, strides=2)(y))
    y = layers.DepthwiseConv2D(3)(layers.ReLU()(y))
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(2)(y)), floats(16, 16, 3)


def nested():
    inner = stack(lambda: Sized(24, WIDTH), Fixed)()[0]
    outer = keras.Sequential([keras.Input((LENGTH, WIDTH)), inner])
    x = keras.Input((LENGTH, WIDTH))
    y = layers.Dense(12, "relu")(outer(x))
    return keras.Model(x, layers.Dense(2)(y)), floats(LENGTH, WIDTH)


def shared():
    x = keras.Input((WIDTH,))
    block = Sized(24, WIDTH)
    return keras.Model(x, layers.Dense(2)(block(block(x)))), floats(WIDTH)


def several():
    xs = {name: keras.Input((WIDTH,), name=name) for name in "ab"}
    y = layers.Concatenate()([Sized(24, 12)(x) for x in xs.values()])
    heads = {"one": layers.Dense(1)(y), "two": layers.Dense(2)(y)}
    return keras.Model(xs, heads), {name: floats(WIDTH) for name in xs}


def subclassed(cls):
    def make():
        model, x = cls(), floats(WIDTH)
        model(x)
        return model, x

    return make


def embedded():
    x = keras.Input((LENGTH,), dtype="int32")
    y = layers.Embedding(VOCABULARY, WIDTH, mask_zero=True)(x)
    y = layers.LSTM(12)(layers.Dense(24, "relu")(y))
    return keras.Model(x, layers.Dense(2)(y)), tokens()["token_ids"]


OWN = {
    "sequential": sequential,
    "convolutions": convolutions,
    "sized": stack(lambda: Sized(24, WIDTH), lambda: Sized(24, 12)),
    "fixed": stack(Fixed, Fixed),
    "scaled": stack(Scaled),
    "blocks": stack(Block, Block),
    "nested": nested,
    "shared": shared,
    "several": several,
    "embedded": embedded,
    "float64": stack(
        lambda: layers.Dense(24, "relu", dtype="float64"), dtype="float64"
    ),
    "half": stack(
        lambda: layers.Dense(24, "relu", dtype="mixed_float16"),
        lambda: layers.Dense(20, "relu"),
    ),
    "attention": stack(
        lambda: lambda x: layers.MultiHeadAttention(4, 4)(x, x) + x,
        lambda: layers.Dense(24, "relu"),
    ),
    "grouped_queries": stack(
        lambda: lambda x: layers.GroupQueryAttention(4, 4, 2)(x, x) + x,
        lambda: layers.Dense(24, "relu"),
    ),
    "einsum": stack(
        lambda: layers.EinsumDense("abc,cd->abd", (None, 24), "relu"),
    ),
    "both_ways": stack(
        lambda: layers.Bidirectional(layers.LSTM(6, return_sequences=True)),
        lambda: layers.Dense(24, "relu"),
    ),
    "each_step": stack(
        lambda: layers.TimeDistributed(layers.Dense(24, "relu")),
    ),
    "operations": stack(
        lambda: layers.Dense(24, "relu"),
        lambda: (
            lambda x: ops.transpose(ops.reshape(x, (-1, 8, 6, 4)), (0, 1, 3, 2))
        ),
        lambda: layers.Reshape((8, 24)),
    ),
    "net": subclassed(Net),
    "fixed_net": subclassed(FixedNet),
    "functional_subclass": lambda: (FunctionalNet(), floats(WIDTH)),
}


def application(name, size=32, **arguments):
    def make():
        cls = getattr(keras.applications, name)
        model = cls(
            input_shape=(size, size, 3), weights=None, classes=5, **arguments
        )
        return model, floats(size, size, 3)

    return make


APPLICATIONS = {
    "mobilenet": application("MobileNet", alpha=0.25),
    "mobilenet_v2": application("MobileNetV2", alpha=0.35),
    "mobilenet_v3": application("MobileNetV3Small", minimalistic=True),
}


def hub(name, *arguments, inputs=tokens, change=None, **keywords):
    """A model of KerasHub with random weights."""

    def make():
        import keras_hub

        model = getattr(keras_hub.models, name)(*arguments, **keywords)
        if change is not None:
            model = change(model)
        return model, inputs()

    return make


def task(name, **arguments):
    def around(backbone):
        import keras_hub

        return getattr(keras_hub.models, name)(backbone, **arguments)

    return around


def with_lora(model):
    model.enable_lora(2)
    return model


def quantized(model):
    model.quantize("int8")
    return model


SIZES = (VOCABULARY, 2, 4, WIDTH, 24)
LIMITED = {"max_sequence_length": LENGTH}
with_segments = ("token_ids", "padding_mask", "segment_ids")
sides = tuple(
    f"{side}_{name}"
    for side in ("encoder", "decoder")
    for name in ("token_ids", "padding_mask")
)


def segmented():
    return tokens(with_segments)


def spectra():
    return {
        "encoder_features": floats(16, 8),
        **tokens(("decoder_token_ids", "decoder_padding_mask")),
    }


def images():
    return floats(16, 16, 3)


HUB = {
    "bert": hub("BertBackbone", *SIZES, inputs=segmented, **LIMITED),
    "bert_lora": hub(
        "BertBackbone", *SIZES, inputs=segmented, change=with_lora, **LIMITED
    ),
    "bert_int8": hub(
        "BertBackbone", *SIZES, inputs=segmented, change=quantized, **LIMITED
    ),
    "bert_classifier": hub(
        "BertBackbone",
        *SIZES,
        inputs=segmented,
        change=task("BertTextClassifier", num_classes=3),
        **LIMITED,
    ),
    "distil_bert": hub("DistilBertBackbone", *SIZES, **LIMITED),
    "roberta": hub("RobertaBackbone", *SIZES, **LIMITED),
    "deberta": hub("DebertaV3Backbone", *SIZES, bucket_size=4, **LIMITED),
    "electra": hub(
        "ElectraBackbone",
        VOCABULARY,
        2,
        4,
        WIDTH,
        WIDTH,
        24,
        inputs=segmented,
        **LIMITED,
    ),
    "gpt2": hub("GPT2Backbone", *SIZES, **LIMITED),
    "gpt2_lm": hub(
        "GPT2Backbone",
        *SIZES,
        change=task("GPT2CausalLM", preprocessor=None),
        **LIMITED,
    ),
    "opt": hub("OPTBackbone", *SIZES, **LIMITED),
    "bloom": hub("BloomBackbone", *SIZES, **LIMITED),
    "gemma": hub("GemmaBackbone", VOCABULARY, 2, 4, 2, WIDTH, 48, 4),
    "llama": hub("LlamaBackbone", VOCABULARY, 2, 4, WIDTH, 24, 2),
    "mistral": hub(
        "MistralBackbone", VOCABULARY, 2, 4, WIDTH, 24, 2, sliding_window=4
    ),
    "t5": hub(
        "T5Backbone", *SIZES, key_value_dim=4, inputs=lambda: tokens(sides)
    ),
    "whisper": hub(
        "WhisperBackbone",
        *SIZES,
        num_mels=8,
        max_encoder_sequence_length=16,
        max_decoder_sequence_length=LENGTH,
        inputs=spectra,
    ),
    "vit": hub("ViTBackbone", (16, 16, 3), 8, 2, 4, WIDTH, 24, inputs=images),
    "vit_classifier": hub(
        "ViTBackbone",
        (16, 16, 3),
        8,
        2,
        4,
        WIDTH,
        24,
        inputs=images,
        change=task("ViTImageClassifier", num_classes=3),
    ),
}
MODELS = {
    **OWN,
    **APPLICATIONS,
    **(HUB if find_spec("keras_hub") else {}),
}
