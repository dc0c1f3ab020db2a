"""Strengths of logistic models are chosen as scikit-learn's fits say."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import scale

import kreg

pytestmark = pytest.mark.slow
STRENGTHS = np.geomspace(0.3, 0.01, 6)


def losses_of_scikit_learn(x, y, folds):
    """The loss on the rows that each fold leaves out, at each strength."""
    found = np.empty((len(folds), len(STRENGTHS)))
    for i, (train, left_out) in enumerate(folds):
        for j, strength in enumerate(STRENGTHS):
            model = LogisticRegression(
                l1_ratio=1.0,
                C=1.0 / (strength * len(train)),
                solver="saga",
                tol=1e-6,
                max_iter=50_000,
            ).fit(x[train], y[train])
            found[i, j] = log_loss(
                y[left_out], model.predict_proba(x[left_out])
            )
    return found


@pytest.mark.parametrize(
    ("load", "units", "loss", "activation"),
    [
        (load_breast_cancer, 1, "binary_crossentropy", "sigmoid"),
        (load_wine, 3, "sparse_categorical_crossentropy", "softmax"),
    ],
    ids=["two classes", "three classes"],
)
def test_scores_and_choices(load, units, loss, activation):
    x, y = load(return_X_y=True)
    x = scale(x)
    splitter = StratifiedKFold(4, shuffle=True, random_state=0)
    folds = list(splitter.split(x, y))

    def build_model():
        layer = keras.layers.Dense(units, activation)
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        model.compile(keras.optimizers.SGD(0.2, momentum=0.95), loss)
        return model

    theirs = losses_of_scikit_learn(x, y, folds)
    means = theirs.mean(axis=0)
    best = means.argmin()
    limit = means[best] + theirs[:, best].std(ddof=1) / len(folds) ** 0.5
    wanted = {
        "best": STRENGTHS[best],
        "one_standard_error": STRENGTHS[means <= limit].max(),
    }
    for select, strength in wanted.items():
        ours = kreg.compare(
            build_model,
            (x, y),
            [kreg.L1],
            strengths=STRENGTHS,
            folds=folds,
            select=select,
            training=kreg.selection.Training(
                epochs=4000, batch_size=None, tolerance=1e-6
            ),
            execution=kreg.selection.Execution(verbose=0),
        )
        scores = np.array([row.scores for row in ours.rows]).T
        np.testing.assert_allclose(scores, theirs, rtol=1e-3)
        assert ours.chosen.strength == pytest.approx(strength)
