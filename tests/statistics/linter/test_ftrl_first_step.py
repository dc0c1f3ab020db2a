"""What the first step of Ftrl does to weights."""

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

from kreg.statistics import check


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
