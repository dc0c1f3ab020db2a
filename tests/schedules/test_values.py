"""The values of each schedule against its formula."""

import math

import keras
import numpy as np
import pytest

from kreg import schedules

STEPS = [0, 1, 2, 3, 5, 6, 7, 8, 1000]


def values(schedule, steps=STEPS):
    return [float(keras.ops.convert_to_numpy(schedule(s))) for s in steps]


def test_linear_ramp():
    expected = [2 + (5 - 2) * min(s / 7, 1) for s in STEPS]
    np.testing.assert_allclose(
        values(schedules.LinearRamp(2, 5, steps=7)), expected, rtol=1e-6
    )


def test_cosine_ramp():
    expected = [
        2 + 3 * (1 - math.cos(math.pi * min(s / 7, 1))) / 2 for s in STEPS
    ]
    np.testing.assert_allclose(
        values(schedules.CosineRamp(2, 5, steps=7)), expected, rtol=1e-6
    )


def test_geometric_ramp():
    expected = [1e-4 * 1000 ** min(s / 7, 1) for s in STEPS]
    np.testing.assert_allclose(
        values(schedules.GeometricRamp(1e-4, 0.1, steps=7)),
        expected,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "ramp",
    [schedules.LinearRamp, schedules.CosineRamp, schedules.GeometricRamp],
)
@pytest.mark.parametrize(("start", "end"), [(0.1, 0.7), (0.7, 0.1)])
def test_ramp_is_exact_at_and_beyond_its_ends(ramp, start, end):
    start, end = float(np.float32(start)), float(np.float32(end))
    ends = values(ramp(start, end, steps=3), [-1, 0, 3, 4, 10**9])
    assert ends == [start, start, end, end, end]


@pytest.mark.parametrize("ramp", [schedules.LinearRamp, schedules.CosineRamp])
def test_ramp_may_start_at_zero(ramp):
    assert values(ramp(0.0, 1.0, steps=1), [0, 1]) == [0.0, 1.0]


def test_delay_holds_before_until_its_step():
    ramp = schedules.LinearRamp(0.25, 1.25, steps=4)
    delay = schedules.Delay(ramp, steps=3, before=2.0)
    assert values(delay, [0, 2, 3, 4, 7, 8]) == [2, 2, 0.25, 0.5, 1.25, 1.25]


def test_join_starts_each_schedule_at_its_own_zero():
    ramp = schedules.LinearRamp(0.0, 1.0, steps=4)
    join = schedules.Join([ramp, 3.0, ramp], boundaries=[2, 5])
    assert values(join, [0, 1, 2, 4, 5, 6, 9, 99]) == [
        *(0, 0.25),
        *(3, 3),
        *(0, 0.25, 1, 1),
    ]


def test_cycle_repeats():
    cycle = schedules.Cycle(schedules.LinearRamp(0, 1, steps=4), period=3)
    assert values(cycle, range(7)) == [0, 0.25, 0.5, 0, 0.25, 0.5, 0]


def test_shifts_are_exact_where_float32_has_no_odd_numbers():
    late = 2**24 + 1
    step = schedules.Delay(schedules.LinearRamp(0, 1, steps=2), steps=late)
    assert values(step, [late, late + 1, late + 2]) == [0, 0.5, 1]


def test_values_are_double_precision_where_floatx_is():
    keras.config.set_floatx("float64")
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless told so at start")
    third = schedules.LinearRamp(0, 1, steps=3)(1)
    assert float(third) == 1 / 3
