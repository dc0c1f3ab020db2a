"""Penalties on whole heads: which weights they tie, in which layers."""

import keras
import numpy as np
import pytest
from heads import AXES, QUICK, X, Y, attention_model, check_heads
from keras import layers
from thorough import few_of

import kreg

RNG = np.random.default_rng(0)


class Projected(keras.layers.Layer):
    """An attention layer of one's own, with projections by their names."""

    def __init__(self, dense=False, swapped=False, tells=True, **kwargs):
        super().__init__(**kwargs)
        if tells:
            self.num_heads = 3

        def projection():
            if dense:
                return layers.Dense(3 * 4)
            return layers.EinsumDense(
                "btd,dkh->bthk" if swapped else "btd,dhk->bthk",
                (None, 3, 4),
                bias_axes="hk",
            )

        self.query = projection()
        self.key_proj = projection()
        self._value_dense = projection()
        self.out_proj = layers.EinsumDense(
            "bthk,hkd->btd", (None, 6), bias_axes="d", name="output"
        )

    def build(self, shape):
        for part in (self.query, self.key_proj, self._value_dense):
            part.build(shape)
        self.out_proj.build((*shape[:-1], 3, 4))

    def call(self, x):
        q, k, v = self.query(x), self.key_proj(x), self._value_dense(x)
        if len(q.shape) == 3:
            q, k, v = (
                keras.ops.reshape(p, (-1, x.shape[1], 3, 4)) for p in (q, k, v)
            )
        scores = keras.ops.einsum("bqhk,bshk->bhqs", q, k)
        weights = keras.ops.softmax(scores)
        return self.out_proj(keras.ops.einsum("bhqs,bshk->bqhk", weights, v))


ATTENTION = {
    "plain": lambda: layers.MultiHeadAttention(3, 4),
    "without bias": lambda: layers.MultiHeadAttention(3, 4, use_bias=False),
    "wide values": lambda: layers.MultiHeadAttention(4, 4, value_dim=2),
    "gate": lambda: layers.MultiHeadAttention(3, 4, use_gate=True),
    "output of two axes": lambda: layers.MultiHeadAttention(
        3, 4, output_shape=(2, 3)
    ),
    "grouped queries": lambda: layers.GroupQueryAttention(4, 6, 2),
    "one key head": lambda: layers.GroupQueryAttention(4, 6, 1),
    "own": Projected,
    "own, other axes": lambda: Projected(swapped=True),
}


def called(layer):
    x = keras.Input((5, 6))
    return keras.Model(
        x, layer(x) if isinstance(layer, Projected) else layer(x, x)
    )


@pytest.mark.parametrize(
    "name", few_of(ATTENTION, "plain", "gate", "grouped queries", "own")
)
def test_groups_are_the_heads(name):
    model = called(ATTENTION[name]())
    kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    check_heads(model, X[:2])


def test_weights_of_a_head():
    model = attention_model()
    changes = kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    assert {change.path for change in changes} == AXES.keys()
    assert all(change.attribute is None for change in changes)


class Altered(layers.MultiHeadAttention):
    """Attention of one's own that uses the projections of Keras's."""

    def _compute_attention(self, query, key, value, *args, **kwargs):
        return super()._compute_attention(query, key, value, *args, **kwargs)


def test_subclass_of_keras_attention_is_known():
    model = called(Altered(3, 4))
    assert len(kreg.attach(model, kreg.GroupLasso(0.1, "heads"))) == 7


class Opaque(Projected):
    """Attention whose code cannot run on symbolic tensors."""

    def call(self, x):
        y = super().call(x)
        if isinstance(y, keras.KerasTensor) and y.shape[0] is not None:
            raise TypeError("values are needed")
        return y


def lora():
    layer = layers.MultiHeadAttention(3, 4)
    model = called(layer)
    layer.query_dense.enable_lora(2)
    return model


UNKNOWN = {
    "opaque": (lambda: called(Opaque(dense=True)), "order of its heads"),
    "no number": (lambda: called(Opaque(tells=False)), "number of its"),
    "lora": (lora, "LoRA"),
    "no attention": (
        lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2)]),
        "no attention layer",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_heads_are_refused_with_the_reason(name):
    make, reason = UNKNOWN[name]
    with pytest.raises(ValueError, match=reason):
        kreg.attach(make(), kreg.GroupLasso(0.1, "heads"))


def test_unknown_heads_beside_known_ones_are_named():
    x = keras.Input((5, 6))
    known = layers.MultiHeadAttention(3, 4, name="known")(x, x)
    model = keras.Model(x, Opaque(dense=True, name="unknown")(known))
    with pytest.warns(
        UserWarning, match="heads of these .* are not known.*own"
    ):
        kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    assert model.get_layer("known").query_dense.kernel.regularizer
    assert model.get_layer("unknown").query.kernel.regularizer is None


def stacked():
    x = keras.Input((5, 6))
    y = layers.MultiHeadAttention(3, 4, name="first")(x, x)
    y = layers.MultiHeadAttention(3, 4, name="second")(y, y)
    return keras.Model(x, layers.Dense(6, name="last")(y))


SELECTORS = {
    "layer": lambda model: model.get_layer("second"),
    "type": lambda model: layers.MultiHeadAttention,
    "pattern": lambda model: "sec*",
}


