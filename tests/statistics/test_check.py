"""`kreg.check`: each rule against what Keras then really does."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import kreg
from kreg.statistics._linter.check import check

L1, L2 = keras.regularizers.L1, keras.regularizers.L2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = X[:, :1] - 2.0 * X[:, 1:2]  # the other four inputs are noise

ZERO_MAKERS = {
    "L1": lambda: kreg.L1(0.2),
    "L1L2": lambda: kreg.L1L2(0.2, 0.01),
    "MCP": lambda: kreg.MCP(0.2, gamma=20.0),
    "GroupLasso": lambda: kreg.GroupLasso(0.2, groups=(1,)),
    "SparseGroupLasso": lambda: kreg.SparseGroupLasso(0.1, 0.1, groups="units"),
    "L1_ramp": lambda: kreg.L1(kreg.schedules.LinearRamp(0.0, 0.2, steps=9)),
    "L1_factors": lambda: kreg.L1(0.2, factors=[[1.0]] * 6),
}
OTHERS = {
    "none": lambda: None,
    "L2": lambda: kreg.L2(0.2),
    "L2_keras": lambda: L2(0.2),
    "L1L2_without_l1": lambda: kreg.L1L2(l1=0.0, l2=0.2),
    "L1L2_keras": lambda: keras.regularizers.L1L2(l2=0.2),
    "L1_zero": lambda: kreg.L1(0.0),
    "L1_zero_for_ever": lambda: kreg.L1(
        kreg.schedules.LinearRamp(0.0, 0.0, steps=9)
    ),
    "L1_all_factors_zero": lambda: kreg.L1(0.2, factors=0.0),
    "L1_keras_zero": lambda: L1(0.0),
    "callable": lambda: lambda w: 0.1 * ops.sum(ops.abs(w)),
}


def linear_model(regularizer=None, optimizer=None, **arguments):
    """One kernel `last.kernel` of shape (6, 1), all ones."""
    layer = layers.Dense(
        1,
        kernel_regularizer=regularizer,
        kernel_initializer="ones",
        name="last",
        **arguments,
    )
    model = keras.Sequential([keras.Input((6,)), layer], name="net")
    if optimizer is not None:
        model.compile(optimizer, "mse")
    return model


def rules(model, **arguments):
    return [finding.rule for finding in check(model, **arguments)]


def finding(model, rule, **arguments):
    (found,) = [f for f in check(model, **arguments) if f.rule == rule]
    return found


def codes(found):
    return re.findall(r"`([^`]+)`", found.fix)


def run(code, model):
    """The value of a fix's expression; or None, with its statement done."""
    names = {"model": model, "keras": keras, "kreg": kreg}
    try:
        expression = compile(code, "fix", "eval")
    except SyntaxError:
        exec(code, names)
        return None
    return eval(expression, names)


def kernel_of(model):
    return ops.convert_to_numpy(model.layers[-1].kernel)


def train(model, steps):
    x, y = np.tile(X, (steps, 1)), np.tile(Y, (steps, 1))
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)


# no-exact-zeros


@pytest.mark.parametrize("name", ZERO_MAKERS)
def test_zero_maker_needs_a_proximal_optimizer(name):
    model = linear_model(ZERO_MAKERS[name](), "adam")
    assert rules(model) == ["no-exact-zeros"]


@pytest.mark.parametrize("bound", [False, True])
def test_fix_for_no_zeros_makes_them(bound):
    model = linear_model(kreg.L1(0.5), keras.optimizers.Adam(0.05))
    if bound:
        kreg.bind(model)
    found = finding(model, "no-exact-zeros")
    train(model, 200)
    assert np.count_nonzero(kernel_of(model)) == 6
    model.compile(run(codes(found)[0], model), "mse")
    kreg.bind(model)
    train(model, 200)
    assert np.count_nonzero(kernel_of(model)) == 2
    assert check(model) == ()


@pytest.mark.parametrize("name", OTHERS)
def test_no_zeros_are_promised(name):
    model = linear_model(OTHERS[name](), "adam")
    assert "no-exact-zeros" not in rules(model)


@pytest.mark.parametrize(
    "wrap",
    [
        kreg.ProximalOptimizer,
        lambda adam: keras.optimizers.LossScaleOptimizer(
            kreg.ProximalOptimizer(adam)
        ),
    ],
)
@pytest.mark.parametrize("name", ZERO_MAKERS)
def test_zero_maker_under_a_proximal_optimizer(name, wrap):
    optimizer = wrap(keras.optimizers.Adam())
    assert check(linear_model(ZERO_MAKERS[name](), optimizer)) == ()


