"""`Binding`, the clock of one model, and the penalties bound to variables."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import keras
from keras import ops

from kreg._keras_private import (
    carry_state,
    in_symbolic_scope,
    is_stateless,
    make_state_current,
    responsible_optimizer,
    save_with_weights,
)
from kreg._types import Tensor
from kreg.binding.multipliers import Multipliers
from kreg.binding.step_record import record_read
from kreg.binding.ties import TiePart
from kreg.binding.weight_optimizers import WeightOptimizers
from kreg.regularizers.clock import Clock, current_clock
from kreg.regularizers.grouping import Grouping
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


def updating_optimizer(
    optimizer: keras.optimizers.Optimizer | None, variable: Any
) -> keras.optimizers.Optimizer | None:
    """The optimizer inside all wrappers that computes a variable's updates."""
    inner = innermost_optimizer(optimizer)
    return None if inner is None else responsible_optimizer(inner, variable)


def update_counts(
    optimizers: WeightOptimizers, variables: Iterable[Any]
) -> list[int | None]:
    """The number of updates of each variable; None if it is not known."""
    read: dict[int, int] = {}
    counts: list[int | None] = []
    for variable in variables:
        optimizer = updating_optimizer(optimizers.of(id(variable)), variable)
        if optimizer is None:
            counts.append(None)
            continue
        if id(optimizer) not in read:
            count = ops.convert_to_numpy(optimizer.iterations)
            read[id(optimizer)] = int(count)
        counts.append(read[id(optimizer)])
    return counts


def accumulation_steps(optimizer: keras.optimizers.Optimizer | None) -> int:
    """The number of gradients that an optimizer sums up for one update."""
    inner = innermost_optimizer(optimizer)
    return getattr(inner, "gradient_accumulation_steps", None) or 1


def member_optimizers(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.optimizers.Optimizer]:
    """The members of a `MultiOptimizer`; of any other optimizer, itself."""
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return list(optimizer.optimizers)
    return [optimizer]


class BoundRegularizer:
    """A regularizer of kreg on one variable, evaluated at the weight's step.

    It reads the clock each time it is traced, so it is never stale.

    Args:
        penalty: the user's own object.
        variable: the weight it acts on.
        binding: the binding of the weight's model.
        groups: the groups of entries that the penalty acts on, or None.
    """

    def __init__(
        self,
        penalty: StrengthRegularizer,
        variable: keras.Variable,
        binding: "Binding",
        groups: Grouping | None,
    ) -> None:
        self.penalty = penalty
        self.path: str = variable.path
        self.weight = id(variable)
        self.binding = binding
        self.suspended = False
        self.groups = groups

    @property
    def unbound(self) -> Callable[[Tensor], Tensor]:
        """The regularizer of the weight where it is not bound."""
        return self.penalty

    def clock(self) -> Clock:
        """The clock of the running step, if its model has the weight."""
        clock = current_clock()
        if clock is not None and clock.has(self):
            return clock
        return self.binding

    def strengths(self) -> dict[str, Tensor | float]:
        """The strengths at the step of the weight's optimizer."""
        if self.suspended:
            return dict.fromkeys(self.penalty.strength_names(), 0.0)
        clock = self.clock()
        return self.penalty.strengths(
            clock.step_of(self), clock.multiplier(self.penalty)
        )

    def __call__(self, w: Tensor) -> Tensor:
        if self.suspended:
            return ops.zeros((), summable_dtype(w))
        clock = self.clock()
        if not in_symbolic_scope():
            self._check_clock(clock, w)
        passes_gradient = self.passes_gradient(clock)
        value = ops.zeros((), summable_dtype(w))
        for x, groups in self.penalized(w):
            if not passes_gradient:
                x = ops.stop_gradient(ops.convert_to_tensor(x))
            value += self.penalty.evaluate(
                x, clock.step_of(self), clock.multiplier(self.penalty), groups
            )
        record_read(self, value, passes_gradient=passes_gradient)
        return value

    def penalized(self, w: Tensor) -> Sequence[tuple[Tensor, Grouping | None]]:
        """The entries that are penalized, and their groups.

        Args:
            w: the value of the weight.
        """
        return [(w, self.groups)]

    def passes_gradient(self, clock: Clock) -> bool:
        """Whether its gradient acts: always, as it has no proximal step."""
        return True

    def _check_clock(self, clock: Clock, w: Tensor) -> None:
        """Warn or raise if `clock` cannot know the step of the weight."""
        if not self.penalty.is_scheduled:
            return
        if keras.backend.backend() == "jax" and clock.is_constant(self):
            from kreg.binding import _jax

            _jax.refuse_frozen_clock(self.penalty, self.path, w)
        if current_clock() is None and not self.binding.optimizers.leading:
            self.penalty.warn_unbound("its model has no optimizer")


