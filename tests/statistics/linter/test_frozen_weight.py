"""Regularizers of weights that are not trained."""

import keras
import pytest
from keras import ops
from linter_models import L2, codes, finding, linear_model, rules, run

import kreg
from kreg.statistics import check


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
