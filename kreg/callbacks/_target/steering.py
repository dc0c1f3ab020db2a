"""`Steering`: steers the sparsity of some weights to a target."""

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kreg._types import Tensor
from kreg.binding.binding import update_counts
from kreg.callbacks._target.controller import (
    RAMP_END,
    VISIBLE_SPARSITY,
    Controller,
    StrengthController,
)
from kreg.callbacks._target.first_strength import first_log_factor
from kreg.callbacks._target.group_controller import GroupController
from kreg.callbacks._target.group_norms import norms_of_ties
from kreg.callbacks._target.steered_penalties import SteeredPenalties
from kreg.callbacks._target.steered_weights import SteeredWeights

# The first strength is chosen after this many updates, so that an adaptive
# optimizer has seen the size of the gradients.
_WAITED_UPDATES = 5
# Strengths are kept unless the first choice for the target is larger by this
# factor: they have not made the zeros that there are, and would rise too late.
_FAR = math.log(10.0)
# Zeros that stay zero while the strength falls by this factor get no gradient.
_DEEP_FALL = math.log(1e6)
COUNTING_SIZE = 3
"""The number of values stored about when zeros are counted."""

# The number of values stored for the steering itself, beside these and those of
# the controller.
_OWN_SIZE = 6

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
        self._controller: Controller | None = None
        # The step since which the first strength waits to be chosen.
        self._waits_since: int | None = None
        # The progress since which all strengths are 0.
        self._unpenalized_since: float | None = None
        # The logarithm of the factor of the strengths when the sparsity last
        # changed.
        self._log_factor_at_change = 0.0
        self._bounded_since: float | None = None
        # The progress since which all learning rates of the weights are 0.
        self._held_since: float | None = None
        self._progress = 0.0
        # The number of updates of each weight before the training, and the
        # number that an interrupted training has made.
        self._updates_before = self._count_updates()
        self._past_updates = 0

    @property
    def updates(self) -> int | None:
        """The number of updates of the weights in this training, the largest.

        None if no optimizer is known to update them.
        """
        made = [
            count - self._updates_before.get(member, 0)
            for member, count in self._count_updates().items()
        ]
        return self._past_updates + max(made) if made else None

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
    def unpenalized_since(self) -> float | None:
        """The progress after which all updates had strengths of 0.

        None if the last one had not, though the next one may.
        """
        since = self._unpenalized_since
        return None if since == self._progress else since

    @property
    def zeros_are_stuck(self) -> bool:
        """Whether the zeros stay although no strength holds them.

        A zero weight moves as soon as its gradient exceeds the strength. So
        gradients of 0 hold those that stay while the strength vanishes.
        """
        fall = self._log_factor_at_change - self._penalties.log_factor
        return self.unpenalized_since is not None or fall > _DEEP_FALL

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
        sparsity = zeros / self.weights.total
        if sparsity != self.sparsity:
            self._log_factor_at_change = self._penalties.log_factor
        self.sparsity = sparsity

    def begin(self, progress: float, step: int, zeros: int) -> None:
        """Start at the present strengths, or without any penalty.

        Strengths are kept if they were steered before, or if the sparsity is
        at least half of the target. If it must rise, the next updates show
        whether they are far too low.
        """
        self.read(zeros)
        self.desired = self.sparsity
        is_continued = (
            self._penalties.were_steered and self.sparsity > VISIBLE_SPARSITY
        )
        if self.sparsity >= self.target:
            self._controller = self._new_controller(progress)
            return
        self._waits_since = step
        if not is_continued and self.sparsity < self.target / 2:
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
                float(self.updates or 0),
                float(self.has_acted),
                _or_none(self._waits_since),
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
        controller = self._new_controller(progress)
        if len(memory) not in (_OWN_SIZE, _OWN_SIZE + controller.SIZE):
            return None
        target, past, updates, has_acted, off_at, bounded_since, *state = memory
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
        self._past_updates = int(updates)
        self.has_acted = bool(has_acted)
        self._waits_since = None if off_at == _NONE else int(off_at)
        self._bounded_since = None if bounded_since == _NONE else bounded_since
        if state:
            controller.recall(state)
            self._controller = controller
            self.desired = controller.desired(past)
        return counting

    def end(self) -> None:
        """Remove what `remember` stored, and leave no penalty switched off."""
        if self.is_waiting and self._penalties.are_off:
            self._penalties.switch_on()
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
            self._bounded_since = None
            if self._unpenalized_since is None:
                self._unpenalized_since = progress
            return
        self._unpenalized_since = None
        self.has_acted = True
        lowest, highest = self._penalties.log_range()
        if self._controller is not None:
            self.desired = self._controller.desired(progress)
            change = self._controller.change(
                progress, self.sparsity, lowest, highest
            )
        elif not self._is_updated() or (
            self._waits_since is not None
            and step < self._waits_since + _WAITED_UPDATES
        ):
            return
        else:
            change = self._first_change(updates, count)
            if not self._penalties.are_off and change < _FAR:
                change = 0.0
            change = min(max(change, lowest), highest)
            self._controller = self._new_controller(progress)
        self._penalties.move(change)
        if change not in (lowest, highest) or self._opposes_gap(change):
            self._bounded_since = None
        elif self._bounded_since is None:
            self._bounded_since = progress

    def _new_controller(self, progress: float) -> Controller:
        common = self.target, progress, self.sparsity
        if self._groups is None:
            return StrengthController(*common, 1.0 / self.weights.total)
        return GroupController(*common, self._groups.nearest)

    def _opposes_gap(self, change: float) -> bool:
        """Whether a change moves the sparsity away from the desired one."""
        return (self.desired - self.sparsity) * change < 0

    def _is_updated(self) -> bool:
        """Whether each weight has had an update by its optimizer."""
        return all(o is not None and o.built for o in self._optimizers())

    def _count_updates(self) -> dict[int, int]:
        """The number of updates of each weight whose optimizer is known."""
        members = self.weights.members
        counts = update_counts(
            self.weights.optimizers, [self._variables[i] for i in members]
        )
        return {
            member: count
            for member, count in zip(members, counts, strict=True)
            if count is not None
        }

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
