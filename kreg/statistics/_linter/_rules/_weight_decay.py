"""A weight that is shrunk twice."""

from collections.abc import Iterator
from functools import partial

from kreg._keras_private import weight_decay_of
from kreg.statistics._linter._tolerant import answer, number
from kreg.statistics._linter._weight_facts import Fault, ModelFacts


def l2_and_weight_decay(model: ModelFacts) -> Iterator[Fault]:
    """An L2 penalty and the optimizer's weight decay on the same weight."""
    for weight in model.weights:
        optimizer = weight.optimizer
        if optimizer is None or not weight.is_penalized:
            continue
        name, decay = answer(
            partial(weight_decay_of, optimizer.optimizer, weight.variable)
        ) or ("", 0.0)
        if not number(decay) > 0.0 or not model.shrinks_in_proportion(weight):
            continue
        off = f"set `{optimizer.code or 'optimizer'}.{name} = 0.0`"
        less = (
            "leave the L2 part out"
            if model.makes_zeros(weight)
            else f"take the penalty off with `{model.setting(weight, 'None')}`"
        )
        yield Fault(
            weight.path,
            f"both its L2 penalty and {name}={number(decay):.6g} of "
            f"{optimizer.name} shrink it",
            f"keep one: {off} before training, or {less}",
        )
