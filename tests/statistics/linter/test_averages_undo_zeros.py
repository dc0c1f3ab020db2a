"""Moving averages that replace exact zeros."""

import keras
import numpy as np
import pytest
from linter_models import (
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
