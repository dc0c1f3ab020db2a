"""`Binding`, the clock of one model, and the penalties bound to variables."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kreg._keras_private import carry_state, in_symbolic_scope
from kreg._types import Tensor
from kreg.binding.multipliers import Multipliers
from kreg.binding.step_record import record_read
from kreg.regularizers.clock import Clock, current_clock
from kreg.regularizers.grouping import Layout
from kreg.regularizers.norms import summable_dtype
from kreg.regularizers.penalty import Penalty
from kreg.regularizers.strength_regularizer import StrengthRegularizer


class PenaltyApplier:
    """Marks an optimizer that applies penalties after its update.

    A bound penalty lets no gradient through under such an optimizer.
    """

    inner_optimizer: keras.optimizers.Optimizer


def penalty_applier(
    optimizer: keras.optimizers.Optimizer | None,
) -> PenaltyApplier | None:
    """`optimizer` without loss scaling, if it applies penalties; else None."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer if isinstance(optimizer, PenaltyApplier) else None


def innermost_optimizer(
    optimizer: keras.optimizers.Optimizer | None,
) -> keras.optimizers.Optimizer | None:
    """The optimizer that computes the updates, inside all its wrappers."""
    while isinstance(
        optimizer, (keras.optimizers.LossScaleOptimizer, PenaltyApplier)
    ):
        optimizer = optimizer.inner_optimizer
    return optimizer


def member_optimizers(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.optimizers.Optimizer]:
    """The members of a `MultiOptimizer`; of any other optimizer, itself."""
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return list(optimizer.optimizers)
    return [optimizer]


class BoundRegularizer:
    """A regularizer of kreg on one variable, evaluated at its model's step.

    It reads the clock each time it is traced, so it is never stale.

    Args:
        penalty: the user's own object.
        variable: the weight it acts on.
        binding: the binding of the weight's model.
        layout: the weight's units and inputs; None if its layer is unknown.
    """

    def __init__(
        self,
        penalty: StrengthRegularizer,
        variable: keras.Variable,
        binding: "Binding",
        layout: Layout | None,
    ) -> None:
        self.penalty = penalty
        self.path: str = variable.path
        self.binding = binding
        self.suspended = False
        try:
            self.groups = penalty.grouping(tuple(variable.shape), layout)
        except ValueError as error:
            raise ValueError(f"On `{self.path}`: {error}") from None

    def strengths(self) -> dict[str, Tensor | float]:
        """The strengths at the step of the model that is running."""
        if self.suspended:
            return dict.fromkeys(self.penalty.strength_names(), 0.0)
        clock = self.binding.running_clock()
        return self.penalty.strengths(
            clock.step(), clock.multiplier(self.penalty)
        )

    def __call__(self, w: Tensor) -> Tensor:
        if self.suspended:
            return ops.zeros((), summable_dtype(w))
        clock = self.binding.running_clock()
        if clock is self.binding and not in_symbolic_scope():
            self.binding.check_own_clock(self, w)
        passes_gradient = self.passes_gradient(clock)
        if not passes_gradient:
            w = ops.stop_gradient(ops.convert_to_tensor(w))
        value = self.penalty.evaluate(
            w, clock.step(), clock.multiplier(self.penalty), self.groups
        )
        record_read(self, value, passes_gradient=passes_gradient)
        return value

    def passes_gradient(self, clock: Clock) -> bool:
        """Whether its gradient passes: always, as it has no proximal step."""
        return True


class BoundPenalty(BoundRegularizer):
    """A kreg penalty on one variable, evaluated at its model's step.

    Under an optimizer that takes proximal steps it adds its value to the loss
    but lets no gradient through, so that the penalty acts once.

    Args:
        penalty: the user's own object.
        variable: the weight it acts on.
        binding: the binding of the weight's model.
        layout: the weight's units and inputs; None if its layer is unknown.
    """

    penalty: Penalty

    def passes_gradient(self, clock: Clock) -> bool:
        """Whether its gradient passes: not if its optimizer steps for it."""
        return clock.updating_binding(self.binding).applier is None


class ObservedRegularizer:
    """A regularizer that is not kreg's; its value is recorded for the logs."""

    def __init__(
        self, regularizer: Callable[[Tensor], Tensor], variable: keras.Variable
    ) -> None:
        self.penalty = regularizer
        self.path: str = variable.path

    def __call__(self, w: Tensor) -> Tensor:
        value = self.penalty(w)
        record_read(self, value)
        return value


