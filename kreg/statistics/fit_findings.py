"""The findings of `kreg.check` in a model during `fit`."""

import keras

from kreg.statistics._linter.check import Findings, findings_of
from kreg.statistics._linter.model_facts import ModelFacts


def findings_in_fit(
    model: keras.Model,
    *,
    steps: int | None = None,
    data_loss: float | None = None,
) -> Findings:
    """The findings of `kreg.check`, except those that a callback may resolve.

    A multiplier of 0 is not reported, because a callback may be about to raise
    it.

    Args:
        model: a model with weights.
        steps: the planned number of updates, or None.
        data_loss: the loss without penalties, or None.
    """
    return findings_of(ModelFacts(model, steps, data_loss, in_fit=True))
