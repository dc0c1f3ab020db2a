"""`TargetSparsity`: the callback that steers strengths to a given sparsity."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec

import keras
from keras import ops

from kreg._arguments import (
    boolean,
    nonnegative_number,
    optional,
    positive_number,
    verbosity,
)
from kreg._types import Tensor
from kreg.binding import Binding
from kreg.binding.binding import penalty_applier
from kreg.binding.bound_models import ensure_bound
from kreg.binding.weights import Weights, chosen_penalties, named_weights
from kreg.callbacks._end_of_fit import after_all_callbacks
from kreg.callbacks._target.outcome import (
    Trained,
    are_close_enough,
    may_end,
    obstacle_reason,
    unpenalized_reason,
    warn_missed,
    warn_out_of_reach,
)
from kreg.callbacks._target.steered_weights import (
    steered_weights,
    updated_weights,
    would_be_zero,
    zeroed_variables,
)
from kreg.callbacks._target.steering import Steering
from kreg.callbacks._target.training_progress import TrainingProgress
from kreg.callbacks._target.zero_counts import current_counter, zero_counter
from kreg.regularizers import Penalty

P = ParamSpec("P")


def refuses_backup_path(init: Callable[P, None]) -> Callable[P, None]:
    """Make `init` explain that its former keyword `backup_path` is obsolete."""

    @wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        if "backup_path" in kwargs:
            raise TypeError(
                "`backup_path` of `TargetSparsity` is no longer needed: leave "
                "it out. Keras's backups and checkpoints now hold all that "
                "the callback needs to go on. "
                f"Received: backup_path={kwargs['backup_path']!r}"
            )
        init(*args, **kwargs)

    return checked


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float in [0, 1)."""
    fraction = nonnegative_number(name, value)
    if fraction >= 1.0:
        raise ValueError(
            f"`{name}` must be a fraction in [0, 1), such as 0.9 for 90 %. "
            f"Received: {name}={value!r}"
        )
    return fraction


def interval(name: str, value: Any) -> tuple[float, float]:
    """Return `value` as two positive floats in order."""
    try:
        lowest, highest = value
    except Exception:  # of a foreign class, such as a tensor
        raise TypeError(
            f"`{name}` must be two numbers, the lowest and the highest "
            f"multiplier. Received: {name}={value!r}"
        ) from None
    lowest = positive_number(f"{name}[0]", lowest)
    highest = positive_number(f"{name}[1]", highest)
    if lowest > highest:
        raise ValueError(
            f"`{name}` must be the lowest and the highest multiplier, in this "
            f"order. Received: {name}={value!r}"
        )
    return lowest, highest


def check_model(model: keras.Model, binding: Binding) -> None:
    """Raise if `model` has no weights, or takes no proximal steps."""
    if not model.weights:
        raise ValueError(
            "`model` must be built before `fit`, so that its weights are "
            "known: call it on a batch, or `build` it. "
            f"Received: model={model!r}"
        )
    optimizers = [binding.optimizers.of(id(v)) for v in model.trainable_weights]
    if not any(o is None or penalty_applier(o) for o in optimizers):
        raise ValueError(
            "`model` must be compiled with `kreg.ProximalOptimizer`, as in "
            '`model.compile(kreg.ProximalOptimizer("adam"), ...)`: other '
            "optimizers make weights small, never exactly zero. "
            f"Received: optimizer={binding.optimizers.own!r}"
        )


def checked_params(params: Any) -> Mapping[str, Any]:
    """Return the `params` of a callback if they hold the number of epochs."""
    if not params or params.get("epochs") is None:
        raise ValueError(
            "`params` must hold the number of epochs, because "
            "`TargetSparsity` steers by the fraction of the training that is "
            "done. In a loop of your own write "
            "`keras.callbacks.CallbackList(callbacks, model=model, epochs=10, "
            "steps=batches_per_epoch)`, or call `set_params`. "
            f"Received: params={params!r}"
        )
    return params


# Zeros are counted 200 times in a training. The first counts are closer
# together: the next one comes after a twentieth of the batches so far.
_MAX_COUNTS, _SPACING_DIVISOR = 200, 20
# The number of batches assumed while the length of an epoch is unknown.
_ASSUMED_BATCHES = 2000


