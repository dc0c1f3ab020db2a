"""Steers the sparsity of weights to a target by the strengths of penalties."""

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kreg._types import Tensor
from kreg.callbacks._target.controller import (
    RAMP_END,
    VISIBLE_SPARSITY,
    StrengthController,
    first_log_factor,
)
from kreg.callbacks._target.group_controller import GroupController
from kreg.callbacks._target.group_norms import norms_of_ties
from kreg.callbacks._target.steered_weights import SteeredWeights
from kreg.regularizers import Penalty


class SteeredPenalties:
    """Moves the strengths of some penalties by a common factor.

    The factor moves the strength, `base(step) * multiplier`. If the base
    follows a schedule, the multiplier compensates for the change of the base.

    Args:
        weights: the weights, with their penalties. The strengths of different
            penalties keep their initial proportions. The strengths of one
            penalty keep the proportions of their schedules at each step.
        bounds: the lowest and the highest multiplier.
    """

    def __init__(
        self, weights: SteeredWeights, bounds: tuple[float, float]
    ) -> None:
        self.penalties = penalties = weights.penalties
        self._step_of = weights.step_of
        self._bounds = bounds
        self._multipliers = [p.multiplier or 1.0 for p in penalties]
        # The first nonzero base of each penalty; multipliers are relative to
        # it.
        self._first_bases = [0.0] * len(self.penalties)
        self._log_factor = 0.0

    @property
    def were_steered(self) -> bool:
        """Whether any multiplier differed from its default, 1, at the start."""
        return any(m != 1.0 for m in self._multipliers)

    def is_any_positive(self) -> bool:
        """Whether any base strength is above 0 now."""
        return any(base > 0.0 for base in self._bases())

    def strengths(self, penalty: Penalty) -> dict[str, float]:
        """The present strengths of a penalty, with the steered multiplier."""
        multiplier = self._multipliers_now()[self.penalties.index(penalty)]
        step = self._step_of(penalty)
        return _as_floats(penalty.strengths(step, multiplier))

    def log_range(self) -> tuple[float, float]:
        """The lowest and highest change of log strengths within the bounds."""
        logs = [math.log(m) for m in self._multipliers_now()]
        lowest, highest = map(math.log, self._bounds)
        return (
            min(lowest - min(logs), 0.0),
            max(highest - max(logs), 0.0),
        )

    def move(self, change: float) -> None:
        """Multiply all strengths by `exp(change)`."""
        self._log_factor += change
        lowest, highest = self._bounds
        for penalty, multiplier in zip(
            self.penalties, self._multipliers_now(), strict=True
        ):
            penalty.multiplier = min(max(multiplier, lowest), highest)

    def switch_off(self) -> None:
        """Switch the penalties off until the next `move`."""
        for penalty in self.penalties:
            penalty.multiplier = 0.0

    def remember(self, memory: Sequence[float]) -> None:
        """Store the state of this object, and `memory`, in the penalties.

        Args:
            memory: more numbers to store; the first penalty holds them.
        """
        for i, penalty in enumerate(self.penalties):
            own = (self._multipliers[i], self._first_bases[i])
            shared = (self._log_factor, *memory) if i == 0 else ()
            multiplier, before = penalty.steering
            if before != (*own, *shared):
                penalty.steer(multiplier, (*own, *shared))

    def remembered(self) -> tuple[float, ...] | None:
        """The `memory` of the last `remember`; None if there was none."""
        memories = [penalty.steering[1] for penalty in self.penalties]
        sizes = [len(memory) for memory in memories[1:]]
        if len(memories[0]) <= 3 or any(size != 2 for size in sizes):
            return None
        return memories[0][3:]

    def recall(self) -> None:
        """Restore the state of the last `remember`."""
        memories = [penalty.steering[1] for penalty in self.penalties]
        self._multipliers = [memory[0] for memory in memories]
        self._first_bases = [memory[1] for memory in memories]
        self._log_factor = memories[0][2]

    def forget(self) -> None:
        """Remove what `remember` stored."""
        for penalty in self.penalties:
            penalty.steer(penalty.multiplier, ())

    def _multipliers_now(self) -> list[float]:
        """The multipliers before the bounds are applied."""
        factor = math.exp(self._log_factor)
        multipliers = []
        for i, base in enumerate(self._bases()):
            if base > 0.0 and self._first_bases[i] == 0.0:
                self._first_bases[i] = base
            growth = base / self._first_bases[i] if base > 0.0 else 1.0
            multipliers.append(self._multipliers[i] * factor / growth)
        return multipliers

    def _bases(self) -> list[float]:
        return [
            sum(
                _as_floats(
                    penalty.strengths(self._step_of(penalty), 1.0)
                ).values()
            )
            for penalty in self.penalties
        ]


