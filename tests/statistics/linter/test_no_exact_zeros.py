"""Penalties that make zeros, under optimizers that do not."""

import keras
import numpy as np
import pytest
from linter_models import (
    L1,
    OTHERS,
    ZERO_MAKERS,
    codes,
    finding,
    kernel_of,
    linear_model,
    rules,
    run,
    train,
)

import kreg
from kreg.statistics import check


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


@pytest.mark.thorough
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
