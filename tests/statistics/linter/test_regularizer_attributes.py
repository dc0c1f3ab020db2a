"""Regularizers of a layer alone, or of a weight alone, for Keras's layers."""

import keras
import pytest
from keras import layers, ops
from linter_models import L2, codes, linear_model, rules, run

import kreg
from kreg.statistics import check

LAYERS = {
    "Dense": ((4,), lambda: layers.Dense(2)),
    "EinsumDense": (
        (4,),
        lambda: layers.EinsumDense("ab,bc->ac", 2, bias_axes="c"),
    ),
    "Embedding": ((4,), lambda: layers.Embedding(5, 2)),
    "Conv2D": ((8, 8, 2), lambda: layers.Conv2D(2, 3)),
    "Conv1DTranspose": ((8, 2), lambda: layers.Conv1DTranspose(2, 3)),
    "DepthwiseConv2D": ((8, 8, 2), lambda: layers.DepthwiseConv2D(3)),
    "SeparableConv2D": ((8, 8, 2), lambda: layers.SeparableConv2D(2, 3)),
    "BatchNormalization": ((4,), layers.BatchNormalization),
    "LayerNormalization": ((4,), layers.LayerNormalization),
    "GroupNormalization": ((4,), lambda: layers.GroupNormalization(2)),
    "PReLU": ((4,), layers.PReLU),
    "SimpleRNN": ((3, 4), lambda: layers.SimpleRNN(2)),
    "LSTM": ((3, 4), lambda: layers.LSTM(2)),
    "GRU": ((3, 4), lambda: layers.GRU(2)),
    "ConvLSTM2D": ((3, 8, 8, 2), lambda: layers.ConvLSTM2D(2, 3)),
    "Bidirectional": ((3, 4), lambda: layers.Bidirectional(layers.LSTM(2))),
    "TimeDistributed": (
        (3, 4),
        lambda: layers.TimeDistributed(layers.Dense(2)),
    ),
    "SpectralNormalization": (
        (4,),
        lambda: layers.SpectralNormalization(layers.Dense(2)),
    ),
}


def owners(layer):
    """The layers that hold the weights and attributes of `layer`."""
    if isinstance(layer, layers.Bidirectional):
        return [layer.forward_layer.cell, layer.backward_layer.cell]
    if isinstance(layer, layers.Wrapper):
        return [layer.layer]
    return [layer.cell if isinstance(layer, layers.RNN) else layer]


def attributes(layer):
    return [
        n
        for n in vars(layer)
        if n.endswith("_regularizer") and "activity" not in n
    ]


def model_of(name):
    shape, layer = LAYERS[name]
    return keras.Sequential([keras.Input(shape), layer()], name="net")


def repair(model):
    """Do what the first finding says until there is none."""
    for _ in model.weights:
        for found in check(model)[:1]:
            run(codes(found)[0], model)
    assert check(model) == ()


def trained(model):
    return [v for v in model.weights if v.trainable]


@pytest.mark.parametrize("name", LAYERS)
def test_attribute_of_a_built_layer_acts_on_nothing(name):
    model = model_of(name)
    expected = 0
    for layer in owners(model.layers[-1]):
        for attribute in attributes(layer):
            setattr(layer, attribute, L2(0.1))
            expected += 1
    assert expected == len(trained(model))  # one for each weight
    assert model.losses == []
    findings = check(model)
    assert {f.rule for f in findings} == {"attribute-without-effect"}
    repair(model)
    assert len(model.losses) == expected


@pytest.mark.parametrize("name", LAYERS)
def test_regularizer_of_a_weight_alone_is_not_saved(name):
    model = model_of(name)
    for variable in trained(model):
        variable.regularizer = L2(0.1)
    assert set(rules(model)) == {"regularizer-not-saved"}
    assert keras.models.clone_model(model).losses == []
    repair(model)
    clone = keras.models.clone_model(model)
    assert len(clone.losses) == len(trained(model))


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_arguments_of_constructors_are_right(name, bound):
    model = model_of(name)
    for layer in owners(model.layers[-1]):
        for attribute in attributes(layer):
            setattr(layer, attribute, kreg.L2(0.1))
    clone = keras.models.clone_model(model)
    if bound:
        kreg.bind(clone)
    assert clone.losses
    assert check(clone) == ()


def test_attention_hands_its_regularizers_on():
    inputs = keras.Input((3, 4))
    attention = layers.MultiHeadAttention(2, 2, kernel_regularizer=L2(0.1))
    model = keras.Model(inputs, attention(inputs, inputs))
    assert len(model.losses) == 4
    assert check(model) == ()


def test_attribute_that_differs_from_the_weights_regularizer():
    model = linear_model(L2(0.5))
    model.layers[0].kernel_regularizer = L2(0.25)
    assert rules(model) == ["attribute-without-effect"]
    assert ops.convert_to_numpy(model.losses[0]) == pytest.approx(0.5 * 6)


def test_saved_and_loaded_model_is_right(tmp_path):
    model = linear_model(kreg.L2(0.5), "sgd")
    model.save(tmp_path / "model.keras")
    assert check(keras.models.load_model(tmp_path / "model.keras")) == ()


def test_weight_that_has_no_attribute_is_not_saved():
    model = keras.Sequential([keras.Input((4,)), layers.RMSNormalization()])
    model.layers[0].scale.regularizer = L2(0.1)
    assert rules(model) == ["regularizer-not-saved"]


def test_activity_regularizer_is_no_weights():
    assert check(linear_model(activity_regularizer=L2(0.1))) == ()


class OwnWeights(layers.Layer):
    """Adds the penalty itself, so its attribute is not its kernel's."""

    def __init__(self, kernel_regularizer=None):
        super().__init__()
        self.kernel_regularizer = kernel_regularizer
        self.scale = self.add_weight(shape=(1,), name="s", regularizer=L2(0.1))

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2), name="kernel")

    def call(self, x):
        self.add_loss(self.kernel_regularizer(self.kernel))
        return ops.matmul(x * self.scale, self.kernel)


class OwnConstructor(layers.Layer):
    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(1,), name="s", regularizer=L2(0.1))

    def call(self, x):
        return x * self.scale


@pytest.mark.parametrize("layer", [lambda: OwnWeights(L2(0.1)), OwnConstructor])
def test_users_layers_may_do_as_they_like(layer):
    assert check(keras.Sequential([keras.Input((4,)), layer()])) == ()


@pytest.mark.thorough
def test_quantized_layer_keeps_its_attribute_only():
    model = linear_model(L2(0.1))
    model.layers[0].quantize("int8")
    assert check(model) == ()


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "float16", "mixed_bfloat16"]
)
def test_other_dtypes(policy):
    keras.config.set_dtype_policy(policy)
    model = linear_model(kreg.L1L2(0.1, 0.1), "adamw")
    assert rules(model, data_loss=0.1) == [
        "no-exact-zeros",
        "l2-and-weight-decay",
        "penalty-exceeds-loss",
    ]


def test_a_wrapper_that_holds_a_weight_too_is_not_its_owner():
    dense = layers.Dense(2, kernel_regularizer=kreg.GroupLasso(0.1))
    model = keras.Sequential(
        [keras.Input((4,)), layers.SpectralNormalization(dense)]
    )
    kreg.bind(model)
    assert check(model) == ()
    assert kreg.statistics.read(model).weights[0].units == 2