class TargetSparsity(keras.callbacks.Callback):
    """Steers strengths during `fit` so that it ends with a given sparsity.

    Choose it if you know how many weights you can afford, but not which
    strength gets you there. It finds the strength, even from a base that is
    wrong by orders of magnitude. Only proximal steps make zeros, so the model
    must be compiled with `kreg.ProximalOptimizer`.

    The desired sparsity rises from its first value to the target during two
    thirds of the training, fast at first, and then stays there. The strength
    follows it. Over the last tenth of the training the strength moves by less
    than 5 %, apart from the changes of a scheduled base between two counts of
    zeros.

    A group that is tied across weights, such as a head or a channel, does not
    come back once it is zero, and in a deep network groups that vanish take
    others with them. So where `kreg.attach` has tied all groups of a
    `GroupLasso`, the strength follows their norms instead: it lets them become
    zero one by one, up to the share nearest to the target, and then falls. It
    rises slowly enough to keep the other groups, at the price of a lower
    sparsity in a short training. It may then move until the end.

    The callback moves the multiplier of the penalties, so nothing is retraced,
    and a model that is saved and loaded keeps the multiplier. If a base follows
    a schedule, the multiplier compensates for it. `fit` logs
    `steered_sparsity`, `target_sparsity` (the sparsity desired at that time)
    and, if it is the same for all penalties, `strength_multiplier`.

    An interrupted training can be resumed as if it had never stopped: with
    `keras.callbacks.BackupAndRestore`, or from a checkpoint of the model and
    its optimizer if you pass `initial_epoch` to `fit`.

    Give it at least a few hundred updates. Even at a constant strength the
    noise of training moves the sparsity of a small network by half a percentage
    point or more from step to step. So within the last 2 % of the training, and
    within the last epoch, the callback ends the training at a step at which the
    sparsity is close to the target: within 0.05 points at first, and up to 0.4
    points at the end.

    Formula: `strength = base(step) * multiplier`. The logarithm of the
    multiplier moves in proportion to the gap between the log-odds
    `log(s / (1 - s))` of the desired and the present sparsity, to the change of
    the gap, and to its integral. For tied groups it moves in proportion to the
    logarithm of the ratio of two times: until the last group to go is zero at
    its present rate, and until it should be.

    Args:
        target: float in [0, 1), the fraction of exact zeros to end with.
        weights: the weights to steer, an iterable of variables and layers of
            the model. If several weights share a penalty, name all of them or
            none. Defaults to `None`: all weights with a kreg penalty that makes
            zeros.
        units: bool, whether the target is the fraction of dead units (output
            channels whose incoming weights are all zero) instead of that of
            zeros. Defaults to `False`.
        per_layer: bool, whether to steer each penalty object on its own, so
            that the weights of each reach the target. Defaults to `False`: all
            strengths move by one factor, and all weights together reach the
            target.
        bounds: two floats > 0, the lowest and the highest multiplier. Defaults
            to `(1e-9, 1e9)`.
        stop_at_target: bool, whether it may end the training up to 2 % early,
            when the target is met. Defaults to `True`.
        verbose: 0 or 1, whether to print the figures of each epoch. Defaults
            to 0.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range; before training, if the
            model is not built or not compiled with `kreg.ProximalOptimizer`,
            or no chosen weight has a penalty that makes zeros.

    Warns:
        UserWarning: if the target is missed, with the sparsity and the reason;
            during training as soon as this is clear.

    Example:

    >>> import keras, kreg, numpy
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(512, 100))
    >>> y = x[:, :10].sum(axis=1, keepdims=True)  # 90 inputs are noise
    >>> model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(
    ...     1, kernel_regularizer=kreg.L1(1e-6))])
    >>> adam = keras.optimizers.Adam(0.01)
    >>> model.compile(kreg.ProximalOptimizer(adam), "mse")
    >>> history = model.fit(x, y, batch_size=64, epochs=60, verbose=0,
    ...     callbacks=[kreg.TargetSparsity(0.9)])
    >>> round(history.history["steered_sparsity"][-1], 2)
    0.9
    >>> bool((model.get_weights()[0][:10] == 0.0).any())
    False

    References:
        Zhu and Gupta, "To prune, or not to prune", ICLR Workshop 2018, for the
        cubic path.
    """

    @refuses_backup_path
    def __init__(
        self,
        target: float,
        weights: Weights | None = None,
        *,
        units: bool = False,
        per_layer: bool = False,
        bounds: tuple[float, float] = (1e-9, 1e9),
        stop_at_target: bool = True,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        self.target = fraction("target", target)
        self.weights = optional(named_weights, "weights", weights)
        self.units = boolean("units", units)
        self.per_layer = boolean("per_layer", per_layer)
        self.bounds = interval("bounds", bounds)
        self.stop_at_target = boolean("stop_at_target", stop_at_target)
        self.verbose = verbosity("verbose", verbose)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._binding = ensure_bound(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        model = self.model
        check_model(model, self._binding)
        optimizers = self._binding.optimizers
        owners = zeroed_variables(
            chosen_penalties(model, self.weights), optimizers
        )
        if not owners:
            raise ValueError(
                "`weights` must hold a weight that can be trained and whose "
                "penalty makes zeros, such as "
                "`kernel_regularizer=kreg.L1(1e-4)`. After "
                "`kreg.freeze_support` call `kreg.unfreeze_support` first. "
                f"Received: weights={self.weights!r} of the model "
                f"`{model.name}`"
            )
        self._variables, self._steered = steered_weights(
            model,
            owners,
            optimizers,
            units=self.units,
            per_layer=self.per_layer,
        )
        if not self._steered:
            raise ValueError(
                "`units=True` needs a weight that feeds units, such as the "
                "kernel of a Dense or convolution layer. "
                f"Received: weights={self.weights!r} of the model "
                f"`{model.name}`"
            )
        self._make_counters()
        self._progress = TrainingProgress(checked_params(self.params))
        self._steerings: list[Steering] = []
        self._batches = self._next_count = 0
        self._has_trained = False
        self._warned: list[Steering] = []
        self._ends_later = after_all_callbacks(self, self._end)

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._progress.begin_epoch(epoch)
        if not self._steerings:
            # `on_train_begin` is too early: another callback may restore
            # weights there.
            self._start_steering()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if not self._has_trained:
            self._has_trained = True
            self._leave_out_others()
        self._batches += self._progress.end_batch(batch)
        counted = self._batches >= self._next_count
        if counted:
            self._steer()
        if counted or self._progress.batches is None:
            self._remember()
        if self.stop_at_target and may_end(self._progress):
            self._update_sparsity()
            if are_close_enough(self._steerings, self._progress.now):
                self.model.stop_training = True

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._progress.end_epoch()
        self._update_sparsity()
        figures = self._figures()
        if logs is not None:
            logs.update(figures)
        if self.verbose:
            shown = " - ".join(f"{k}: {v:.4g}" for k, v in figures.items())
            print(f"\nEpoch {epoch + 1}: {shown}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self._ends_later:
            self._end()

    def _end(self) -> None:
        if self._has_trained:
            self._warn_of_missed_targets()
        for steering in self._steerings:
            steering.end()

    def _warn_of_missed_targets(self) -> None:
        """Warn of the targets that the final weights miss."""
        trained = [
            Trained.of(
                s,
                self._progress.now,
                self._batches if s.updates is None else s.updates,
            )
            for s in self._steerings
        ]
        self._update_sparsity()
        for steering, before in zip(self._steerings, trained, strict=True):
            if not steering.has_reached:
                warn_missed(steering, before.reason_for(steering.sparsity))

    def _make_counters(self) -> None:
        self._count_zeros = zero_counter(
            [weights.countables for weights in self._steered]
        )
        self._count_current = current_counter(
            self._count_zeros, self._variables
        )

    def _leave_out_others(self) -> None:
        """Leave out the weights that the first update does not change.

        Examples are the weights of a teacher, or averages of other weights.
        """
        self._binding.optimizers.look()
        steered = [updated_weights(w, self._variables) for w in self._steered]
        if steered == self._steered or not any(steered):
            return
        left_out = [
            v.path
            for v in self._variables
            if self._binding.optimizers.of(id(v)) is None
        ]
        warnings.warn(
            "`TargetSparsity` leaves out weights that no optimizer updates: "
            f"{', '.join(left_out)}. Name the weights to steer: "
            f"`TargetSparsity({self.target}, weights=[...])`.",
            stacklevel=2,
        )
        pairs = [
            (steering, weights)
            for steering, weights in zip(self._steerings, steered, strict=True)
            if weights is not None
        ]
        for steering, weights in pairs:
            steering.leave_out_others(weights)
        self._steerings = [steering for steering, _ in pairs]
        self._steered = [weights for _, weights in pairs]
        self._make_counters()

    def _start_steering(self) -> None:
        step, now = self._step(), self._progress.now
        self._first_epoch = self._progress.epoch
        nearness = max(1.0 / self._progress.epochs, 2.0 / _MAX_COUNTS)
        for weights, zeros in zip(
            self._steered, self._count_current(), strict=True
        ):
            steering = Steering(
                weights, self.bounds, self._variables, self.target
            )
            counting = steering.recall(now, nearness, step, int(zeros))
            if counting is None:
                steering.begin(now, step, int(zeros))
            else:
                self._resume_counting(*map(int, counting))
            self._steerings.append(steering)
        self._warn_if_impossible()

    def _resume_counting(
        self, first_epoch: int, steps: int, next_count: int
    ) -> None:
        """Count zeros at the same batches as the interrupted `fit` would."""
        self._progress.resume(steps)
        self._first_epoch = first_epoch
        past = self._progress.epoch - first_epoch
        self._batches = past * self._progress.steps
        self._next_count = next_count

    def _remember(self) -> None:
        """Store the state with the penalties, for a `fit` that is resumed."""
        counting = self._first_epoch, self._progress.steps, self._next_count
        for steering in self._steerings:
            steering.remember(counting)

    def _warn_if_impossible(self) -> None:
        """Warn if penalties act on too few weights to reach the target."""
        # The counter counts False as a zero.
        values = [ops.logical_not(would_be_zero(v)) for v in self._variables]
        counts = ops.convert_to_numpy(self._count_zeros(values))
        for steering, zeros in zip(self._steerings, counts, strict=True):
            possible = int(zeros) / steering.weights.total
            if possible < self.target:
                self._warned.append(steering)
                steering.possible = possible
                warn_out_of_reach(steering, unpenalized_reason(possible))

    def _steer(self) -> None:
        step = self._step()
        self._update_sparsity()
        planned = self._progress.batches or _ASSUMED_BATCHES
        for i, steering in enumerate(self._steerings):
            steering.steer(
                self._progress.now,
                step,
                planned,
                partial(self._zeros_with, i),
            )
            if steering.is_bounded and steering not in self._warned:
                self._warned.append(steering)
                warn_out_of_reach(steering, obstacle_reason(steering))
        spacing = min(self._batches // _SPACING_DIVISOR, planned // _MAX_COUNTS)
        self._next_count = self._batches + max(1, spacing)

    def _zeros_with(self, index: int, values: Sequence[Tensor]) -> int:
        """The number of zeros in `self._steered[index]` at some `values`."""
        return int(ops.convert_to_numpy(self._count_zeros(values)[index]))

    def _update_sparsity(self) -> None:
        # On JAX, accessing `self.model` updates its weights.
        counts = self._count_current() if self.model is not None else ()
        for steering, zeros in zip(self._steerings, counts, strict=True):
            steering.read(int(zeros))

    def _step(self) -> int:
        # On JAX, accessing `self.model` updates the iterations.
        step = 0 if self.model is None else self._binding.step()
        return int(ops.convert_to_numpy(step))

    def _penalties(self) -> list[Penalty]:
        return [p for weights in self._steered for p in weights.penalties]

    def _figures(self) -> dict[str, float]:
        """The figures that `fit` logs, by name."""
        total = sum(s.weights.total for s in self._steerings)
        figures = {
            name: sum(
                getattr(s, attribute) * s.weights.total for s in self._steerings
            )
            / total
            for name, attribute in (
                ("steered_sparsity", "sparsity"),
                ("target_sparsity", "desired"),
            )
        }
        multipliers = {penalty.multiplier for penalty in self._penalties()}
        if len(multipliers) == 1:
            figures["strength_multiplier"] = multipliers.pop()
        return figures
