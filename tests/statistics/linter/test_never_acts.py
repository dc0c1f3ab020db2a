"""Penalties that the training steps of a model leave out."""

import custom_steps
import keras
import numpy as np
import pytest
from custom_steps import OwnTraining
from keras import ops
from linter_models import L2, X, Y, codes, finding, rules, run
from thorough import few_of

import kreg
from kreg.statistics import check

BACKEND = keras.backend.backend()
PENALTIES = {
    "kreg": lambda: kreg.L2(0.5),
    "keras": lambda: L2(0.5),
    "function": lambda: lambda w: 0.5 * ops.sum(ops.square(w)),
}


def sgd(rate=0.01):
    return keras.optimizers.SGD(rate)


def proximal():
    return kreg.ProximalOptimizer(sgd())


def model_of(cls, penalty=None, optimizer=None, bind=True):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(3, kernel_regularizer=penalty, name="hidden")
    outputs = keras.layers.Dense(1, name="last")(hidden(inputs))
    model = cls(inputs, outputs, name="net")
    model.compile(optimizer or sgd(), "mse")
    if bind:
        kreg.bind(model)
    return model


def train(model, epochs=1, **arguments):
    model.fit(X, Y, epochs=epochs, verbose=0, shuffle=False, **arguments)
    return model


def trained(*args, **kwargs):
    return train(model_of(*args, **kwargs))


class Distilled(keras.Model):
    """Leaves the penalties out of its loss."""

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return ops.mean((y - y_pred) ** 2)


class Forgetful(OwnTraining):
    """Leaves the penalties out of the loss of its own step."""

    adds_losses = False


# On JAX, Keras reads the losses in the place of the user's step, which may or
# may not add them: nothing is certain.
FORGETFUL = [Distilled] if BACKEND == "jax" else [Distilled, Forgetful]


@pytest.mark.parametrize("penalty", few_of(PENALTIES, "kreg"))
@pytest.mark.parametrize("cls", FORGETFUL)
def test_loss_without_the_penalties(cls, penalty):
    model = model_of(cls, PENALTIES[penalty]())
    before = check(model)
    kernel = model.layers[1].kernel
    start = ops.convert_to_numpy(kernel)
    plain = model_of(cls)
    plain.set_weights(model.get_weights())
    train(model)
    train(plain)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(kernel),
        ops.convert_to_numpy(plain.layers[1].kernel),
    )
    assert (ops.convert_to_numpy(kernel) != start).any()
    assert before == ()
    assert rules(model) == ["never-acts"]
    found = finding(model, "never-acts")
    assert found.path == "hidden/kernel"
    assert "leaves out `model.losses`" in found.message
    assert ops.convert_to_numpy(run(codes(found)[0], model)) > 0.0


class Summed(Distilled):
    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return super().compute_loss(x, y, y_pred) + sum(self.losses)


class Delegating(keras.Model):
    def compute_loss(self, *args, **kwargs):
        return 2.0 * super().compute_loss(*args, **kwargs)


ACTING = {
    "plain": (keras.Model, sgd),
    "proximal": (keras.Model, proximal),
    "sum": (Summed, sgd),
    "super": (Delegating, sgd),
    "proximal steps alone": (Distilled, proximal),
    "own step": (OwnTraining, sgd),
    "own step of the guide": (custom_steps.CustomStep, sgd),
    "own step and proximal steps": (Forgetful, proximal),
}


@pytest.mark.parametrize(
    "name", few_of(ACTING, "proximal steps alone", "own step", "super")
)
def test_penalty_that_acts(name):
    cls, optimizer = ACTING[name]
    assert check(trained(cls, kreg.L2(0.5), optimizer())) == ()


@pytest.mark.parametrize("eagerly", [False, True])
def test_weight_that_no_optimizer_updates(eagerly):
    if eagerly and BACKEND == "tensorflow":
        pytest.skip("outside of a traced function it is not known")
    model = model_of(OwnTraining, kreg.L2(0.5))
    model.run_eagerly = eagerly
    model.untrained = frozenset({id(model.layers[1].kernel)})
    before = ops.convert_to_numpy(model.layers[1].kernel)
    train(model)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.layers[1].kernel), before
    )
    assert rules(model) == ["never-acts"]
    found = finding(model, "never-acts")
    assert "does not update the weight" in found.message
    run(codes(found)[0], model)
    assert check(train(model)) == ()


