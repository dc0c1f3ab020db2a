"""`kreg.strip` on models whose optimizers are in attributes, as GANs have."""

import collections

import keras
import numpy as np
import pytest
from keras import layers, ops

import kreg

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Pair = collections.namedtuple("Pair", ["g", "d"])


class Held(keras.Model):
    """Two parts, a training step of its own, and optimizers in `hold`."""

    def __init__(self, hold):
        super().__init__()
        self.g = layers.Dense(4, kernel_regularizer=kreg.L1(0.01), name="g")
        self.d = layers.Dense(1, kernel_regularizer=kreg.L2(0.01), name="d")
        hold(self)

    def call(self, x):
        return self.d(self.g(x))


def proximal(rate=0.1):
    return kreg.ProximalOptimizer(keras.optimizers.SGD(rate, momentum=0.9))


def scaled():
    return keras.optimizers.LossScaleOptimizer(proximal())


def scheduled():
    return keras.optimizers.SGD(
        kreg.schedules.LinearRamp(0.1, 0.2, steps=10), momentum=0.9
    )


def as_attributes(model):
    model.g_optimizer, model.d_optimizer = proximal(), proximal()


def in_a_list(model):
    model.optimizers = [proximal(), keras.optimizers.SGD(0.1)]


def in_a_tuple(model):
    model.optimizers = (proximal(), 3.0)


def in_a_named_tuple(model):
    model.optimizers = Pair(proximal(), proximal())


def in_a_dict_of_lists(model):
    model.optimizers = {"all": [[proximal()], "text"], "none": None}


def on_a_layer(model):
    model.g.optimizer = proximal()
    model.d.own = {"optimizer": proximal()}


def on_an_inner_model(model):
    model.inner = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.inner.compile(proximal(), "mse")
    model.inner.spare = proximal()


def scaled_in_an_attribute(model):
    model.g_optimizer = scaled()


def with_a_schedule(model):
    model.g_optimizer = scheduled()


def one_in_two_places(model):
    model.first = model.second = proximal()
    model.third = [model.first]


def around_itself(model):
    model.optimizers = [proximal()]
    model.optimizers.append(model.optimizers)


PLACES = {
    hold.__name__: hold
    for hold in (
        as_attributes,
        in_a_list,
        in_a_tuple,
        in_a_named_tuple,
        in_a_dict_of_lists,
        on_a_layer,
        on_an_inner_model,
        scaled_in_an_attribute,
        with_a_schedule,
        one_in_two_places,
        around_itself,
    )
}


def objects_in(value, seen):
    """Every object in attributes and containers, optimizers in them too."""
    if id(value) in seen or isinstance(value, (str, int, float)):
        return
    seen[id(value)] = value
    if isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, (list, tuple)):
        inside = list(value)
    elif isinstance(
        value, (keras.layers.Layer, keras.optimizers.Optimizer)
    ) and not isinstance(value, keras.metrics.Metric):
        inside = [v for k, v in vars(value).items() if k[:6] != "_self_"]
    else:
        return
    for part in inside:
        objects_in(part, seen)


def objects_of(model):
    seen = {}
    objects_in(model, seen)
    return list(seen.values())


def is_of_kreg(value):
    return type(value).__module__.startswith("kreg")


def made(name, part=None):
    keras.utils.set_random_seed(0)

    def hold(model):
        model.part = part
        PLACES[name](model)

    model = Held(hold)
    model(X)
    for optimizer in objects_of(model):
        if isinstance(optimizer, kreg.ProximalOptimizer):
            optimizer.build(model.trainable_variables)
            optimizer.iterations.assign(3)
    return model


@pytest.mark.parametrize("name", PLACES)
def test_no_optimizer_of_kreg_is_left(name):
    model = made(name)
    inner = [
        o.inner_optimizer
        for o in objects_of(model)
        if isinstance(o, kreg.ProximalOptimizer)
    ]
    assert any(map(is_of_kreg, objects_of(model)))
    changes = kreg.strip(model)
    left = objects_of(model)
    assert [value for value in left if is_of_kreg(value)] == []
    for optimizer in inner:  # with its momenta and its iterations
        assert any(optimizer is value for value in left)
        assert int(ops.convert_to_numpy(optimizer.iterations)) == 3
    assert len(changes) >= 3  # two regularizers, and at least one optimizer
    assert len(kreg.strip(model)) == 0


def test_the_record_names_the_place():
    model = made("in_a_dict_of_lists")
    changes = kreg.strip(model)
    (place,) = [c.attribute for c in changes if "optim" in str(c.attribute)]
    assert place == "optimizers['all'][0][0]"


def test_rate_of_the_step_takes_the_place_of_a_schedule():
    model = made("with_a_schedule")
    model.g_optimizer.build(model.trainable_variables)
    model.g_optimizer.iterations.assign(5)
    kreg.strip(model)
    assert float(ops.convert_to_numpy(model.g_optimizer.learning_rate)) == (
        pytest.approx(0.15)
    )


@pytest.mark.parametrize("name", PLACES)
def test_what_is_out_of_reach_leaves_all_as_it_was(name):
    @keras.saving.register_keras_serializable(package="kreg_tests")
    class Keeping(layers.Layer):
        def get_config(self):
            return {
                **super().get_config(),
                "mine": keras.saving.serialize_keras_object(kreg.L1(0.1)),
            }

    def optimizers():
        return [
            id(value)
            for value in objects_of(model)
            if isinstance(value, keras.optimizers.Optimizer)
        ]

    keeping = Keeping()
    keeping.built = True
    model = made(name, keeping)
    before = optimizers()
    with pytest.raises(ValueError, match="Take it off yourself"):
        kreg.strip(model)
    assert optimizers() == before


@pytest.mark.tensorflow
def test_own_training_step_goes_on_with_plain_optimizers():
    import tensorflow as tf

    class Own(Held):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape(persistent=True) as tape:
                loss = ops.mean((self(x) - y) ** 2) + sum(self.losses)
            for optimizer, part in (
                (self.g_optimizer, self.g),
                (self.d_optimizer, self.d),
            ):
                variables = part.trainable_variables
                optimizer.apply(tape.gradient(loss, variables), variables)
            return {"loss": loss}

    def trained(strip):
        keras.utils.set_random_seed(0)
        model = Own(lambda m: None)
        model.g_optimizer = keras.optimizers.SGD(0.1)
        model.d_optimizer = keras.optimizers.SGD(0.1)
        model(X)
        if strip:
            model.g_optimizer = kreg.ProximalOptimizer(model.g_optimizer)
            model.d_optimizer = kreg.ProximalOptimizer(model.d_optimizer)
        kreg.strip(model)
        model.compile()
        model.fit(X, X[:, :1], batch_size=8, epochs=2, verbose=0)
        return model.get_weights()

    for a, b in zip(trained(True), trained(False), strict=True):
        np.testing.assert_array_equal(a, b)