def own_regularizer(
    variable: keras.Variable,
) -> Callable[[Tensor], Tensor] | None:
    """The regularizer that the user gave to `variable`, bound or not."""
    regularizer = variable.regularizer
    if isinstance(regularizer, (BoundRegularizer, ObservedRegularizer)):
        return regularizer.penalty
    return regularizer


def is_suspended(variable: keras.Variable) -> bool:
    """Whether the regularizer of `variable` is suspended: its value is 0."""
    regularizer = variable.regularizer
    return isinstance(regularizer, BoundRegularizer) and regularizer.suspended


def step_of_penalty(variable: keras.Variable, step: Tensor) -> Tensor:
    """The step of the optimizer that was passed to `bind`, else `step`."""
    regularizer = variable.regularizer
    if isinstance(regularizer, BoundRegularizer) and (
        regularizer.binding.own_optimizer is not None
    ):
        return regularizer.binding.step()
    return step


class Binding:
    """The clock and the multipliers of the penalties of one model.

    The bound penalties hold it. It refers to its model weakly, and looks up the
    model's optimizer each time a step is traced.

    Args:
        model: the model whose weights are bound.
        optimizer: the optimizer of a custom loop. Defaults to `None`: the
            model's own.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        self._model = weakref.ref(model)
        self.own_optimizer = optimizer
        self._multipliers: list[Multipliers] = []

    @property
    def optimizer(self) -> keras.optimizers.Optimizer | None:
        """The optimizer whose iterations are the clock, if there is one."""
        if self.own_optimizer is not None:
            return self.own_optimizer
        return getattr(self._model(), "optimizer", None)

    @property
    def applier(self) -> PenaltyApplier | None:
        """The optimizer, if it applies penalties by itself; else None."""
        return penalty_applier(self.optimizer)

    def step(self) -> Tensor:
        """The number of updates of the optimizer; 0 without one."""
        optimizer = self.optimizer
        return 0 if optimizer is None else optimizer.iterations

    def multiplier(self, penalty: StrengthRegularizer) -> Tensor | float:
        """The number that multiplies the strengths of `penalty`."""
        multipliers = self.multipliers_with(penalty)
        if multipliers is not None:
            return multipliers.read(penalty)
        penalty.observe(self)
        return penalty.multiplier

    def is_clock_of(self, owner: Any) -> bool:
        """Whether `owner` is this binding or has no optimizer of its own."""
        return owner is self or owner.own_optimizer is None

    def updating_binding(self, owner: "Binding") -> "Binding":
        """Return this binding: its model's optimizer updates the weight."""
        return self

    def running_clock(self) -> Clock:
        """The clock of the running step if this one follows it, else self."""
        clock = current_clock()
        if clock is not None and clock.is_clock_of(self):
            return clock
        return self

    def check_own_clock(self, bound: BoundRegularizer, w: Tensor) -> None:
        """Warn or raise if this clock cannot know the step for `bound`."""
        if self.optimizer is None:
            if bound.penalty.is_scheduled:
                bound.penalty.warn_unbound("its model has no optimizer")
        elif keras.backend.backend() == "jax":
            from kreg.binding import _jax

            _jax.refuse_frozen_clock(bound.penalty, bound.path, w)

    def multipliers_with(
        self, penalty: StrengthRegularizer
    ) -> Multipliers | None:
        """The `Multipliers` that hold the one of `penalty`, or None."""
        return next((m for m in self._multipliers if penalty in m), None)

    def hold_multipliers(
        self, penalties: Sequence[StrengthRegularizer]
    ) -> None:
        """Make the multipliers of `penalties` visible to a compiled step."""
        multipliers = Multipliers(penalties)
        self._multipliers.append(multipliers)
        if keras.backend.backend() == "jax":
            carry_state(self._model(), multipliers.variable)
        for penalty in penalties:
            penalty.observe(self)

    def multiplier_changed(self, penalty: StrengthRegularizer) -> None:
        """Pass a new multiplier on to the compiled steps."""
        multipliers = self.multipliers_with(penalty)
        if multipliers is not None:
            multipliers.update(penalty)
            return
        model = self._model()
        if model is not None:
            renew_functions(model)


def renew_functions(model: keras.Model) -> None:
    """Compile the model's training and test steps again, if there are any."""
    if model.train_function is not None:
        model.make_train_function(force=True)
    if model.test_function is not None:
        model.make_test_function(force=True)