class BoundPenalty(BoundRegularizer):
    """A kreg penalty on one variable, evaluated at the weight's step.

    Under an optimizer that takes proximal steps it adds its value to the loss
    but lets no gradient through, so that the penalty acts once.

    Args:
        penalty: the user's own object.
        variable: the weight it acts on.
        binding: the binding of the weight's model.
        groups: the groups of entries that the penalty acts on, or None.
    """

    penalty: Penalty

    def passes_gradient(self, clock: Clock) -> bool:
        """Whether its gradient acts: not if a proximal step replaces it."""
        return penalty_applier(clock.optimizer_of(self)) is None


class BoundTiePart(BoundPenalty):
    """The regularizer of one weight of a tie, bound to the weight's model.

    Args:
        part: the part of the tie.
        binding: the binding of the weight's model.
    """

    def __init__(self, part: TiePart, binding: "Binding") -> None:
        super().__init__(part.penalty, part.variable, binding, None)
        self.part = part

    @property
    def unbound(self) -> TiePart:
        """The regularizer of the weight where it is not bound."""
        return self.part

    def penalized(self, w: Tensor) -> Sequence[tuple[Tensor, Grouping]]:
        """The entries of the whole tie, on its first weight; else none."""
        return self.part.penalized(w)


class ObservedRegularizer:
    """A foreign regularizer whose value is recorded for the logs."""

    def __init__(
        self, regularizer: Callable[[Tensor], Tensor], variable: keras.Variable
    ) -> None:
        self.penalty = self.unbound = regularizer
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
    if isinstance(
        regularizer, (BoundRegularizer, ObservedRegularizer, TiePart)
    ):
        return regularizer.penalty
    return regularizer


def is_suspended(variable: keras.Variable) -> bool:
    """Whether the regularizer of `variable` is suspended: its value is 0."""
    regularizer = variable.regularizer
    return isinstance(regularizer, BoundRegularizer) and regularizer.suspended


