"""Bad strengths are refused by name, before anything is trained."""

import math

import keras
import numpy as np
import pytest

import kreg

ARGUMENTS = [(kreg.L1, "l1"), (kreg.L2, "l2"), (kreg.L1L2, "l1")]
ARGUMENTS += [(kreg.L1L2, "l2"), (kreg.L1, "multiplier")]


class Constant(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return keras.ops.convert_to_tensor(self.value)

    def get_config(self):
        return {"value": self.value}


@pytest.mark.parametrize(("penalty", "name"), ARGUMENTS)
@pytest.mark.parametrize(
    "value", [-1, -1e-9, math.nan, math.inf, -math.inf, np.float32("nan")]
)
def test_number_out_of_range(penalty, name, value):
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}="):
        penalty(**{name: value})


@pytest.mark.parametrize(("penalty", "name"), ARGUMENTS)
@pytest.mark.parametrize(
    "value",
    [True, np.True_, "0.1", [0.1], (0.1,), np.array([0.1]), 1j, b"1"],
    ids=repr,
)
def test_not_a_number(penalty, name, value):
    with pytest.raises(TypeError, match=rf"`{name}`.*Received: {name}="):
        penalty(**{name: value})


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf, [0.1, 0.2]])
def test_schedule_with_a_bad_first_value(value):
    with pytest.raises(ValueError, match=r"`l1`.*non-negative finite scalars"):
        kreg.L1(Constant(value))


def test_function_in_place_of_a_schedule():
    with pytest.raises(
        TypeError, match=r"`l1`.*LearningRateSchedule.*subclass"
    ):
        kreg.L1(lambda step: 0.1)


@pytest.mark.parametrize("penalty", [kreg.L1, kreg.L2, kreg.L1L2])
def test_config_of_a_future_version(penalty):
    config = {**penalty(0.1).get_config(), "curvature": 3}
    with pytest.raises(
        ValueError, match=r"newer version of kreg.*unknown keys \['curvature'\]"
    ):
        penalty.from_config(config)


def test_strength_cannot_be_changed_in_vain():
    penalty = kreg.L1(0.1)
    with pytest.raises(AttributeError, match="`l1` of a L1 cannot be changed"):
        penalty.l1 = 0.2


def test_multiplier_is_checked_when_set():
    penalty = kreg.L1(0.1)
    with pytest.raises(ValueError, match="`multiplier`"):
        penalty.multiplier = -1.0
    assert penalty.multiplier == 1.0


@pytest.mark.parametrize("value", [1, 0, 0.5, np.float32(0.5), np.int64(2)])
def test_every_real_number_is_accepted(value):
    assert kreg.L1(value).l1 == float(value)


def test_the_array_of_factors_stays_the_callers():
    factors = np.ones((5, 4), "float32")
    penalty = kreg.L1(0.1, factors=factors)
    factors[0] = 2.0
    assert (penalty.factors == 1.0).all()


@pytest.mark.parametrize("value", [[-1.0], [np.nan], [np.inf]], ids=repr)
def test_factors_must_be_finite_and_not_negative(value):
    with pytest.raises(ValueError, match="`factors` must be finite"):
        kreg.L1(0.1, factors=value)


def test_factors_must_be_numbers():
    with pytest.raises(TypeError, match="`factors` must be an array"):
        kreg.L1(0.1, factors="many")


@pytest.mark.parametrize("value", ["rows", 1.5, None, (0, "a")], ids=repr)
def test_groups_must_be_known_words_or_axes(value):
    with pytest.raises(ValueError, match=r"`groups` must be .*Received: "):
        kreg.GroupLasso(0.1, groups=value)


def test_gamma_must_be_positive():
    with pytest.raises(ValueError, match="`gamma` must be a positive number"):
        kreg.MCP(0.1, gamma=0.0)


@pytest.mark.parametrize("value", [2, 1.0, -3.0, math.inf])
def test_a_of_scad_must_be_above_two(value):
    with pytest.raises(ValueError, match=r"`a` must be .*Received: a="):
        kreg.SCAD(0.1, a=value)


@pytest.mark.parametrize("name", ["factors", "gamma"])
def test_arguments_cannot_be_changed_in_vain(name):
    penalty = kreg.MCP(0.1)
    with pytest.raises(AttributeError, match=f"`{name}` of a MCP cannot be"):
        setattr(penalty, name, 2.0)
