"""L2 penalties beside weight decay, against real updates."""

import keras
import numpy as np
import pytest
from linter_models import (
    L2,
    OTHERS,
    codes,
    finding,
    kernel_of,
    linear_model,
    rules,
    run,
)
from thorough import few_of

import kreg
from kreg.statistics import check


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
    "case",
    few_of(
        [*((name, "bare") for name in RIDGES), *(("L2", w) for w in WRAPPINGS)],
        ("L2", "bare"),
    ),
    ids="-".join,
)
def test_l2_and_weight_decay_both_shrink(case):
    name, wrapping = case

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
