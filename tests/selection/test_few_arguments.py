"""Public functions have few arguments, and name where moved ones went."""

import inspect
import json
from dataclasses import asdict

import numpy as np
import pytest

import kreg
from kreg.selection.moved_arguments import MOVED

FUNCTIONS = {
    name: value
    for name in kreg.selection.__all__
    if inspect.isfunction(value := getattr(kreg.selection, name))
}
SELECTORS = {
    name: getattr(kreg.selection, name)
    for name in ("FeatureSelector", "StabilitySelector")
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *SELECTORS])
def test_at_most_ten_parameters_and_none_without_a_name(name):
    function = {**FUNCTIONS, **SELECTORS}[name]
    parameters = inspect.signature(function).parameters.values()
    assert len(parameters) <= 10
    assert all(p.kind is not p.VAR_KEYWORD for p in parameters)
    assert all(p.annotation is not p.empty for p in parameters)


@pytest.mark.parametrize(
    ("name", "keyword"),
    [(name, keyword) for name, moved in MOVED.items() for keyword in moved],
)
def test_every_moved_keyword_names_its_place(name, keyword):
    function = {**FUNCTIONS, **SELECTORS}[name]
    parameters = inspect.signature(function).parameters
    assert keyword not in parameters
    place = rf"`{keyword}` of `{name}` is now .*: .*`"
    with pytest.raises(TypeError, match=place) as raised:
        function(None, None, **{keyword: 20})
    assert f"Received: {keyword}=20" in str(raised.value)
    # The argument that it tells of is one of the function.
    told = str(raised.value)
    assert keyword == "log_dir" or any(f"`{p}" in told for p in parameters)


def test_an_example_of_a_moved_keyword():
    with pytest.raises(TypeError) as raised:
        kreg.path(None, None, kreg.L1, epochs=20)
    assert str(raised.value) == (
        "`epochs` of `path` is now an argument of `kreg.selection.Training`: "
        "pass `training=kreg.selection.Training(epochs=...)`. "
        "Received: epochs=20"
    )


@pytest.mark.parametrize("name", MOVED)
def test_an_unknown_keyword_is_refused_by_python(name):
    function = {**FUNCTIONS, **SELECTORS}[name]
    with pytest.raises(TypeError, match="unexpected keyword argument 'fold'"):
        function(None, None, None, fold=3)


def test_numbers_of_numpy_become_pythons_own():
    training = kreg.selection.Training(
        np.int64(3), batch_size=np.int32(4), tolerance=np.float32(0.5)
    )
    grid = kreg.selection.StrengthGrid(values=np.array([0.5, 0.25]))
    assert json.loads(json.dumps([asdict(training), asdict(grid)]))
