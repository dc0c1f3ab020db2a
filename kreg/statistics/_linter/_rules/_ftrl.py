"""An optimizer whose first step forgets the weights."""

from collections.abc import Iterator

import keras

from kreg.statistics._linter._tolerant import attribute, number
from kreg.statistics._linter._weight_facts import Fault, ModelFacts


def ftrl_first_step(model: ModelFacts) -> Iterator[Fault]:
    """Ftrl before its first step, on weights that are not all zero."""
    for weight in model.weights:
        if weight.optimizer is None or not weight.trained:
            continue
        ftrl = weight.optimizer.optimizer
        if (
            not isinstance(ftrl, keras.optimizers.Ftrl)
            or number(attribute(ftrl, "iterations")) != 0.0
            or not number(attribute(ftrl, "initial_accumulator_value")) > 0.0
            or weight.zeros is None
            or weight.zeros.all()
        ):
            continue
        yield Fault(
            weight.path,
            "the first step of Ftrl replaces its initial or pretrained values "
            "by a function of Ftrl's accumulators",
            "compile with `keras.optimizers.Adagrad()`, which starts from the "
            "weights",
        )
