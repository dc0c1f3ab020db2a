"""Strengths that are 0 at the end of training."""

import keras
import pytest
from linter_models import codes, finding, linear_model, rules, run

import kreg
from kreg.statistics import check

S, K = kreg.schedules, keras.optimizers.schedules
ENDS_AT_ZERO = {
    "linear": lambda: S.LinearRamp(0.1, 0.0, steps=7),
    "cosine": lambda: S.CosineRamp(0.1, 0.0, steps=5_000_000),
    "keras_cosine": lambda: K.CosineDecay(
        0.0, 1000, warmup_target=0.1, warmup_steps=9
    ),
    "polynomial": lambda: K.PolynomialDecay(0.1, 1000, 0.0),
    "steps": lambda: K.PiecewiseConstantDecay([100], [0.1, 0.0]),
    "join": lambda: S.Join([S.LinearRamp(0.0, 0.1, steps=4), 0.0], [6]),
    "always": lambda: S.LinearRamp(0.0, 0.0, steps=7),
}
ENDS_ABOVE = {
    "linear": lambda: S.LinearRamp(0.0, 0.1, steps=7),
    "exponential": lambda: K.ExponentialDecay(0.1, 1000, 0.96),
    "halving": lambda: K.ExponentialDecay(0.1, 10, 0.5, staircase=True),
    "inverse": lambda: K.InverseTimeDecay(0.1, 1, 0.5),
    "restarts": lambda: K.CosineDecayRestarts(0.1, 1000),
    "late": lambda: S.Delay(0.5, steps=5_000_000),
    "cycle": lambda: S.Cycle(S.LinearRamp(0.0, 0.1, steps=500), period=1000),
    "rare": lambda: S.Cycle(S.Delay(0.1, steps=900), period=1000),
    "number": lambda: 0.1,
}


@pytest.mark.parametrize("name", ENDS_AT_ZERO)
def test_schedule_that_ends_at_zero(name):
    found = finding(
        linear_model(kreg.L2(ENDS_AT_ZERO[name]())), "zero-at-the-end"
    )
    assert "`l2` of its L2" in found.message
    schedule = run(codes(found)[0], None)
    assert check(linear_model(kreg.L2(schedule))) == ()


@pytest.mark.parametrize("name", ENDS_ABOVE)
def test_schedule_that_has_a_say_at_the_end(name):
    assert check(linear_model(kreg.L2(ENDS_ABOVE[name]()))) == ()


@pytest.mark.parametrize(
    ("schedule", "steps", "zero"),
    [
        (lambda: S.LinearRamp(0.1, 0.0, steps=100), 99, False),
        (lambda: S.LinearRamp(0.1, 0.0, steps=100), 100, True),
        (lambda: S.LinearRamp(0.1, 0.0, steps=100), 1, False),
        (lambda: S.Delay(0.1, steps=100), 100, False),
        (lambda: S.Delay(0.1, steps=100), 99, True),
        (lambda: S.Delay(S.LinearRamp(0.0, 0.1, 9), steps=100), 100, True),
        (lambda: S.Cycle(S.LinearRamp(0.0, 0.1, 50), period=50), 100, False),
    ],
)
def test_planned_steps(schedule, steps, zero):
    model = linear_model(kreg.L2(schedule()))
    expected = ["zero-at-the-end"] if zero else []
    assert rules(model, steps=steps) == expected


def test_each_strength_counts():
    ramp = S.LinearRamp(0.1, 0.0, steps=7)
    model = linear_model(kreg.L1L2(l1=ramp, l2=0.1))
    assert "`l1` of its L1L2" in finding(model, "zero-at-the-end").message


@pytest.mark.parametrize(
    "penalty", [lambda: kreg.L1L2(l1=0.0, l2=0.1), lambda: kreg.L2(0.0)]
)
def test_strength_that_the_user_sets_to_zero(penalty):
    assert check(linear_model(penalty())) == ()


def test_multiplier_of_zero():
    model = linear_model(kreg.L2(0.1, multiplier=0.0))
    bind, code = codes(finding(model, "zero-at-the-end"))
    run(bind, model)
    run(code, model)
    assert check(model) == ()
    assert kreg.penalties(model)["net/last/kernel"] == pytest.approx(0.6)