def test_without_an_optimizer_no_zeros_are_missed():
    assert check(linear_model(kreg.L1(0.1))) == ()


def test_optimizer_of_a_custom_loop_counts():
    model = linear_model(kreg.L1(0.1), "adam")
    kreg.bind(model, kreg.ProximalOptimizer("adam"))
    assert check(model) == ()
    model = linear_model(kreg.L1(0.1))
    kreg.bind(model, keras.optimizers.Adam())
    found = finding(model, "no-exact-zeros")
    assert "`kreg.ProximalOptimizer(optimizer)`" in found.fix


def test_optimizer_that_was_built_may_be_replaced():
    model = linear_model(kreg.L1(0.1), kreg.ProximalOptimizer("adam"))
    model.optimizer.build(model.trainable_variables)
    assert check(model) == ()
    model.compile("adam", "mse")
    assert rules(model) == ["no-exact-zeros"]


def test_keras_l1_makes_no_zeros_even_under_a_proximal_optimizer():
    optimizer = kreg.ProximalOptimizer(keras.optimizers.Adam(0.05))
    model = linear_model(L1(0.5), optimizer)
    found = finding(model, "no-exact-zeros")
    train(model, 200)
    assert np.count_nonzero(kernel_of(model)) == 6
    run(codes(found)[0], model)
    model.compile(optimizer, "mse")
    kreg.bind(model)
    train(model, 200)
    assert np.count_nonzero(kernel_of(model)) == 2
    assert check(model) == ()


def test_keras_l1l2_is_replaced_by_the_same_strengths():
    model = linear_model(keras.regularizers.L1L2(0.25, 0.5), "adam")
    replacement, optimizer = codes(finding(model, "no-exact-zeros"))
    run(replacement, model)
    assert model.layers[0].kernel.regularizer.get_config() == {
        "l1": 0.25,
        "l2": 0.5,
        "multiplier": 1.0,
    }
    assert isinstance(run(optimizer, model), kreg.ProximalOptimizer)


@pytest.mark.parametrize("optimizer", ["lion", "ftrl", "muon"])
def test_fix_names_an_optimizer_that_can_be_wrapped(optimizer):
    found = finding(linear_model(kreg.L1(0.1), optimizer), "no-exact-zeros")
    run(codes(found)[0], None)


def test_fix_reaches_into_a_loss_scale_optimizer():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    model = linear_model(kreg.L1(0.1), scaled)
    wrapped = run(codes(finding(model, "no-exact-zeros"))[0], model)
    assert wrapped.inner_optimizer is scaled.inner_optimizer


def test_suspended_penalty_is_silent():
    model = linear_model(kreg.L1(0.1), "adam")
    kreg.freeze_support(model)
    assert check(model) == ()


# averages-undo-zeros


def model_with_kept_zeros():
    model = linear_model(kreg.L1(0.1))
    model.layers[0].kernel.assign([[1.0]] * 2 + [[0.0]] * 4)
    kreg.freeze_support(model)
    return model


@pytest.mark.parametrize("fix", [0, 1])
def test_averages_undo_zeros_that_are_kept(fix):
    model = model_with_kept_zeros()
    model.compile(keras.optimizers.Adam(0.1, use_ema=True), "mse")
    assert rules(model) == ["averages-undo-zeros"]
    code = codes(finding(model, "averages-undo-zeros"))[fix]
    train(model, 3)
    assert np.count_nonzero(kernel_of(model)) == 6  # the rule is right
    model = model_with_kept_zeros()
    model.compile(keras.optimizers.Adam(0.1, use_ema=True), "mse")
    optimizer = run(code, model) or model.optimizer
    model.compile(optimizer, "mse")
    train(model, 3)
    assert np.count_nonzero(kernel_of(model)) == 2
    assert check(model) == ()


def test_averages_undo_zeros_that_a_penalty_makes():
    model = linear_model(kreg.L1(0.1), keras.optimizers.Adam(use_ema=True))
    assert rules(model) == ["no-exact-zeros", "averages-undo-zeros"]


def test_fix_for_averages_that_overwrite_can_be_run():
    adam = keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=2)
    model = linear_model(kreg.L1(0.1), adam)
    run(codes(finding(model, "averages-undo-zeros"))[1], model)


@pytest.mark.parametrize(
    ("regularizer", "optimizer"),
    [
        (kreg.L1(0.1), kreg.ProximalOptimizer),
        (kreg.L2(0.1), lambda adam: adam),
        (None, lambda adam: adam),
    ],
)
def test_averages_do_no_harm(regularizer, optimizer):
    adam = keras.optimizers.Adam(use_ema=True)
    assert check(linear_model(regularizer, optimizer(adam))) == ()