def test_clone_that_nobody_trains():
    class WithClone(custom_steps.OwnTrainStep, keras.Model):
        def __init__(self):
            super().__init__()
            self.network = keras.Sequential(
                [
                    keras.Input((6,)),
                    keras.layers.Dense(1, kernel_regularizer=kreg.L2(0.5)),
                ]
            )
            self.average = keras.models.clone_model(self.network)

        def call(self, x, training=False):
            return self.network(x)

    model = WithClone()
    model.build((None, 6))
    model.compile(sgd(), "mse")
    kreg.bind(model)
    model.untrained = frozenset(map(id, model.average.weights))
    train(model)
    (found,) = check(model)
    assert found.rule == "never-acts"
    assert found.path.endswith("kernel#2")


def with_hidden_optimizer():
    """A class whose training step uses an optimizer that no model holds."""

    class WithHiddenOptimizer(OwnTraining):
        own_optimizer = sgd()

    return WithHiddenOptimizer


@pytest.mark.skipif(BACKEND == "jax", reason="one optimizer is passed on JAX")
def test_proximal_optimizer_that_another_replaces():
    model = model_of(with_hidden_optimizer(), kreg.L2(0.5), proximal())
    train(model)
    found = finding(model, "never-acts")
    assert "another optimizer updates the weight" in found.message
    code = codes(found)[0].replace("optimizer", "model.own_optimizer")
    run(code, model)
    assert check(train(model)) == ()


@pytest.mark.skipif(BACKEND == "jax", reason="one optimizer is passed on JAX")
def test_schedule_that_rests():
    ramp = kreg.schedules.LinearRamp(0.0, 1.0, steps=4)
    model = model_of(with_hidden_optimizer(), kreg.L2(ramp))
    assert check(train(model, epochs=3)) != ()
    found = finding(model, "schedule-at-rest")
    assert "rests at step 0" in found.message
    code = codes(found)[0].replace("optimizer", "model.own_optimizer")
    run(code, model)
    assert check(train(model)) == ()
    assert kreg.penalties(model)["hidden/kernel"] > 0.0


def test_schedule_before_the_first_update_of_an_accumulation():
    ramp = kreg.schedules.LinearRamp(0.0, 1.0, steps=4)
    slow = keras.optimizers.SGD(0.01, gradient_accumulation_steps=9)
    assert check(trained(keras.Model, kreg.L2(ramp), slow)) == ()


SILENT = {
    "not bound": lambda: trained(Distilled, kreg.L2(0.5), bind=False),
    "not trained": lambda: model_of(Distilled, kreg.L2(0.5)),
    "no penalty": lambda: trained(Distilled),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_is_not_known_is_no_finding(name):
    assert check(SILENT[name]()) == ()


def test_compiling_again_starts_anew():
    model = trained(Distilled, kreg.L2(0.5))
    assert rules(model) == ["never-acts"]
    model.compile(proximal(), "mse")
    assert check(model) == ()
    assert check(train(model)) == ()


def test_frozen_weight_is_another_finding():
    model = model_of(Distilled, kreg.L2(0.5))
    model.layers[1].trainable = False
    model.compile(sgd(), "mse")
    assert rules(train(model)) == ["frozen-weight"]


def test_frozen_support_is_no_finding():
    model = model_of(Distilled, kreg.L1(0.5), proximal())
    kreg.freeze_support(model)
    assert check(train(model)) == ()


def test_penalty_that_acts_in_another_model():
    model = model_of(Distilled, kreg.L2(0.5))
    other = keras.Model(model.input, model.layers[1].output)
    other.compile(sgd(), "mse")
    kreg.bind(other)
    other.fit(X, np.zeros((64, 3)), verbose=0)
    assert check(train(model)) == ()


@pytest.mark.parametrize("cls", FORGETFUL)
def test_monitor_warns_once(cls, tmp_path):
    model = model_of(cls, kreg.L2(0.5))
    monitor = kreg.RegularizationMonitor(tmp_path)
    with pytest.warns(UserWarning, match="never acts") as caught:
        train(model, epochs=3, callbacks=[monitor])
    assert sum("never acts" in str(w.message) for w in caught) == 1
