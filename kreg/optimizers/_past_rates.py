"""The average of the learning rates of past updates in momentum.

SGD and RMSprop multiply each gradient by the current learning rate before they
add it to their momentum. So while the rate falls, updates are longer than the
present rate suggests. A proximal step balances them only if it uses the same
average of rates; with the present rate, weights at the end of a cosine decay
would be shrunk too little.
"""

import keras
from keras import ops

from kreg._types import Tensor
from kreg.binding.binding import member_optimizers
from kreg.optimizers.table import momentum_holds_rate, momentum_of


def rate_averages(
    wrapper: keras.optimizers.Optimizer,
    inner_optimizer: keras.optimizers.Optimizer,
) -> dict[int, keras.Variable]:
    """Variables for the averages of learning rates over past updates.

    Args:
        wrapper: the optimizer that owns the new variables.
        inner_optimizer: the optimizer, or a `MultiOptimizer`.

    Returns:
        A variable for each optimizer whose momentum includes learning rates, by
        the optimizer's `id`.
    """
    return {
        id(optimizer): wrapper.add_variable(
            shape=(),
            aggregation="only_first_replica",
            name=f"{optimizer.name}_average_rate",
        )
        for optimizer in member_optimizers(inner_optimizer)
        if momentum_holds_rate(optimizer) and momentum_of(optimizer)
    }


def updated_rate(
    average: keras.Variable, rate: Tensor, momentum: float
) -> Tensor:
    """The average of learning rates, updated with one more.

    It starts at the first rate, so it equals a constant rate.

    Args:
        average: the previous average; 0 before the first update.
        rate: the learning rate of the update.
        momentum: the decay of the optimizer's momentum.
    """
    before = ops.convert_to_tensor(average)
    rate = ops.cast(rate, before.dtype)
    new = before + (1.0 - momentum) * (rate - before)
    return ops.where(ops.equal(before, 0), rate, new)
