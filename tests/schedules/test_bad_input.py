"""Bad arguments of schedules are refused by name."""

import math

import pytest

from kreg import schedules

RAMPS = [schedules.LinearRamp, schedules.CosineRamp, schedules.GeometricRamp]


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("steps", [0, -1])
def test_steps_must_be_positive(ramp, steps):
    with pytest.raises(ValueError, match=f"`steps`.*Received: steps={steps}"):
        ramp(1, 2, steps=steps)


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("steps", [1.5, 10.0, True, "10", None])
def test_steps_must_be_an_integer(ramp, steps):
    with pytest.raises(TypeError, match="`steps` must be a positive integer"):
        ramp(1, 2, steps=steps)


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["start", "end"])
def test_ends_must_be_finite_and_not_negative(ramp, name, value):
    ends = {"start": 1.0, "end": 1.0, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be a .* number"):
        ramp(**ends, steps=1)


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("value", [True, "1", None, [1.0]])
def test_ends_must_be_numbers(ramp, value):
    with pytest.raises(TypeError, match="`start` must be a number"):
        ramp(value, 1.0, steps=1)


@pytest.mark.parametrize("name", ["start", "end"])
def test_geometric_ramp_cannot_touch_zero(name):
    ends = {"start": 1.0, "end": 1.0, name: 0.0}
    with pytest.raises(ValueError, match=f"`{name}` must be a positive"):
        schedules.GeometricRamp(**ends, steps=1)


def test_function_in_place_of_a_schedule():
    with pytest.raises(TypeError, match=r"`schedule`.*LearningRateSchedule"):
        schedules.Delay(lambda step: 1.0, steps=2)


def test_join_needs_one_boundary_less_than_schedules():
    with pytest.raises(ValueError, match="one more entry than `boundaries`"):
        schedules.Join([1.0, 2.0], boundaries=[1, 2])


def test_join_boundaries_must_rise():
    with pytest.raises(ValueError, match="`boundaries` must be in rising"):
        schedules.Join([1.0, 2.0, 3.0], boundaries=[2, 2])


def test_join_needs_lists():
    with pytest.raises(TypeError, match="must be lists"):
        schedules.Join([1.0, 2.0], boundaries=5)


def test_join_names_the_entry():
    with pytest.raises(ValueError, match=r"`schedules\[1\]` must be"):
        schedules.Join([1.0, -2.0], boundaries=[5])


def test_cycle_period_must_be_positive():
    with pytest.raises(ValueError, match="`period`"):
        schedules.Cycle(1.0, period=0)


def test_delay_before_must_not_be_negative():
    with pytest.raises(ValueError, match="`before`"):
        schedules.Delay(1.0, steps=1, before=-1.0)
