"""A penalty and its strength are hyperparameters of KerasTuner."""

import pytest

import kreg
from kreg.selection import tune_penalty

keras_tuner = pytest.importorskip("keras_tuner")


def chosen(**values):
    hp = keras_tuner.HyperParameters()
    tune_penalty(hp)  # which registers them
    hp.values.update(values)
    return tune_penalty(hp)


def test_no_penalty_at_first():
    assert chosen() is None


@pytest.mark.parametrize("name", ["L1", "L2", "GroupLasso"])
def test_the_penalty_that_is_chosen(name):
    strength = {f"penalty_{name}_strength": 0.02}
    penalty = chosen(penalty=name, **strength)
    assert repr(penalty) == repr(getattr(kreg, name)(0.02))


def test_strengths_are_searched_on_a_logarithmic_scale():
    hp = keras_tuner.HyperParameters()
    tune_penalty(hp, {"L1": kreg.L1}, minimum=1e-5, maximum=1e-2)
    strength = hp.space[-1]
    assert strength.sampling == "log"
    assert (strength.min_value, strength.max_value) == (1e-5, 1e-2)


def test_a_strength_is_searched_where_its_penalty_is_chosen():
    hp = keras_tuner.HyperParameters()
    tune_penalty(hp)
    hp.values["penalty"] = "L2"
    assert hp.is_active("penalty_L2_strength")
    assert not hp.is_active("penalty_L1_strength")


def test_two_penalties_of_one_model():
    hp = keras_tuner.HyperParameters()
    tune_penalty(hp, {"L1": kreg.L1}, name="first")
    tune_penalty(hp, {"L1": kreg.L1}, name="second")
    names = {each.name for each in hp.space}
    assert {"first_L1_strength", "second_L1_strength"} <= names


def test_no_penalties_are_refused():
    with pytest.raises(ValueError, match=r"`penalties` must not be empty"):
        tune_penalty(keras_tuner.HyperParameters(), {})


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="`maximum` must be above `minimum`"):
        tune_penalty(keras_tuner.HyperParameters(), minimum=0.1, maximum=0.1)
