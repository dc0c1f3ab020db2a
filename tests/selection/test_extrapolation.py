"""Points of a path begin at extrapolated weights if these are better."""

import keras
import numpy as np
import pytest
from selection.linear_models import logistic
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

import kreg
from kreg.selection import Training, path
from kreg.selection.paths import run as path_run
from kreg.selection.paths.run import extrapolate
from kreg.selection.training.models import values_of

# Down to a quarter, then to a half: half as far in logarithms.
STRENGTHS = [8.0, 2.0, 1.0]
BEFORE = np.array([4.0, -4.0, 1.0, 2.0, 0.0])
LAST = np.array([2.0, -6.0, 1.0, 0.0, 3.0])
NEXT = np.array([1.0, -7.0, 1.0, 0.0, 4.5])


def moved(towards, before=(BEFORE,), strengths=STRENGTHS, last=LAST):
    """The weights, moved if it brings them nearer to others."""
    weights = keras.Variable(last)

    def distance():
        values = keras.ops.convert_to_numpy(weights.value)
        return float(np.sum((values - towards) ** 2))

    kept = extrapolate([weights], list(before), strengths, distance)
    np.testing.assert_array_equal(kept[0], last)
    return values_of([weights])[0]


def test_weights_go_on_along_the_logarithm_of_the_strength():
    np.testing.assert_allclose(moved(NEXT), NEXT, rtol=1e-6)


def test_half_of_the_way_is_gone_if_that_is_better():
    half = (LAST + NEXT) / 2
    np.testing.assert_allclose(moved(half), half, rtol=1e-6)


def test_weights_stay_if_both_are_worse():
    np.testing.assert_array_equal(moved(LAST), LAST)
    np.testing.assert_array_equal(moved(np.full(5, np.nan)), LAST)


def test_no_weight_becomes_zero_or_changes_its_sign():
    last = np.array([0.5, -6.0, 1.0, 0.0, 3.0])
    on_the_line = last + (last - BEFORE) / 2
    assert on_the_line[0] < 0.0
    assert on_the_line[3] < 0.0
    kept = np.array([0.5, -7.0, 1.0, 0.0, 4.5])
    np.testing.assert_allclose(moved(on_the_line, last=last), kept, rtol=1e-6)


@pytest.mark.parametrize(
    ("before", "strengths"),
    [((), STRENGTHS), ((), STRENGTHS[:2]), ((BEFORE,), [0.0, 1.0, 2.0])],
)
def test_weights_stay_where_no_line_is_known(before, strengths):
    np.testing.assert_array_equal(moved(NEXT, before, strengths), LAST)


@pytest.mark.slow
def test_a_path_takes_fewer_steps_to_the_same_minima(monkeypatch):
    x, y = load_breast_cancer(return_X_y=True)
    x = scale(x).astype("float32")

    def run():
        return path(
            lambda: logistic(30),
            (x, y.astype("float32")),
            kreg.L1,
            np.geomspace(0.1, 0.01, 8),
            training=Training(epochs=4000, batch_size=None),
            verbose=0,
        )

    ahead = run()
    monkeypatch.setattr(path_run, "_LENGTHS", ())
    behind = run()
    minima = [[p.train["loss"] for p in r.points] for r in (ahead, behind)]
    np.testing.assert_allclose(*minima, rtol=1e-3)
    steps = [sum(p.steps for p in r.points) for r in (ahead, behind)]
    assert steps[0] < 0.8 * steps[1]


@pytest.mark.thorough
@pytest.mark.parametrize(("epochs", "asked"), [(31, False), (32, True)])
def test_where_to_begin_is_asked_where_epochs_are_many(
    epochs, asked, monkeypatch
):
    starts = []

    def counted(variables, *others):
        starts.append(len(others))
        return extrapolate(variables, *others)

    monkeypatch.setattr(path_run, "extrapolate", counted)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    path(
        lambda: logistic(3),
        (x, np.repeat([0.0, 1.0], 10)),
        kreg.L1,
        [0.1, 0.05, 0.02],
        training=Training(epochs=epochs, tolerance=None),
        verbose=0,
    )
    assert len(starts) == (2 if asked else 0)
