"""The averages of past learning rates, or past steps, in momentum.

SGD and RMSprop multiply each gradient by the current learning rate before they
add it to their momentum. So while the rate falls, updates are longer than the
present rate suggests. A proximal step balances them only if it uses the same
average of rates; with the present rate, weights at the end of a cosine decay
would be shrunk too little.

Each weight has its own average, over the updates that it took part in, with or
without a penalty. So a weight that was left out for a while, or whose penalty
was suspended, continues with the rates in its momentum.

Centered RMSprop with momentum divides each gradient by a standard deviation
that changes by orders of magnitude within a few updates. There the average is
that of each entry's effective step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops

from kreg._keras_private import built_variables, responsible_optimizer
from kreg._types import Tensor
from kreg.binding.binding import member_optimizers
from kreg.optimizers._clipping import updated_average
from kreg.optimizers.optimizer_row import EffectiveStep
from kreg.optimizers.table import (
    effective_step_rule,
    momentum_holds_rate,
    momentum_holds_step,
    momentum_of,
)
from kreg.regularizers.norms import summable_dtype


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
        the optimizer's `id`. It has an entry for each weight of the optimizer.
        Optimizers whose steps are averaged are left out.
    """
    return {
        id(optimizer): wrapper.add_variable(
            shape=(len(built_variables(optimizer)),),
            aggregation="only_first_replica",
            name=f"{optimizer.name}_average_rate",
        )
        for optimizer in member_optimizers(inner_optimizer)
        if momentum_holds_rate(optimizer)
        and momentum_of(optimizer)
        and not momentum_holds_step(optimizer)
        and built_variables(optimizer)
    }


def step_averages(
    wrapper: keras.optimizers.Optimizer,
    inner_optimizer: keras.optimizers.Optimizer,
) -> list[keras.Variable | None]:
    """Variables for the averages of effective steps over past updates.

    Args:
        wrapper: the optimizer that owns the new variables.
        inner_optimizer: the optimizer, or a `MultiOptimizer`.

    Returns:
        A variable for each weight of the optimizer; None where the average of
        learning rates is enough.
    """
    return [
        wrapper.add_variable(
            shape=variable.shape,
            dtype=summable_dtype(variable),
            aggregation="mean",
            name=f"{variable.name}_average_step",
        )
        if momentum_holds_step(responsible_optimizer(inner_optimizer, variable))
        else None
        for variable in built_variables(inner_optimizer)
    ]


@dataclass(frozen=True)
class PendingStepAverage:
    """The average of a weight's effective steps, with a running update.

    Args:
        variable: the weight.
        optimizer: the optimizer that updates it.
        average: the variable that holds the average.
        rate: the learning rate of the update.
        updates: the number of updates before this one.
    """

    variable: keras.Variable
    optimizer: keras.optimizers.Optimizer
    average: keras.Variable
    rate: Tensor
    updates: Tensor

    def assign(self) -> EffectiveStep:
        """Keep the average after the update, and return it as a step."""
        rate = ops.cast(self.rate, self.variable.dtype)
        rule = effective_step_rule(self.optimizer)
        effective = rule(self.optimizer, self.variable, rate)
        momentum = momentum_of(self.optimizer) or 0.0
        step = updated_average(self.average, effective.step, momentum)
        if self.optimizer.gradient_accumulation_steps:
            updated = self.optimizer.iterations > self.updates
            step = ops.where(updated, step, ops.convert_to_tensor(self.average))
        self.average.assign(step)
        return replace(effective, step=step)


def pending_step_averages(
    averages: Sequence[keras.Variable | None],
    inner_optimizer: keras.optimizers.Optimizer,
    updated: Sequence[keras.Variable],
) -> dict[int, PendingStepAverage]:
    """The averages of steps that take part in an update, before it is made.

    Args:
        averages: those of all weights of the optimizer, None for some.
        inner_optimizer: the optimizer, or a `MultiOptimizer`.
        updated: the weights that take part in the update.

    Returns:
        The averages by the `id` of the weight.
    """
    ids = {id(variable) for variable in updated}
    pending = {}
    built = built_variables(inner_optimizer)
    for variable, average in zip(built, averages, strict=True):
        if average is not None and id(variable) in ids:
            optimizer = responsible_optimizer(inner_optimizer, variable)
            pending[id(variable)] = PendingStepAverage(
                variable,
                optimizer,
                average,
                ops.convert_to_tensor(optimizer.learning_rate) + 0.0,
                ops.convert_to_tensor(optimizer.iterations) + 0,
            )
    return pending


def place_of(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> int:
    """The place of a weight among the averages of its optimizer."""
    return [id(v) for v in built_variables(optimizer)].index(id(variable))


@dataclass(frozen=True)
class PendingRates:
    """The averages of an optimizer's rates with that of the running update.

    Args:
        optimizer: the optimizer.
        averages: the variable that holds them.
        after: their values after the update.
        updates: the number of updates before this one.
    """

    optimizer: keras.optimizers.Optimizer
    averages: keras.Variable
    after: Tensor
    updates: Tensor

    def rate_of(self, variable: keras.Variable, rate: Tensor) -> Tensor:
        """The rate that matches the momentum of a weight.

        For a weight that has had no gradient yet, it is the present one.

        Args:
            variable: the weight.
            rate: the learning rate of the update.
        """
        average = self.after[place_of(self.optimizer, variable)]
        rate = ops.cast(rate, average.dtype)
        average = ops.where(ops.equal(average, 0), rate, average)
        if not getattr(self.optimizer, "nesterov", False):
            return average
        # Its update is the present gradient and the momentum in proportion.
        momentum = momentum_of(self.optimizer) or 0.0
        return rate + momentum * (average - rate)

    def assign(self) -> None:
        """Keep the averages; called after the update."""
        after = self.after
        if self.optimizer.gradient_accumulation_steps:
            updated = self.optimizer.iterations > self.updates
            before = ops.convert_to_tensor(self.averages)
            after = ops.where(updated, after, before)
        self.averages.assign(after)


def pending_rates(
    averages: Mapping[int, keras.Variable],
    inner_optimizer: keras.optimizers.Optimizer,
    updated: Sequence[keras.Variable],
) -> dict[int, PendingRates]:
    """The averages of rates with those of an update, before it is made.

    They begin with the first rate, so they equal a rate that is constant.

    Args:
        averages: the variables of the averages, by the `id` of the optimizer.
        inner_optimizer: the optimizer, or a `MultiOptimizer`.
        updated: the weights that take part in the update.

    Returns:
        The averages of each optimizer that updates a weight, by its `id`.
    """
    pending = {}
    ids = {id(variable) for variable in updated}
    for optimizer in member_optimizers(inner_optimizer):
        variable = averages.get(id(optimizer))
        moved = np.array([id(v) in ids for v in built_variables(optimizer)])
        if variable is None or not moved.any():
            continue
        before = ops.convert_to_tensor(variable)
        rate = ops.cast(optimizer.learning_rate, before.dtype)
        share = 1.0 - (momentum_of(optimizer) or 0.0)
        after = before + share * (rate - before)
        after = ops.where(ops.equal(before, 0), rate, after)
        pending[id(optimizer)] = PendingRates(
            optimizer,
            variable,
            after if moved.all() else ops.where(moved, after, before),
            ops.convert_to_tensor(optimizer.iterations) + 0,
        )
    return pending