def test_kept_support_without_zeros_has_none_to_lose():
    model = linear_model(kreg.L1(0.1))
    kreg.freeze_support(model)
    model.compile(keras.optimizers.Adam(use_ema=True), "mse")
    assert check(model) == ()


@pytest.mark.parametrize("averaged", ["kernel", "bias"])
def test_averages_of_one_of_several_optimizers(averaged):
    model = model_with_kept_zeros()
    ema = keras.optimizers.Adam(use_ema=True)
    chosen = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(), {f".*/{averaged}": ema}
    )
    model.compile(keras.optimizers.MultiOptimizer(chosen), "mse")
    assert ("averages-undo-zeros" in rules(model)) == (averaged == "kernel")


# l2-and-weight-decay


def proximal_in_scaled(sgd):
    return keras.optimizers.LossScaleOptimizer(kreg.ProximalOptimizer(sgd))


def several(sgd):
    chosen = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(), {".*/kernel": sgd}
    )
    return keras.optimizers.MultiOptimizer(chosen)


WRAPPINGS = {
    "bare": lambda sgd: sgd,
    "proximal": kreg.ProximalOptimizer,
    "proximal_in_scaled": proximal_in_scaled,
    "several": several,
    "proximal_around_several": lambda sgd: kreg.ProximalOptimizer(several(sgd)),
    "function": lambda sgd: keras.optimizers.MultiOptimizer(lambda v: sgd),
}
RIDGES = {
    "L2": lambda: kreg.L2(0.25),
    "L2_keras": lambda: L2(0.25),
    "L1L2": lambda: kreg.L1L2(0.0, 0.25),
    "L1L2_keras": lambda: keras.regularizers.L1L2(0.0, 0.25),
    "L2_factors": lambda: kreg.L2(0.25, factors=[[1.0]] * 6),
}


def one_update(model):
    """The factor that an update without data gradient leaves of the kernel."""
    kreg.bind(model)
    zeros = np.zeros((4, 6)), np.zeros((4, 1))
    model.fit(*zeros, batch_size=4, verbose=0)
    return float(kernel_of(model)[0, 0])


@pytest.mark.parametrize(
    ("name", "wrapping"),
    [*((name, "bare") for name in RIDGES), *(("L2", w) for w in WRAPPINGS)],
)
def test_l2_and_weight_decay_both_shrink(name, wrapping):
    def decaying_model(penalty):
        sgd = keras.optimizers.SGD(0.1, weight_decay=0.5)
        return linear_model(penalty, WRAPPINGS[wrapping](sgd))

    model = decaying_model(RIDGES[name]())
    assert rules(model) == ["l2-and-weight-decay"]
    found = finding(model, "l2-and-weight-decay")
    both = one_update(model)
    proximal = "proximal" in wrapping and "keras" not in name
    assert both == pytest.approx(0.95 / 1.05 if proximal else 0.95 - 0.05)
    assert one_update(decaying_model(None)) == pytest.approx(0.95)
    if wrapping == "function":
        return  # the optimizer is in no list that the fix could name
    l2_alone = 1.0 / 1.05 if proximal else 0.95
    for code, left in zip(codes(found), (l2_alone, 0.95), strict=True):
        model = decaying_model(RIDGES[name]())
        run(code, model)
        assert check(model) == ()
        assert one_update(model) == pytest.approx(left)


def test_adamw_decays_by_default():
    found = finding(linear_model(L2(0.1), "adamw"), "l2-and-weight-decay")
    assert "weight_decay=0.004 of AdamW" in found.message


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adafactor"])
def test_no_weight_decay_by_default(optimizer):
    assert check(linear_model(L2(0.1), optimizer)) == ()


@pytest.mark.parametrize("name", [n for n in OTHERS if "2" not in n])
def test_weight_decay_without_l2(name):
    assert "l2-and-weight-decay" not in rules(
        linear_model(OTHERS[name](), "adamw")
    )


@pytest.mark.parametrize("how", ["by_variable", "by_name", "bias"])
def test_weights_excluded_from_decay(how):
    model = linear_model(L2(0.1))
    adamw = keras.optimizers.AdamW()
    adamw.exclude_from_weight_decay(
        **{
            "by_variable": {"var_list": [model.layers[0].kernel]},
            "by_name": {"var_names": ["kernel"]},
            "bias": {"var_names": ["bias"]},
        }[how]
    )
    model.compile(adamw, "mse")
    assert bool(check(model)) == (how == "bias")


