"""Stability selection finds the planted features, on halves of the rows."""

from concurrent.futures import Executor, Future
from functools import partial

import keras
import numpy as np
import pytest
from selection.linear_models import linear

import kreg
from kreg.selection import (
    Arrays,
    Execution,
    StabilityResult,
    StrengthGrid,
    Training,
    stability_selection,
)
from kreg.selection.data.folds import complementary_halves

RNG = np.random.default_rng(0)
PLANTED = (2, 7, 11)
X = RNG.normal(size=(160, 16)).astype("float32")
Y = 2.0 * X[:, 2] - 1.5 * X[:, 7] + X[:, 11] + RNG.normal(size=160)
FAST = {
    "training": Training(50, batch_size=None, tolerance=1e-2),
    "strengths": StrengthGrid(8, ratio=0.05),
}


def select(**options):
    options = {**FAST, **options}
    return stability_selection(partial(linear, 16), (X, Y), **options)


@pytest.mark.slow
def test_planted_features_are_found_and_noise_is_not():
    result = select(pairs=8, expected_false=1.0, threshold=0.8)
    assert result.selected == PLANTED
    noise = [f for i, f in enumerate(result.frequencies) if i not in PLANTED]
    assert max(noise) < 0.8
    assert result.limit == 3  # 3 ** 2 <= 1.0 * 16 * 0.6 < 4 ** 2
    assert result.expected_false <= 1.0


@pytest.mark.slow
def test_no_half_selects_more_than_the_bound_allows():
    result = select(pairs=1, expected_false=0.6)
    assert result.limit == 2
    assert all(len(features) <= 2 for features in result.selections)


class Here(Executor):
    """Runs each task when it is submitted."""

    def __init__(self):
        self.number = 0

    def submit(self, fn, /, *args, **kwargs):
        self.number += 1
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.slow
def test_an_executor_gives_the_same():
    executor = Here()
    assert select(pairs=1, execution=Execution(executor)) == select(pairs=1)
    assert executor.number == 2


@pytest.mark.parametrize("size", [40, 41])
def test_halves_are_complementary(size):
    arrays = Arrays(np.zeros((size, 1)), np.linspace(0, 1, size))
    halves = complementary_halves(arrays, 3, seed=0)
    assert len(halves) == 6
    for first, second in zip(halves[::2], halves[1::2], strict=True):
        assert len(first) == len(second) == size // 2
        assert not set(first) & set(second)
    assert len({tuple(half) for half in halves}) == 6
    more = complementary_halves(arrays, 5, seed=0)
    np.testing.assert_array_equal(more[:6], halves)


def test_a_half_of_one_class_is_refused_before_training():
    y = np.zeros(160, "int64")
    y[0] = 1
    with pytest.raises(ValueError, match="at least two classes"):
        stability_selection(partial(linear, 16), (X, y), **FAST)


def test_a_bound_that_allows_nothing():
    with pytest.raises(ValueError, match=r"expected_false=0.1.*16 features"):
        select(expected_false=0.1)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"threshold": 0.5}, ValueError, "`threshold` must be"),
        ({"pairs": 0}, ValueError, "`pairs` must be"),
        ({"expected_false": 0.0}, ValueError, "`expected_false` must be"),
        ({"execution": "local"}, TypeError, "`execution` must be"),
        (
            {"training": Training(5, refit=True)},
            ValueError,
            "`training` must have `refit=False`",
        ),
    ],
)
def test_arguments_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        select(**options)


def test_an_executor_that_is_none():
    with pytest.raises(TypeError, match="`executor` must be"):
        Execution("local")


def test_data_that_have_no_rows_to_split():
    class Batches:
        def __iter__(self):
            return iter([(X, Y)])

    with pytest.raises(TypeError, match="split into halves"):
        stability_selection(partial(linear, 16), Batches(), **FAST)


def test_a_model_that_does_not_tell_what_it_reads():
    def images():
        model = keras.Sequential(
            [
                keras.Input((4, 4)),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        return model

    with pytest.raises(ValueError, match="single flat input"):
        stability_selection(images, (X.reshape(-1, 4, 4), Y), **FAST)


def test_result_of_hand_made_selections():
    result = StabilityResult(((0, 2), (2,), (2, 3), (0, 2)), 8, 2, 0.75)
    assert result.frequencies == (0.5, 0, 1, 0.25, 0, 0, 0, 0)
    assert result.selected == (2,)
    assert result.expected_false == pytest.approx(2**2 / 8 / 0.5)


def test_result_is_saved_as_a_whole(tmp_path):
    result = StabilityResult(((0, 2), (2,)), 8, 2, 0.75, seed=3)
    result.save(tmp_path / "stable.json")
    assert StabilityResult.load(tmp_path / "stable.json") == result
    assert [p.name for p in tmp_path.iterdir()] == ["stable.json"]


def test_default_penalty_is_the_lasso_of_a_linear_model():
    kernel = RNG.normal(size=(5, 1)).astype("float32")
    layer = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((5,)), layer])
    layer.kernel.assign(kernel)
    kreg.attach(model, kreg.selection.input_lasso(0.3))
    expected = 0.3 * np.abs(kernel).sum()
    found = keras.ops.convert_to_numpy(model.losses[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
