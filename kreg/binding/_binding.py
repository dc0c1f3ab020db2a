"""What a model's bound penalties know in common."""

import weakref
from collections.abc import Sequence
from typing import Any

import keras

from kreg._keras_private import carry_state
from kreg._types import Tensor
from kreg.binding._applier import PenaltyApplier, penalty_applier
from kreg.binding._bound_penalty import BoundPenalty
from kreg.binding._multipliers import Multipliers
from kreg.regularizers import Penalty
from kreg.regularizers._clock import Clock, current_clock


class Binding:
    """The clock and the multipliers of the penalties of one model.

    Held by the bound penalties; knows its model weakly and asks it for its
    optimizer each time a step is traced.

    Args:
        model: the model whose weights are bound.
        optimizer: the optimizer of a custom loop, or None for the model's.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        self._model = weakref.ref(model)
        self.own_optimizer = optimizer
        self._blocks: list[Multipliers] = []

    @property
    def optimizer(self) -> keras.optimizers.Optimizer | None:
        """The optimizer whose iterations are the clock, if there is one."""
        if self.own_optimizer is not None:
            return self.own_optimizer
        return getattr(self._model(), "optimizer", None)

    @property
    def applier(self) -> PenaltyApplier | None:
        """The optimizer, if it applies penalties by itself."""
        return penalty_applier(self.optimizer)

    def step(self) -> Tensor:
        """The number of updates of the optimizer; 0 without one."""
        optimizer = self.optimizer
        return 0 if optimizer is None else optimizer.iterations

    def multiplier(self, penalty: Penalty) -> Tensor | float:
        """What the strength of `penalty` is multiplied by."""
        block = self.block(penalty)
        if block is not None:
            return block.read(penalty)
        penalty.observe(self)
        return penalty.multiplier

    def governs(self, owner: Any) -> bool:
        """A model's step rules all but penalties with their own optimizer."""
        return owner is self or owner.own_optimizer is None

    def acting(self, owner: "Binding") -> "Binding":
        """This one: its model's optimizer updates the weight."""
        return self

    def governing_clock(self) -> Clock:
        """The clock of the step that is being run, else this one."""
        clock = current_clock()
        if clock is not None and clock.governs(self):
            return clock
        return self

    def check_own_clock(self, bound: BoundPenalty, w: Tensor) -> None:
        """Warn or raise where this clock cannot tell the step for `bound`."""
        if self.optimizer is None:
            if bound.penalty.is_scheduled:
                bound.penalty.warn_unbound("its model has no optimizer")
        elif keras.backend.backend() == "jax":
            from kreg.binding import _jax

            _jax.refuse_frozen_clock(bound.penalty, bound.path, w)

    def block(self, penalty: Penalty) -> Multipliers | None:
        """The variable that holds the multiplier of `penalty`, if any."""
        return next((b for b in self._blocks if penalty in b), None)

    def hold_multipliers(self, penalties: Sequence[Penalty]) -> None:
        """Make the multipliers of `penalties` visible to a compiled step."""
        block = Multipliers(penalties)
        self._blocks.append(block)
        if keras.backend.backend() == "jax":
            carry_state(self._model(), block.variable)
        for penalty in penalties:
            penalty.observe(self)

    def multiplier_changed(self, penalty: Penalty) -> None:
        """Pass a new multiplier on to the compiled steps."""
        block = self.block(penalty)
        if block is not None:
            block.update(penalty)
            return
        model = self._model()
        if model is not None:
            renew_functions(model)


def renew_functions(model: keras.Model) -> None:
    """Replace the model's compiled steps, which may be stale, by fresh ones."""
    if model.train_function is not None:
        model.make_train_function(force=True)
    if model.test_function is not None:
        model.make_test_function(force=True)