# frozen-weight


@pytest.mark.parametrize("freeze", ["layer", "model", "variable"])
@pytest.mark.parametrize("compiled", [False, True])
def test_penalty_of_a_frozen_weight_acts_on_nothing(freeze, compiled):
    model = linear_model(L2(0.5), "sgd" if compiled else None)
    layer = model.layers[0]
    frozen = {"layer": layer, "model": model, "variable": layer.kernel}[freeze]
    frozen.trainable = False
    assert rules(model) == ["frozen-weight"]
    assert model.losses == []
    run(codes(finding(model, "frozen-weight"))[0], model)
    assert ops.convert_to_numpy(model.losses[0]) == pytest.approx(0.5 * 6)
    assert check(model) == ()


def test_regularizer_of_a_frozen_weight_can_be_taken_off():
    model = linear_model(L2(0.5))
    model.layers[0].trainable = False
    run(codes(finding(model, "frozen-weight"))[1], model)
    assert check(model) == ()
    assert model.layers[0].get_config()["kernel_regularizer"] is None


def test_frozen_weight_without_regularizer():
    model = linear_model()
    model.layers[0].trainable = False
    assert check(model) == ()


def test_no_other_rule_speaks_of_frozen_weights():
    penalty = kreg.L1L2(0.1, 0.1, multiplier=0.0)
    model = linear_model(penalty, keras.optimizers.AdamW(use_ema=True))
    model.layers[0].trainable = False
    assert rules(model, data_loss=0.0) == ["frozen-weight"]


def test_lora_moves_the_regularizer():
    model = linear_model(L2(0.1), "sgd")
    model.layers[0].enable_lora(1)
    assert check(model) == ()


# attribute-without-effect and regularizer-not-saved


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
}


def owners(layer):
    """The layers that hold the weights and attributes of `layer`."""
    if isinstance(layer, layers.Bidirectional):
        return [layer.forward_layer.cell, layer.backward_layer.cell]
    if isinstance(layer, layers.TimeDistributed):
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


# ftrl-first-step


def test_ftrl_replaces_weights_in_its_first_step():
    model = linear_model(None, keras.optimizers.Ftrl(0.01))
    assert rules(model) == ["ftrl-first-step"]
    model.fit(np.zeros((4, 6)), np.zeros((4, 1)), verbose=0)
    assert (kernel_of(model) == 0.0).all()
    assert check(model) == ()


def test_ftrl_after_its_first_step():
    model = linear_model(None, "ftrl")
    train(model, 1)
    assert np.count_nonzero(kernel_of(model))
    assert check(model) == ()


def test_fix_for_ftrl_keeps_the_weights():
    model = linear_model(None, keras.optimizers.Ftrl(0.01))
    found = finding(model, "ftrl-first-step")
    assert found.path == "net/last/kernel"  # not the bias, which is zero
    model.compile(run(codes(found)[0], model), "mse")
    assert check(model) == ()
    model.fit(np.zeros((4, 6)), np.zeros((4, 1)), verbose=0)
    assert (kernel_of(model) == 1.0).all()


def test_ftrl_from_zero_has_nothing_to_lose():
    model = linear_model(None, "ftrl")
    model.layers[0].kernel.assign(np.zeros((6, 1)))
    assert check(model) == ()


@pytest.mark.parametrize("chosen", ["kernel", "bias"])
def test_ftrl_as_one_of_several_optimizers(chosen):
    choice = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(), {f".*/{chosen}": keras.optimizers.Ftrl()}
    )
    model = linear_model(None, keras.optimizers.MultiOptimizer(choice))
    assert bool(check(model)) == (chosen == "kernel")


# l2-before-batch-norm


def dense(**arguments):
    arguments = {"kernel_regularizer": kreg.L2(0.1), **arguments}
    return layers.Dense(4, name="before", **arguments)


def bn(**arguments):
    arguments = {"name": "bn", **arguments}
    return layers.BatchNormalization(epsilon=1e-9, **arguments)


