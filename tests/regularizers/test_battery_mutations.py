"""The battery rejects what a new penalty is likely to get wrong.

Each mutation is a subclass of a penalty in the table with one fault.
"""

import inspect
from functools import partial

import keras
import pytest
from instances import PENALTY_TABLE
from regularizers import battery
from thorough import few_of

from kreg.regularizers import Penalty

PENALTIES = [cls for cls in PENALTY_TABLE if issubclass(cls, Penalty)]
SAVED_FORMS = battery.CHECKS_OF_SAVED_FORMS
ONE_PERCENT = 1.01


def subclass(cls, fault, members, *, registered=True):
    """A subclass with other members, which pickle can find by its name."""
    name = f"{cls.__name__}_{fault}"
    mutated = type(name, (cls,), {"__module__": __name__, **members})
    globals()[name] = mutated
    if registered:
        keras.saving.register_keras_serializable(package="mutations")(mutated)
    return mutated


def rejects(check, mutated, original):
    """Whether a check fails for an instance of the mutated class."""
    for make in PENALTY_TABLE[original].instances.values():
        try:
            check(partial(make, mutated))
        except Exception:  # a fault may raise any error
            return True
    return False


def keras_file(folder):
    return partial(battery.check_keras_file, folder=folder)


@pytest.mark.parametrize(
    "cls", few_of(PENALTY_TABLE, next(iter(PENALTY_TABLE)))
)
def test_a_subclass_without_fault_passes(cls, tmp_path):
    """Otherwise the rejections below would prove nothing."""
    sound = subclass(cls, "sound", {})
    checks = [*SAVED_FORMS, battery.check_value, keras_file(tmp_path)]
    if issubclass(cls, Penalty):
        checks += [battery.check_step_against_a_grid]
        checks += [battery.check_step_of_each_entry]
        checks += [battery.check_step_of_zero_length]
        checks += [battery.check_longest_step, battery.check_optimality]
    for check in checks:
        assert not rejects(check, sound, cls), check


@pytest.mark.parametrize("cls", PENALTY_TABLE)
def test_registration_dropped(cls, tmp_path):
    mutated = subclass(cls, "unregistered", {}, registered=False)
    assert rejects(battery.check_registration, mutated, cls)
    assert rejects(keras_file(tmp_path), mutated, cls)


@pytest.mark.parametrize(
    ("cls", "name"),
    [(c, n) for c in PENALTY_TABLE for n in inspect.signature(c).parameters],
)
def test_argument_missing_from_the_config(cls, name, tmp_path):
    def get_config(self):
        config = cls.get_config(self)
        config.pop(name, None)
        return config

    mutated = subclass(cls, f"without_{name}", {"get_config": get_config})
    # Copies and pickles hold the arguments themselves, not their config.
    checks = [battery.check_config, battery.check_clone]
    # A file holds multipliers beside the weights, too.
    if name != "multiplier":
        checks.append(keras_file(tmp_path))
    for check in checks:
        assert rejects(check, mutated, cls), check


@pytest.mark.parametrize("cls", PENALTY_TABLE)
def test_value_off_by_one_percent(cls):
    def value(self, *args):
        return ONE_PERCENT * cls.value(self, *args)

    mutated = subclass(cls, "value", {"value": value})
    assert rejects(battery.check_value, mutated, cls)
    assert rejects(battery.check_gradient, mutated, cls)


@pytest.mark.parametrize("cls", PENALTIES)
def test_proximal_step_off_by_one_percent(cls):
    def proximal_step(self, *args):
        return ONE_PERCENT * cls.proximal_step(self, *args)

    mutated = subclass(cls, "step", {"proximal_step": proximal_step})
    for check in (
        battery.check_step_against_a_grid,
        battery.check_step_of_each_entry,
        battery.check_optimality,
    ):
        assert rejects(check, mutated, cls), check


@pytest.mark.parametrize("cls", PENALTIES)
def test_effective_step_off_by_one_percent(cls):
    """Such a fault is a wrong factor in a formula, as in ridge's half."""

    def proximal_step(self, w, effective_step, *args):
        longer = ONE_PERCENT * effective_step
        return cls.proximal_step(self, w, longer, *args)

    mutated = subclass(cls, "length", {"proximal_step": proximal_step})
    assert rejects(battery.check_step_of_each_entry, mutated, cls)


def is_convex(cls):
    makes = PENALTY_TABLE[cls].instances.values()
    return all(make(cls).weak_convexity == 0.0 for make in makes)


@pytest.mark.parametrize("cls", [c for c in PENALTIES if not is_convex(c)])
def test_bound_of_the_step_dropped(cls):
    mutated = subclass(cls, "unbounded", {"weak_convexity": 0.0})
    assert rejects(battery.check_longest_step, mutated, cls)
    assert rejects(battery.check_optimality, mutated, cls)


def test_there_are_penalties_that_are_not_convex():
    """Otherwise the test above would be of nothing."""
    not_convex = {c.__name__ for c in PENALTIES if not is_convex(c)}
    assert not_convex >= {"MCP", "SCAD"}


@pytest.mark.parametrize("cls", PENALTY_TABLE)
def test_division_by_the_strength(cls):
    """`0 / 0` is NaN, in a value that is computed in units of the strength."""

    def value(self, w, strengths, groups=None):
        correct = cls.value(self, w, strengths, groups)
        for strength in strengths.values():
            correct = correct * strength / keras.ops.cast(strength, w.dtype)
        return correct

    mutated = subclass(cls, "divided", {"value": value})
    assert rejects(battery.check_strength_of_zero, mutated, cls)


@pytest.mark.parametrize("cls", PENALTIES)
def test_step_divided_by_the_strength(cls):
    def proximal_step(self, w, effective_step, strengths, groups=None):
        for strength in strengths.values():
            w = w * strength / keras.ops.cast(strength, w.dtype)
        return cls.proximal_step(self, w, effective_step, strengths, groups)

    mutated = subclass(cls, "divided_step", {"proximal_step": proximal_step})
    assert rejects(battery.check_step_of_zero_strength, mutated, cls)


def test_argument_without_an_attribute_cannot_be_defined():
    with pytest.raises(TypeError, match=r"`Forgetful` must declare .*`power="):

        class Forgetful(PENALTIES[0]):
            def __init__(self, l1=0.1, power=1.0, **kwargs):
                super().__init__(l1)


def test_argument_that_is_never_set_is_named():
    class Unset(PENALTIES[0]):
        l1 = PENALTIES[0].l1

        def __init__(self, l1=0.1, *, factors=None, multiplier=1.0):
            pass

    with pytest.raises(AttributeError, match="`l1` of a Unset must be set"):
        Unset().get_config()


def test_penalty_without_a_bound_of_its_step_cannot_be_made():
    class Unbounded(PENALTIES[0].__bases__[0]):
        def entries_value(self, w, strengths):
            return []

        def entries_step(self, w, effective_step, strengths):
            return w

    with pytest.raises(TypeError, match="entries_weak_convexity"):
        Unbounded()
