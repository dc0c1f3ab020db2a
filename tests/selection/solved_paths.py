"""A stand-in for `kreg.path`: linear models, solved with NumPy."""

import numpy as np

from kreg import L1, L2
from kreg.selection import PathPoint, PathResult


def solved_path(task, verbose):
    """The Lasso (or ridge) path of a linear model with one output.

    In place of `PathTask.run`: trains nothing.
    """
    data, penalty = task.data, task.penalty
    assert penalty in (L1, L2)
    x, y = _rows(data.train)
    strengths = task.strengths.values
    if strengths is None:
        assert task.strengths.num == 1
        strengths = [2.0 * np.abs(x.T @ (y - y.mean())).max() / len(x)]
    points, weights = [], []
    for strength in sorted(strengths, reverse=True):
        if penalty is L1:
            kernel = _lasso(x - x.mean(axis=0), y - y.mean(), strength)
        else:
            kernel = _ridge(x - x.mean(axis=0), y - y.mean(), strength)
        bias = y.mean() - x.mean(axis=0) @ kernel
        weights.append((kernel[:, None], np.array([bias])))
        points.append(
            PathPoint(
                strength=strength,
                fraction=None,
                sparsity=float(np.mean(kernel == 0.0)),
                nonzeros=int(np.count_nonzero(kernel)),
                dead_units=0,
                dead_inputs=0,
                selected_inputs=None,
                train=_figures(data.train, kernel, bias),
                validation=_figures(data.validation, kernel, bias),
                epochs=task.training.epochs,
                steps=task.training.epochs,
                optimality=0.0,
                seconds=1.0,
                converged=True,
            )
        )
    return PathResult(
        points=tuple(points),
        penalty=penalty.__name__,
        monitor=task.training.monitor,
        seed=task.seed,
        weights=tuple(weights),
    )


def _rows(part):
    return part.x.astype("float64"), part.y.astype("float64").ravel()


def _figures(part, kernel, bias):
    if part is None:
        return {}
    x, y = _rows(part)
    return {"data_loss": float(np.mean((x @ kernel + bias - y) ** 2))}


def _ridge(x, y, strength):
    pull = len(x) * strength * np.eye(x.shape[1])
    return np.linalg.solve(x.T @ x + pull, x.T @ y)


def _lasso(x, y, strength, rounds=300):
    """Coordinate descent on `mean((y - x w) ** 2) + strength * |w|_1`."""
    kernel = np.zeros(x.shape[1])
    curvatures = 2.0 * (x**2).mean(axis=0)
    for _ in range(rounds):
        for i, curvature in enumerate(curvatures):
            rest = y - x @ kernel + x[:, i] * kernel[i]
            pull = 2.0 * (x[:, i] * rest).mean()
            size = max(abs(pull) - strength, 0.0) / curvature
            kernel[i] = np.sign(pull) * size
    return kernel