def functional(build, shape=(4,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def shared(before, after):
    return functional(lambda x: after(before(before(x))))


def nested(*parts):
    return keras.Sequential([keras.Input((4,)), *parts])


BEFORE_NORM = {
    "sequential": lambda: nested(dense(), bn()),
    "grown": lambda: grown(),
    "no_input": lambda: built(keras.Sequential([dense(), bn()])),
    "functional": lambda: functional(lambda x: bn()(dense()(x))),
    "keras_l2": lambda: nested(dense(kernel_regularizer=L2(0.1)), bn()),
    "first_of_nested": lambda: nested(dense(), nested(bn(), layers.ReLU())),
    "last_of_nested": lambda: nested(nested(dense()), bn()),
    "in_nested": lambda: nested(nested(dense(), bn()), layers.Dense(2)),
    "deep": lambda: nested(nested(nested(dense())), nested(nested(bn()))),
    "branches": lambda: functional(lambda x: two_norms(dense()(x))),
    "through_identity": lambda: functional(lambda x: twice(dense()(x))),
    "conv": lambda: nested(
        layers.Reshape((4, 1)),
        layers.Conv1D(3, 2, kernel_regularizer=kreg.L2(0.1), name="before"),
        bn(),
    ),
    "depthwise": lambda: nested(
        layers.Reshape((2, 2)),
        layers.DepthwiseConv1D(
            2, depthwise_regularizer=kreg.L2(0.1), name="before"
        ),
        bn(),
    ),
}
NOT_BEFORE_NORM = {
    "activation": lambda: nested(dense(activation="relu"), bn()),
    "other_layer_between": lambda: nested(dense(), layers.ReLU(), bn()),
    "layer_norm": lambda: nested(dense(), layers.LayerNormalization()),
    "two_consumers": lambda: functional(lambda x: skip(dense()(x))),
    "is_an_output": lambda: functional(lambda x: both(dense()(x))),
    "nested_is_an_output": lambda: functional(
        lambda x: both(nested(dense())(x))
    ),
    "frozen_norm": lambda: nested(dense(), bn(trainable=False)),
    "inference": lambda: functional(lambda x: bn()(dense()(x), training=False)),
    "nested_inference": lambda: functional(
        lambda x: nested(dense(), bn())(x, training=False)
    ),
    "used_twice": lambda: shared(dense(), bn()),
    "no_l2": lambda: nested(dense(kernel_regularizer=None), bn()),
    "bias_only": lambda: nested(
        dense(kernel_regularizer=None, bias_regularizer=L2(0.1)), bn()
    ),
    "activity": lambda: nested(dense(activity_regularizer=L2(0.1)), bn()),
    "strength_0": lambda: nested(dense(kernel_regularizer=kreg.L2(0.0)), bn()),
    "after_norm": lambda: nested(bn(), dense()),
    "beside_l1": lambda: nested(
        dense(kernel_regularizer=kreg.L1L2(0.1, 0.1)), bn()
    ),
    "subclass": lambda: built(Subclass()),
    "own_call": lambda: nested(Centred(4, kernel_regularizer=L2(0.1)), bn()),
}


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = keras.Sequential([keras.Input((4,)), dense(), bn()])

    def call(self, x):
        return self.block(x, training=False)


class Centred(layers.Dense):
    def call(self, x):
        return super().call(x) + x


def grown():
    model = nested(dense())
    model.add(bn())
    model.add(layers.Dense(1))
    return model


def built(model):
    model(np.ones((2, 4), "float32"))
    return model


def two_norms(x):
    return layers.Add()([bn()(x), bn(name="other")(x)])


def twice(x):
    """Through a model that gives back what it is given, called twice."""
    identity = functional(lambda inputs: inputs)
    return bn()(identity(identity(x)))


def skip(x):
    return layers.Add()([bn()(x), x])


def both(x):
    return [bn()(x), x]


@pytest.mark.parametrize("name", BEFORE_NORM)
def test_batch_norm_takes_out_the_scale(name):
    model = BEFORE_NORM[name]()
    assert rules(model) == ["l2-before-batch-norm"]
    assert finding(model, "l2-before-batch-norm").path.endswith("before/kernel")
    x = RNG.normal(size=(16, 4)).astype("float32")
    before = ops.convert_to_numpy(model(x, training=True))
    for variable in model.weights:
        if variable.path.endswith("before/kernel"):
            variable.assign(3.0 * variable)
    after = ops.convert_to_numpy(model(x, training=True))
    np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("name", NOT_BEFORE_NORM)
def test_scale_is_not_taken_out(name):
    assert check(NOT_BEFORE_NORM[name]()) == ()


def test_fix_for_l2_before_batch_norm():
    model = BEFORE_NORM["last_of_nested"]()
    take_off, gamma = codes(finding(model, "l2-before-batch-norm"))
    run(take_off, model)
    assert check(model) == ()
    assert run(gamma, model) is model.layers[1].gamma


# penalty-exceeds-loss


@pytest.mark.parametrize("bound", [False, True])
def test_penalty_larger_than_the_data_loss(bound):
    model = linear_model(kreg.L2(0.5), bias_regularizer=L2(0.1))
    model.layers[0].bias.assign([2.0])
    if bound:
        kreg.bind(model)
    penalty = 0.5 * 6 + 0.1 * 4
    assert check(model, data_loss=penalty + 0.01) == ()
    assert rules(model, data_loss=penalty - 0.01) == ["penalty-exceeds-loss"]
    found = finding(model, "penalty-exceeds-loss", data_loss=2.0)
    assert found.path == "net/last/kernel, net/last/bias"
    assert "3.4, more than the data loss of 2" in found.message


def test_fix_brings_the_penalty_to_a_tenth():
    model = linear_model(kreg.L2(0.5))
    for code in reversed(
        codes(finding(model, "penalty-exceeds-loss", data_loss=2.0))
    ):
        run(code, model)
    assert sum(kreg.penalties(model).values()) == pytest.approx(0.2, rel=0.2)
    assert check(model, data_loss=2.0) == ()


def test_no_data_loss_no_comparison():
    assert check(linear_model(kreg.L2(1e6))) == ()


@pytest.mark.parametrize("data_loss", [0.0, -1.0, np.float32(1.0), 2])
def test_any_finite_data_loss(data_loss):
    assert rules(linear_model(kreg.L2(0.5)), data_loss=data_loss) == [
        "penalty-exceeds-loss"
    ]


def test_negative_data_loss_counts_by_its_size():
    assert check(linear_model(kreg.L2(0.5)), data_loss=-10.0) == ()


def test_penalty_is_that_of_the_optimizers_iteration():
    ramp = kreg.schedules.LinearRamp(0.0, 1.0, steps=10)
    model = linear_model(kreg.L2(ramp), "sgd")
    assert check(model, data_loss=1.0) == ()
    model.optimizer.iterations.assign(10)
    assert rules(model, data_loss=1.0) == ["penalty-exceeds-loss"]


# zero-at-the-end

S, K = kreg.schedules, keras.optimizers.schedules
ENDS_AT_ZERO = {
    "linear": lambda: S.LinearRamp(0.1, 0.0, steps=7),
    "cosine": lambda: S.CosineRamp(0.1, 0.0, steps=5_000_000),
    "keras_cosine": lambda: K.CosineDecay(
        0.0, 1000, warmup_target=0.1, warmup_steps=9
    ),
    "polynomial": lambda: K.PolynomialDecay(0.1, 1000, 0.0),
    "steps": lambda: K.PiecewiseConstantDecay([100], [0.1, 0.0]),
    "join": lambda: S.Join([S.LinearRamp(0.0, 0.1, steps=4), 0.0], [6]),
    "always": lambda: S.LinearRamp(0.0, 0.0, steps=7),
}
ENDS_ABOVE = {
    "linear": lambda: S.LinearRamp(0.0, 0.1, steps=7),
    "exponential": lambda: K.ExponentialDecay(0.1, 1000, 0.96),
    "halving": lambda: K.ExponentialDecay(0.1, 10, 0.5, staircase=True),
    "inverse": lambda: K.InverseTimeDecay(0.1, 1, 0.5),
    "restarts": lambda: K.CosineDecayRestarts(0.1, 1000),
    "late": lambda: S.Delay(0.5, steps=5_000_000),
    "cycle": lambda: S.Cycle(S.LinearRamp(0.0, 0.1, steps=500), period=1000),
    "rare": lambda: S.Cycle(S.Delay(0.1, steps=900), period=1000),
    "number": lambda: 0.1,
}


@pytest.mark.parametrize("name", ENDS_AT_ZERO)
def test_schedule_that_ends_at_zero(name):
    found = finding(
        linear_model(kreg.L2(ENDS_AT_ZERO[name]())), "zero-at-the-end"
    )
    assert "`l2` of its L2" in found.message
    schedule = run(codes(found)[0], None)
    assert check(linear_model(kreg.L2(schedule))) == ()


@pytest.mark.parametrize("name", ENDS_ABOVE)
def test_schedule_that_has_a_say_at_the_end(name):
    assert check(linear_model(kreg.L2(ENDS_ABOVE[name]()))) == ()


@pytest.mark.parametrize(
    ("schedule", "steps", "zero"),
    [
        (lambda: S.LinearRamp(0.1, 0.0, steps=100), 99, False),
        (lambda: S.LinearRamp(0.1, 0.0, steps=100), 100, True),
        (lambda: S.LinearRamp(0.1, 0.0, steps=100), 1, False),
        (lambda: S.Delay(0.1, steps=100), 100, False),
        (lambda: S.Delay(0.1, steps=100), 99, True),
        (lambda: S.Delay(S.LinearRamp(0.0, 0.1, 9), steps=100), 100, True),
        (lambda: S.Cycle(S.LinearRamp(0.0, 0.1, 50), period=50), 100, False),
    ],
)
def test_planned_steps(schedule, steps, zero):
    model = linear_model(kreg.L2(schedule()))
    expected = ["zero-at-the-end"] if zero else []
    assert rules(model, steps=steps) == expected


def test_each_strength_counts():
    ramp = S.LinearRamp(0.1, 0.0, steps=7)
    model = linear_model(kreg.L1L2(l1=ramp, l2=0.1))
    assert "`l1` of its L1L2" in finding(model, "zero-at-the-end").message


@pytest.mark.parametrize(
    "penalty", [lambda: kreg.L1L2(l1=0.0, l2=0.1), lambda: kreg.L2(0.0)]
)
def test_strength_that_the_user_sets_to_zero(penalty):
    assert check(linear_model(penalty())) == ()


def test_multiplier_of_zero():
    model = linear_model(kreg.L2(0.1, multiplier=0.0))
    bind, code = codes(finding(model, "zero-at-the-end"))
    run(bind, model)
    run(code, model)
    assert check(model) == ()
    assert kreg.penalties(model)["net/last/kernel"] == pytest.approx(0.6)


# All rules


def everything():
    """A model in which many rules have something to say."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            dense(),
            bn(),
            layers.Dense(3, kernel_regularizer=kreg.L1(0.1), name="l1"),
            layers.Dense(
                3,
                kernel_regularizer=kreg.L2(S.LinearRamp(0.1, 0.0, steps=9)),
                bias_regularizer=L1(0.1),
                name="ramp",
            ),
            layers.Dense(1, kernel_regularizer=L2(0.1), name="frozen"),
        ],
        name="net",
    )
    model.get_layer("frozen").trainable = False
    model.get_layer("l1").bias_regularizer = L2(0.1)
    model.compile(keras.optimizers.AdamW(use_ema=True), "mse")
    return model


@pytest.mark.parametrize("bound", [False, True])
def test_nothing_is_changed_or_printed(bound, capsys):
    model = everything()
    model.optimizer.build(model.trainable_variables)
    if bound:
        kreg.bind(model)
    model.make_train_function()
    step = model.train_function

    def state():
        variables = [*model.variables, *model.optimizer.variables]
        return (
            [ops.convert_to_numpy(v).tolist() for v in variables],
            [(id(v.regularizer), id(v.constraint)) for v in model.weights],
            model.to_json(),
            set(vars(model.optimizer)),
            [set(vars(layer)) for layer in model.layers],
        )

    before = state()
    assert len(check(model, steps=20, data_loss=0.01)) > 5
    assert state() == before
    assert model.train_function is step
    assert capsys.readouterr() == ("", "")


def test_every_finding_is_one_line_that_names_the_weight_and_a_fix():
    for found in check(everything(), steps=20, data_loss=0.01):
        assert "\n" not in str(found)
        assert str(found).startswith(found.path)
        assert found.message in str(found)
        assert len(str(found)) > len(found.path) + len(found.message) + 20
        assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", found.rule)


def test_line_breaks_in_names_do_not_break_the_line():
    layer = layers.Dense(2, kernel_regularizer=L1(0.1), name="a\nb")
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("adam", "mse")
    assert "\n" not in str(check(model)[0])


def test_finding_is_frozen():
    found = check(linear_model(kreg.L1(0.1), "adam"))[0]
    with pytest.raises(AttributeError):
        found.rule = "other"


class Wide(keras.Model):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def build(self, shape):
        for part in self.parts:
            part.build(shape)

    def call(self, x):
        return sum(part(x) for part in self.parts)


def test_a_thousand_layers_make_a_handful_of_lines():
    model = Wide(
        [
            layers.Dense(2, kernel_regularizer=kreg.L1L2(0.1, 0.1), name=name)
            for name in map("d{}".format, range(1000))
        ]
    )
    model.build((None, 3))
    model.compile(keras.optimizers.AdamW(use_ema=True), "mse")
    findings = check(model)
    assert len(findings) == 3
    for found in findings:
        assert found.path.endswith("/d2/kernel and 997 more")


def test_fix_of_one_is_likewise_for_the_others():
    model = nested(layers.Dense(4, name="a"), layers.Dense(4, name="b"))
    for layer in model.layers:
        layer.kernel_regularizer = L2(0.1)
    (found,) = check(model)
    assert "get_layer('a')" in found.fix
    assert found.fix.endswith("likewise for the others")


def test_shared_layer_is_named_once():
    layer = layers.Dense(4, kernel_regularizer=kreg.L1(0.1), name="shared")
    model = functional(lambda x: layer(layer(x)))
    model.compile("adam", "mse")
    assert [f.path for f in check(model)] == ["shared/kernel"]


def test_equal_paths_are_told_apart():
    def part():
        layer = layers.Dense(2, kernel_regularizer=kreg.L1(0.1), name="same")
        return functional(layer, (2,))

    model = functional(lambda x: part()(part()(x)), (2,))
    model.compile("adam", "mse")
    assert check(model)[0].path == "same/kernel, same/kernel#2"


class Raising(layers.Layer):
    """A layer whose properties raise, with a weight whose callables do."""

    def build(self, shape):
        def raising(w):
            raise RuntimeError("not now")

        self.kernel = self.add_weight(
            shape=(shape[-1], 2), name="kernel", regularizer=raising
        )
        self.kernel.constraint = lambda w: 1 / 0
        self.other = self.add_weight(shape=(), regularizer=WithoutConfig())

    @property
    def kernel_regularizer(self):
        raise RuntimeError("no regularizer")

    @property
    def activation(self):
        raise KeyError("no activation")

    def call(self, x):
        return ops.matmul(x, self.kernel) + self.other


class WithoutConfig(keras.regularizers.Regularizer):
    def __call__(self, w):
        raise ValueError("no value")

    def get_config(self):
        raise NotImplementedError


class RaisingSchedule(K.LearningRateSchedule):
    def __call__(self, step):
        if ops.convert_to_numpy(step).any():
            raise RuntimeError("no value")
        return 0.1

    def get_config(self):
        raise NotImplementedError


class RaisingPenalty(kreg.L2):
    def proximal_step(self, w, effective_step, strengths, groups=None):
        raise RuntimeError("no step")

    def grouping(self, shape, layout=None):
        raise RuntimeError("no groups")


class RaisingModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.parts = [
            Raising(),
            layers.Dense(2, kernel_regularizer=kreg.L1(RaisingSchedule())),
            layers.Dense(2, kernel_regularizer=RaisingPenalty(0.1)),
            layers.BatchNormalization(gamma_regularizer=WithoutConfig()),
        ]
        self.unused = layers.Dense(2, kernel_regularizer=kreg.L1(0.1))

    @property
    def layers(self):
        raise RuntimeError("no layers")

    def build(self, shape):
        for part in self.parts:
            part.build((None, 3) if part is self.parts[0] else (None, 2))

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def choose_nothing(variable):
    raise RuntimeError("no optimizer")


@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        lambda: keras.optimizers.AdamW(use_ema=True),
        lambda: keras.optimizers.MultiOptimizer(choose_nothing),
        lambda: keras.optimizers.Ftrl(),
    ],
)
def test_hostile_model_raises_nothing(optimizer):
    with pytest.MonkeyPatch.context() as patch:
        # Keras itself evaluates regularizers when it builds a model.
        patch.setattr(keras.layers.Layer, "losses", [])
        model = RaisingModel()
        model(np.ones((2, 3), "float32"))
    if optimizer is not None:
        model.compile(optimizer(), "mse")
    check(model, steps=10, data_loss=0.0)


def test_mobile_net_is_right():
    model = keras.applications.MobileNetV2(weights=None, classes=2)
    model.compile("adam", "mse")
    assert check(model, steps=1000, data_loss=1.0) == ()


@pytest.mark.parametrize("value", [None, "net", layers.Dense(1)])
def test_no_model(value):
    with pytest.raises(TypeError, match=r"`model` must be a `keras\.Model`"):
        check(value)


def test_model_that_is_not_built():
    with pytest.raises(ValueError, match="`model` must be built"):
        check(keras.Sequential([layers.Dense(1)]))


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("steps", 0, ValueError),
        ("steps", -1, ValueError),
        ("steps", 1.5, TypeError),
        ("steps", True, TypeError),
        ("data_loss", "1", TypeError),
        ("data_loss", True, TypeError),
        ("data_loss", np.nan, ValueError),
        ("data_loss", np.inf, ValueError),
    ],
)
def test_bad_argument(argument, value, error):
    with pytest.raises(error, match=f"`{argument}` must be"):
        check(linear_model(), **{argument: value})