def _as_floats(strengths: dict[str, Tensor | float]) -> dict[str, float]:
    return {
        name: value
        if isinstance(value, float)
        else float(ops.convert_to_numpy(value))
        for name, value in strengths.items()
    }


# The first strength is chosen after this many updates without a penalty, so
# that an adaptive optimizer has seen the size of the gradients.
_UNPENALIZED_UPDATES = 5
COUNTING_SIZE = 3
"""The number of values stored about when zeros are counted."""

# The number of values stored for the steering itself, beside these and those of
# the controller.
_OWN_SIZE = 5

# Stands for None among stored numbers.
_NONE = -1.0


def _or_none(number: float | None) -> float:
    return _NONE if number is None else float(number)


# An obstacle is reported once it has lasted for this part of a training.
_PATIENCE = 0.05


class Steering:
    """Steers the sparsity of some weights to a target.

    Args:
        weights: the weights, with their penalties.
        bounds: the lowest and the highest multiplier.
        variables: the list of all weights, for the indices in `weights`.
        target: the sparsity to end with.
    """

    def __init__(
        self,
        weights: SteeredWeights,
        bounds: tuple[float, float],
        variables: Sequence[keras.Variable],
        target: float,
    ) -> None:
        self.weights = weights
        self.bounds = bounds
        self.target = target
        self.sparsity = self.desired = 0.0
        self.has_acted = False
        # The largest sparsity that the penalties can reach.
        self.possible = 1.0
        self._penalties = SteeredPenalties(weights, bounds)
        self._variables = variables
        self._groups = norms_of_ties(weights, variables, target)
        self._controller: StrengthController | GroupController | None = None
        self._switched_off_at: int | None = None
        self._bounded_since: float | None = None
        # The progress since which all learning rates of the weights are 0.
        self._held_since: float | None = None
        self._progress = 0.0

    @property
    def has_reached(self) -> bool:
        """Whether the sparsity is within half a percentage point of the target.

        For small weights, one entry or unit more is allowed. If groups of tied
        weights become zero, half of the largest is allowed, and all of it where
        less than one group may stay.
        """
        total, group = self.weights.total, self.largest_group
        away = abs(self.target - self.sparsity) * total
        is_last = self.target * total > total - group
        return away <= max(
            0.005 * total + 1.0, group if is_last else 0.5 * group
        )

    @property
    def largest_group(self) -> int:
        """The entries or units of the largest group; 0 if there are none."""
        return 0 if self._groups is None else self._groups.largest

    @property
    def is_bounded(self) -> bool:
        """Whether a bound of the multiplier has kept it from the target."""
        return (
            self._bounded_since is not None
            and self._progress - self._bounded_since >= _PATIENCE
            and not self.has_reached
        )

    @property
    def are_held(self) -> bool:
        """Whether learning rates of 0 have kept the weights from moving.

        False if a bound was the obstacle before.
        """
        held, bounded = self._held_since, self._bounded_since
        return (
            held is not None
            and self._progress - held >= _PATIENCE
            and (bounded is None or held <= bounded)
        )

    @property
    def is_waiting(self) -> bool:
        """Whether the first strength has not been chosen yet."""
        return self._controller is None

    def leave_out_others(self, weights: SteeredWeights) -> None:
        """Steer only a part of the weights from now on."""
        self.weights = weights
        if self._groups is not None:
            self._groups.choose(weights)

    def are_finite(self) -> bool:
        """Whether no entry of the weights is NaN or infinite now."""
        return all(
            bool(ops.all(ops.isfinite(ops.convert_to_tensor(v))))
            for v in map(self._variables.__getitem__, self.weights.members)
        )

    def read(self, zeros: int) -> None:
        """Set the number of entries or units that are zero now."""
        self.sparsity = zeros / self.weights.total

    def begin(self, progress: float, step: int, zeros: int) -> None:
        """Start at the present strengths, or without any penalty.

        Strengths are kept if they were steered before, or if the sparsity is
        at least half of the target.
        """
        self.read(zeros)
        self.desired = self.sparsity
        is_continued = (
            self._penalties.were_steered and self.sparsity > VISIBLE_SPARSITY
        )
        if is_continued or self.sparsity >= self.target / 2:
            self._start(progress)
        else:
            self._switched_off_at = step
            self._penalties.switch_off()

    def remember(self, counting: Sequence[float]) -> None:
        """Store the state of the steering in the penalties.

        Keras saves it with the weights, so that a training can be resumed.

        Args:
            counting: `COUNTING_SIZE` numbers about when zeros are counted.
        """
        controller = self._controller
        self._penalties.remember(
            (
                *counting,
                self.target,
                self._progress,
                float(self.has_acted),
                _or_none(self._switched_off_at),
                _or_none(self._bounded_since),
                *(() if controller is None else controller.memory),
            )
        )

    def recall(
        self, progress: float, nearness: float, step: int, zeros: int
    ) -> tuple[float, ...] | None:
        """Restore the state of the last `remember`, if it fits this progress.

        Args:
            progress: the fraction of the training that is done, in [0, 1].
            nearness: the largest difference from the progress at `remember`.
            step: the optimizer's iteration.
            zeros: the number of entries or units that are zero now.

        Returns:
            The stored `counting`; None if there is no state that fits, and
            nothing was changed.
        """
        memory = self._penalties.remembered()
        if progress == 0.0 or memory is None:
            return None
        counting, memory = memory[:COUNTING_SIZE], memory[COUNTING_SIZE:]
        size = (
            StrengthController.SIZE
            if self._groups is None
            else GroupController.SIZE
        )
        if len(memory) not in (_OWN_SIZE, _OWN_SIZE + size):
            return None
        target, past, has_acted, off_at, bounded_since, *controller = memory
        if (
            target != self.target
            or abs(past - progress) > nearness
            or off_at > step
        ):
            return None
        self._penalties.recall()
        self.read(zeros)
        self.desired = self.sparsity
        self._progress = past
        self.has_acted = bool(has_acted)
        self._switched_off_at = None if off_at == _NONE else int(off_at)
        self._bounded_since = None if bounded_since == _NONE else bounded_since
        if controller:
            self._controller = (
                StrengthController.recall(
                    target, 1.0 / self.weights.total, controller
                )
                if self._groups is None
                else GroupController.recall(
                    target, self._groups.nearest, controller
                )
            )
            self.desired = self._controller.desired(past)
        return counting

    def forget(self) -> None:
        """Remove what `remember` stored."""
        self._penalties.forget()

    def steer(
        self,
        progress: float,
        step: int,
        updates: int,
        count: Callable[[Sequence[Tensor]], int],
    ) -> None:
        """Move the strengths, depending on the sparsity counted last.

        Args:
            progress: the fraction of the training that is done, in [0, 1].
            step: the iteration of the model.
            updates: the number of updates in the training, or an estimate.
            count: computes the number of zero entries or units of these weights
                from the values of all weights.
        """
        self._progress = progress
        if any(map(_learning_rate, self._optimizers())):
            self._held_since = None
        elif self._held_since is None:
            self._held_since = progress
        if not self._penalties.is_any_positive():
            return
        self.has_acted = True
        lowest, highest = self._penalties.log_range()
        if self._controller is not None:
            self.desired = self._controller.desired(progress)
            change = self._controller.change(
                progress, self.sparsity, lowest, highest
            )
        elif not self._is_updated() or (
            self._switched_off_at is not None
            and step < self._switched_off_at + _UNPENALIZED_UPDATES
        ):
            return
        else:
            change = self._first_change(updates, count)
            change = min(max(change, lowest), highest)
            self._start(progress)
        self._penalties.move(change)
        if change not in (lowest, highest) or self._opposes_gap(change):
            self._bounded_since = None
        elif self._bounded_since is None:
            self._bounded_since = progress

    def _start(self, progress: float) -> None:
        common = self.target, progress, self.sparsity
        self._controller = (
            StrengthController(*common, 1.0 / self.weights.total)
            if self._groups is None
            else GroupController(*common, self._groups.nearest)
        )

    def _opposes_gap(self, change: float) -> bool:
        """Whether a change moves the sparsity away from the desired one."""
        return (self.desired - self.sparsity) * change < 0

    def _is_updated(self) -> bool:
        """Whether each weight has had an update by its optimizer."""
        return all(o is not None and o.built for o in self._optimizers())

    def _optimizers(self) -> list[keras.optimizers.Optimizer | None]:
        """The optimizer of each weight."""
        return [self._optimizer_of(i) for i in self.weights.members]

    def _optimizer_of(self, member: int) -> keras.optimizers.Optimizer | None:
        return self.weights.optimizers.of(id(self._variables[member]))

    def _first_change(
        self,
        updates: int,
        count: Callable[[Sequence[Tensor]], int],
    ) -> float:
        members = self.weights.members
        strengths = {
            penalty: self._penalties.strengths(penalty)
            for penalty in self.weights.penalties
        }
        chosen = [self._variables[i] for i in members]

        def sparsity(values: Sequence[Tensor]) -> float:
            replaced = dict(zip(members, values, strict=True))
            every = range(len(self._variables))
            return (
                count([replaced.get(i, self._variables[i]) for i in every])
                / self.weights.total
            )

        return first_log_factor(
            chosen,
            [strengths[v.regularizer.penalty] for v in chosen],
            self._optimizers(),
            updates=max(RAMP_END * updates, 1.0),
            sparsity=sparsity,
            target=self.target,
        )


def _learning_rate(optimizer: keras.optimizers.Optimizer | None) -> float:
    """The present learning rate; 0 without an optimizer."""
    if optimizer is None:
        return 0.0
    return float(ops.convert_to_numpy(optimizer.learning_rate))
