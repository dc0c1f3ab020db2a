"""Refits: the zeros of each point, trained on without the penalty."""

import keras
import numpy as np
import pytest
from selection.linear_models import linear

import kreg
from kreg.selection import Training, path

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 6)).astype("float32")
Y = (2.0 * X[:, :1] - X[:, 1:2] + 0.3 * X[:, 2:3]).astype("float32")
Y += 0.3 * RNG.normal(size=(80, 1)).astype("float32")
STRENGTHS = [4.0, 1.0, 0.4, 0.01]


def least_squares(columns):
    """The weights of the model that reads some columns, with NumPy."""
    read = np.column_stack([X[:, columns], np.ones(80)]).astype("float64")
    solution, *_ = np.linalg.lstsq(read, Y, rcond=None)
    kernel = np.zeros((6, 1))
    kernel[list(columns)] = solution[:-1]
    return kernel


@pytest.fixture(scope="module", name="result")
def _result():
    return path(
        lambda: linear(6),
        (X, Y),
        kreg.L1,
        STRENGTHS,
        training=Training(
            epochs=20_000, batch_size=None, tolerance=1e-5, refit=True
        ),
        verbose=0,
    )


@pytest.mark.slow
def test_every_point_is_least_squares_on_its_support(result):
    supports = [point.selected_inputs for point in result.points]
    assert len(set(supports)) > 2
    for support, (kernel, _) in zip(supports, result.weights, strict=True):
        np.testing.assert_allclose(kernel, least_squares(support), atol=1e-3)


@pytest.mark.thorough
def test_a_refit_stops_at_the_tolerance(result):
    assert all(point.converged for point in result.points)
    assert max(point.steps for point in result.points) < 4_000


@pytest.mark.thorough
def test_supports_are_those_of_the_path_without_refits(result):
    plain = path(
        lambda: linear(6),
        (X, Y),
        kreg.L1,
        STRENGTHS,
        training=Training(epochs=20_000, batch_size=None, tolerance=1e-5),
        verbose=0,
    )
    assert [point.selected_inputs for point in plain.points] == [
        point.selected_inputs for point in result.points
    ]


@pytest.mark.slow
def test_all_refits_are_traced_once():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("torch runs every step, JAX compiles each refit")
    traces = []

    class Counted(keras.layers.Layer):
        def call(self, x, training=None):
            if training:
                traces.append(x)
            return x

    def counted():
        model = linear(6)
        inner = keras.Sequential([keras.Input((6,)), Counted(), model])
        inner.compile(
            model.optimizer,
            model.loss,
            jit_compile=keras.backend.backend() == "jax",
        )
        return inner

    counts = []
    for strengths in (STRENGTHS[:1], STRENGTHS):
        traces.clear()
        path(
            counted,
            (X, Y),
            kreg.L1,
            strengths,
            training=Training(
                epochs=64, batch_size=None, tolerance=None, refit=True
            ),
            verbose=0,
        )
        counts.append(len(traces))
    assert counts[0] == counts[1]


def test_a_support_is_frozen_anew_without_another_trace():
    # On JAX with one, but the zeros are the new ones on every backend.
    model = linear(6)
    kernel = model.weights[0]
    for zeros in ([0, 2], [1, 2, 5]):
        values = np.ones((6, 1), "float32")
        values[zeros] = 0.0
        kernel.assign(values)
        kreg.freeze_support(model, [kernel])
        model.fit(X, Y, epochs=2, verbose=0)
        trained = keras.ops.convert_to_numpy(kernel)
        assert np.flatnonzero(trained == 0.0).tolist() == zeros
