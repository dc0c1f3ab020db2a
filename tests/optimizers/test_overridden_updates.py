"""Subclasses that change gradients where kreg cannot see it."""

import keras
import numpy as np
import pytest
from keras import ops, optimizers

import kreg

BACKEND = keras.backend.backend()


def centred(gradient):
    if len(gradient.shape) < 2:
        return gradient
    return gradient - ops.mean(gradient, axis=0, keepdims=True)


class CentredPairs(optimizers.SGD):
    def apply_gradients(self, grads_and_vars):
        pairs = [(centred(g), v) for g, v in grads_and_vars]
        return super().apply_gradients(pairs)


class CentredList(optimizers.SGD):
    def apply(self, grads, trainable_variables=None):
        super().apply([centred(g) for g in grads], trainable_variables)


class OwnClipping(optimizers.Adam):
    def _clip_gradients(self, grads):
        return [ops.clip(g, -0.1, 0.1) for g in grads]


class NothingOfItsOwn(optimizers.SGD):
    pass


CHANGING = [CentredPairs, CentredList, OwnClipping]


def trained(optimizer, penalty):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((6,)), layer])
    kreg.bind(model)
    model.compile(optimizer, "mse")
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    model.fit(
        x, np.sin(x[:, :1]), epochs=3, batch_size=16, shuffle=False, verbose=0
    )
    return model.get_weights()[0]


@pytest.mark.parametrize("cls", CHANGING)
def test_a_penalty_is_refused_before_a_weight_changes(cls):
    with pytest.raises(ValueError, match=f"register_optimizer.{cls.__name__}"):
        trained(kreg.ProximalOptimizer(cls(0.05)), kreg.L1(0.1))


@pytest.mark.parametrize("cls", CHANGING)
def test_a_penalty_that_never_acts_leaves_the_updates_to_the_subclass(cls):
    ours = trained(kreg.ProximalOptimizer(cls(0.05)), kreg.L1(0.0))
    np.testing.assert_array_equal(ours, trained(cls(0.05), kreg.L1(0.0)))


def test_a_method_of_one_object_is_refused_too():
    inner = optimizers.SGD(0.05)
    inner.apply = lambda grads, variables=None: None
    with pytest.raises(ValueError, match="SGD overrides `apply`"):
        trained(kreg.ProximalOptimizer(inner), kreg.L1(0.1))


def test_a_subclass_without_changes_is_served():
    ours = trained(kreg.ProximalOptimizer(NothingOfItsOwn(0.05)), kreg.L1(0.1))
    plain = trained(kreg.ProximalOptimizer(optimizers.SGD(0.05)), kreg.L1(0.1))
    np.testing.assert_allclose(ours, plain, atol=1e-6)


def test_a_registered_subclass_makes_its_own_updates():
    class Halved(optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            super().apply([0.5 * g for g in grads], trainable_variables)

    @kreg.optimizers.register_optimizer(Halved)
    def halved(optimizer, variable, learning_rate):
        return kreg.optimizers.EffectiveStep(0.5 * learning_rate)

    ours = trained(kreg.ProximalOptimizer(Halved(0.1)), kreg.L1(0.1))
    plain = trained(kreg.ProximalOptimizer(optimizers.SGD(0.05)), kreg.L1(0.1))
    np.testing.assert_allclose(ours, plain, atol=1e-6)