@pytest.mark.parametrize("select", SELECTORS.values(), ids=SELECTORS)
def test_selector(select):
    model = stacked()
    penalty = kreg.GroupLasso(0.1, "heads")
    kreg.attach(model, [(select(model), penalty), ("first", None)])
    ties = kreg.statistics.read(model).ties
    assert [tie.path for tie in ties] == ["second/heads"]
    assert len(ties[0].weights) == 7


def test_selector_of_weights_is_refused():
    model = attention_model()
    kernel = model.get_layer("attention").query_dense.kernel
    with pytest.raises(TypeError, match="must select layers"):
        kreg.attach(model, [(kernel, kreg.GroupLasso(0.1, "heads"))])


def test_pattern_without_match_is_refused():
    with pytest.raises(ValueError, match="selects none among"):
        kreg.attach(
            attention_model(), {"nothing": kreg.GroupLasso(0.1, "heads")}
        )


def test_tie_is_on_all_weights_or_on_none():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    key = model.get_layer("attention").key_dense.kernel
    changes = kreg.attach(model, [(key, kreg.L1(0.2))])
    assert len(changes) == 7
    assert list(kreg.penalties(model)) == ["attention/key/kernel"]


def test_last_rule_counts():
    model = attention_model()
    heads = kreg.GroupLasso(0.1, "heads")
    kreg.attach(model, [("*", kreg.L1(0.2)), ("attention", heads)])
    assert list(kreg.penalties(model)) == ["attention/heads"]
    kreg.attach(model, [("attention", heads), ("*", kreg.L1(0.2))])
    assert len(kreg.penalties(model)) == 4
    assert kreg.statistics.read(model).ties == ()


def test_penalty_of_the_layer_makes_way():
    model = attention_model(kernel_regularizer=kreg.L1(0.1))
    kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    assert list(kreg.penalties(model)) == ["attention/heads"]
    config = model.get_layer("attention").get_config()
    assert config["kernel_regularizer"] is None


def test_penalty_in_a_constructor_is_refused_with_the_fix():
    model = attention_model(kernel_regularizer=kreg.GroupLasso(0.1, "heads"))
    with pytest.raises(ValueError, match=r"query/kernel.*kreg\.attach"):
        kreg.bind(model)


def test_strip_takes_it_off():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    kreg.strip(model)
    assert model.losses == []
    assert all(v.regularizer is None for v in model.weights)


def test_saved_model_loads_without_the_tie(tmp_path):
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.1, "heads"))
    model.compile(kreg.ProximalOptimizer("sgd"), "mse")
    model.fit(X, Y, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(loaded(X)),
        keras.ops.convert_to_numpy(model(X)),
    )


@pytest.mark.thorough
def test_training_goes_on_from_saved_weights(tmp_path):
    def attached():
        model = attention_model()
        penalty = kreg.GroupLasso(
            kreg.schedules.LinearRamp(0.0, 0.1, steps=8), "heads"
        )
        kreg.attach(model, penalty)
        adam = keras.optimizers.Adam(0.01)
        model.compile(kreg.ProximalOptimizer(adam), "mse", **QUICK)
        return model, penalty

    def train(model):
        model.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)

    whole, penalty = attached()
    train(whole)
    penalty.multiplier = 0.5
    whole.save_weights(tmp_path / "model.weights.h5")
    train(whole)
    resumed, penalty = attached()
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "model.weights.h5")
    assert penalty.multiplier == 0.5
    train(resumed)
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        )


def test_config_keeps_the_groups():
    for penalty in (
        kreg.GroupLasso(0.1, "heads"),
        kreg.SparseGroupLasso(0.1, 0.2, "heads", multiplier=0.5),
    ):
        config = keras.regularizers.serialize(penalty)
        copy = keras.regularizers.deserialize(config)
        assert copy.groups == "heads"
        assert copy.get_config() == penalty.get_config()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_heads_of_keras_hub():
    pytest.importorskip("keras_hub")
    from keras_hub import models as hub

    tokens = {
        "token_ids": RNG.integers(1, 20, size=(2, 5)),
        "padding_mask": np.ones((2, 5), "int32"),
    }
    both = {
        "encoder_token_ids": tokens["token_ids"],
        "encoder_padding_mask": tokens["padding_mask"],
        "decoder_token_ids": tokens["token_ids"],
        "decoder_padding_mask": tokens["padding_mask"],
    }
    table = [
        (
            hub.BertBackbone(20, 1, 3, 12, 8, max_sequence_length=5),
            {**tokens, "segment_ids": np.zeros((2, 5), "int32")},
        ),
        (hub.GPT2Backbone(20, 1, 3, 12, 8, max_sequence_length=5), tokens),
        (hub.GemmaBackbone(20, 1, 4, 2, 16, 8, 4), tokens),
        (hub.LlamaBackbone(20, 1, 4, 16, 8, 2), tokens),
        (hub.MistralBackbone(20, 1, 4, 16, 8, 2), tokens),
        (hub.BloomBackbone(20, 1, 3, 12, 8), tokens),
        (hub.FalconBackbone(20, 1, 3, 12, 8), tokens),
        (hub.GPTNeoXBackbone(20, 1, 2, 16, 8, max_sequence_length=5), tokens),
        (hub.T5Backbone(20, 1, 3, 12, 8, key_value_dim=4), both),
        (
            hub.ViTBackbone((8, 8, 3), 4, 1, 3, 12, 8),
            RNG.normal(size=(2, 8, 8, 3)).astype("float32"),
        ),
    ]
    for backbone, x in table:
        kreg.attach(backbone, kreg.GroupLasso(0.1, "heads"))
        check_heads(backbone, x)
