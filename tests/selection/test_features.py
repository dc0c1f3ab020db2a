"""The order in which input features enter a path."""

import pytest
from selection.path_records import path, point

from kreg.selection import entry_order, first_features

UPWARDS = path(
    point(0.1, (0, 1, 3), fraction=0.125),
    point(0.2, (0, 3), fraction=0.25),
    point(0.4, (1, 3), fraction=0.5),
    point(0.8, (), fraction=1.0),
)


def test_features_are_ordered_by_the_largest_strength_that_reads_them():
    entries = entry_order(UPWARDS)
    assert [e.feature for e in entries] == [1, 3, 0]
    assert [e.strength for e in entries] == [0.4, 0.4, 0.2]
    assert [e.fraction for e in entries] == [0.5, 0.5, 0.25]


def test_order_does_not_depend_on_the_direction_of_the_path():
    assert entry_order(path(*reversed(UPWARDS.points))) == entry_order(UPWARDS)


def test_a_feature_that_leaves_again_does_not_stay():
    stays = {e.feature: e.stays for e in entry_order(UPWARDS)}
    assert stays == {1: False, 3: True, 0: True}


def test_names():
    entries = entry_order(UPWARDS, ["age", "sex", "bmi", "bp"])
    assert [e.name for e in entries] == ["sex", "bp", "age"]
    assert [e.name for e in entry_order(UPWARDS)] == ["1", "3", "0"]


def test_too_few_names():
    with pytest.raises(ValueError, match=r"Received: 2 names.*feature 3"):
        entry_order(UPWARDS, ["age", "sex"])


@pytest.mark.parametrize(
    ("number", "features"),
    [(1, ()), (2, (1, 3)), (3, (0, 1, 3)), (9, (0, 1, 3))],
)
def test_first_features(number, features):
    assert first_features(UPWARDS, number) == features


def test_first_features_counts_those_that_left():
    # 1 and 3, then 0 beside 3: three have entered, though no point has three.
    readings = path(point(0.4, (1, 3)), point(0.2, (0, 3)))
    assert first_features(readings, 2) == (1, 3)
    assert first_features(readings, 3) == (0, 1, 3)


@pytest.mark.parametrize(
    "function", [entry_order, lambda p: first_features(p, 1)]
)
def test_a_path_that_does_not_tell(function):
    with pytest.raises(ValueError, match=r"single flat input.*strength=0.1"):
        function(path(point(0.1, None)))


@pytest.mark.parametrize("number", [0, -1])
def test_number_must_be_positive(number):
    with pytest.raises(ValueError, match="`number` must be a positive"):
        first_features(UPWARDS, number)
