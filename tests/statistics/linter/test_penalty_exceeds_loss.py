"""Penalties that are larger than the data loss."""

import numpy as np
import pytest
from linter_models import L2, codes, finding, linear_model, rules, run

import kreg
from kreg.statistics import check


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
