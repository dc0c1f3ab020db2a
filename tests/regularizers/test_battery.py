"""Every instance of the table passes every check."""

import inspect

import keras
import pytest
from instances import INSTANCES, PENALTY_TABLE
from regularizers import battery
from regularizers.battery import arguments, comparable
from thorough import few_of

import kreg
from kreg.regularizers import Penalty

WITH_A_STEP = [
    name for name, make in INSTANCES.items() if isinstance(make(), Penalty)
]


def named(check):
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize(
    "check",
    battery.CHECKS_OF_VALUES + battery.CHECKS_OF_SAVED_FORMS,
    ids=named,
)
@pytest.mark.parametrize("name", INSTANCES)
def test_every_regularizer(name, check):
    check(INSTANCES[name])


@pytest.mark.parametrize("check", battery.CHECKS_OF_STEPS, ids=named)
@pytest.mark.parametrize("name", WITH_A_STEP)
def test_every_penalty_with_a_proximal_step(name, check):
    check(INSTANCES[name])


@pytest.mark.parametrize("name", INSTANCES)
def test_keras_file(name, tmp_path):
    battery.check_keras_file(INSTANCES[name], tmp_path)


@pytest.mark.parametrize(
    "jit_compile", few_of([False, True], False), ids=["", "jit_compile"]
)
@pytest.mark.parametrize("name", INSTANCES)
def test_bound_and_compiled(name, jit_compile):
    if jit_compile and battery.BACKEND == "torch":
        pytest.skip("torch.compile takes a minute; tests/binding have it")
    battery.check_bound_and_compiled(INSTANCES[name], jit_compile)


@pytest.mark.parametrize("cls", PENALTY_TABLE)
def test_every_argument_is_off_its_default_in_the_table(cls):
    instances = [make(cls) for make in PENALTY_TABLE[cls].instances.values()]
    for name, parameter in inspect.signature(cls).parameters.items():
        default = comparable(parameter.default)
        assert any(arguments(p)[name] != default for p in instances), name


def test_the_table_holds_every_public_regularizer():
    public = {
        value
        for value in (vars(kreg) | vars(kreg.regularizers)).values()
        if inspect.isclass(value)
        and not inspect.isabstract(value)
        and issubclass(value, keras.regularizers.Regularizer)
    }
    assert public == set(PENALTY_TABLE)