class Binding:
    """The clock and the multipliers of the penalties of one model.

    The bound penalties hold it. It refers to its model weakly.

    Args:
        model: the model whose weights are bound.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)
        self.optimizers = WeightOptimizers(model)
        self._multipliers: list[Multipliers] = []
        self._taken_off: list[tuple[keras.Variable, object]] = []

    def step(self) -> Tensor:
        """The number of updates of the model; 0 without an optimizer."""
        return self.optimizers.step()

    def has(self, bound: BoundRegularizer) -> bool:
        """Whether a weight is one of the model's."""
        return bound.weight in self.optimizers

    def optimizer_of(
        self, bound: BoundRegularizer
    ) -> keras.optimizers.Optimizer | None:
        """The optimizer that updates a weight; None if none is known."""
        return self.optimizers.of(bound.weight)

    def step_of(self, bound: BoundRegularizer) -> Tensor:
        """The number of updates of a weight; of the model if not known."""
        return self.optimizers.step_of(bound.weight)

    def is_constant(self, bound: BoundRegularizer) -> bool:
        """Whether a function that JAX traces keeps the step of its trace."""
        return bool(self.optimizers.leading)

    def multiplier(self, penalty: StrengthRegularizer) -> Tensor | float:
        """The number that multiplies the strengths of `penalty`."""
        multipliers = self.multipliers_with(penalty)
        if multipliers is not None:
            return multipliers.read(penalty)
        penalty.observe(self)
        return penalty.multiplier

    def take_off(self, variables: Sequence[keras.Variable]) -> None:
        """Suspend regularizers on LoRA factors whose shape they do not fit."""
        for variable in variables:
            self._taken_off.append((variable, own_regularizer(variable)))
            variable.regularizer = None
        if variables:
            paths = ", ".join(f"`{variable.path}`" for variable in variables)
            warnings.warn(
                f"{paths}: Keras put the regularizer of the kernel on these "
                "factors of LoRA, too. It does not fit their shapes, so it "
                "does not act on them. It stays on the kernel, which LoRA has "
                "frozen. Give a factor a penalty of its own: `kreg.attach("
                f"model, [({variables[-1].path!r}, kreg.L1(1e-4))])`.",
                stacklevel=4,
            )

    def put_back(self) -> None:
        """Undo `take_off`."""
        for variable, regularizer in self._taken_off:
            if variable.regularizer is None:
                variable.regularizer = regularizer

    def multipliers_with(
        self, penalty: StrengthRegularizer
    ) -> Multipliers | None:
        """The `Multipliers` object that `penalty` is in, or None."""
        return next((m for m in self._multipliers if penalty in m), None)

    def hold_multipliers(
        self, penalties: Sequence[StrengthRegularizer]
    ) -> None:
        """Make the multipliers of `penalties` visible to a compiled step."""
        model: keras.Model = self._model()
        with keras.name_scope(model.name):
            multipliers = Multipliers(
                penalties, _numbered("kreg", len(self._multipliers))
            )
        self._multipliers.append(multipliers)
        for variable in (multipliers.variable, multipliers.exact):
            carry_state(model, variable)
        save_with_weights(model, penalties)
        for penalty in penalties:
            penalty.observe(self)

    def steering_changed(
        self,
        penalty: StrengthRegularizer,
        multiplier: float,
        memory: Sequence[float],
    ) -> None:
        """Pass a new multiplier on to the compiled steps."""
        model, multipliers = self._model(), self.multipliers_with(penalty)
        if model is None:
            return
        if multipliers is None:
            renew_functions(model)
            return
        make_state_current(model)
        multipliers.update(penalty, multiplier, memory)

    def refresh_steering(self) -> None:
        """Give the penalties the multipliers of a restored checkpoint."""
        model = self._model()
        if model is None or is_stateless() or not _is_eager():
            return
        make_state_current(model)
        for multipliers in self._multipliers:
            multipliers.refresh()


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _is_eager() -> bool:
    if keras.backend.backend() == "tensorflow":
        from kreg.binding import _tensorflow

        return _tensorflow.is_eager()
    return True


def renew_functions(model: keras.Model) -> None:
    """Discard the model's compiled training and test steps, if any."""
    if model.train_function is not None:
        model.make_train_function(force=True)
    if model.test_function is not None:
        model.make_test_function(force=True)


bindings: WeakKeyDictionary[keras.Model, Binding] = WeakKeyDictionary()
"""The models that are bound, each with its binding."""


def weight_optimizers(model: keras.Model) -> WeightOptimizers:
    """The optimizers of a model's weights, as far as they are known now.

    The weights of an unbound model may be bound through an outer model.
    """
    binding = bindings.get(model)
    if binding is not None:
        binding.optimizers.look()
        return binding.optimizers
    bound = (v.regularizer for v in model.weights)
    around = (b.binding for b in bound if isinstance(b, BoundRegularizer))
    optimizers = WeightOptimizers(model)
    binding = next(around, None)
    optimizers.look(None if binding is None else binding.optimizers)
    return optimizers
