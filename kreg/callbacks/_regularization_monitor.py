"""`RegularizationMonitor`: the callback that logs for TensorBoard."""

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

import keras
import numpy as np

from kreg._arguments import (
    boolean,
    local_path,
    nonnegative_integer,
    nonnegative_number,
    positive_integer,
)
from kreg.binding.bound_models import ensure_bound
from kreg.callbacks._end_of_fit import after_all_callbacks
from kreg.callbacks._monitor.guard import Guard
from kreg.callbacks._monitor.log import RunLog
from kreg.callbacks._monitor.log_step import LogStep
from kreg.callbacks._monitor.run import MonitoredRun
from kreg.files.event_file import damaged_at, earlier_files
from kreg.statistics.reader import Reader
from kreg.statistics.rows import rows_of


def checked_hparams(
    hparams: Any,
) -> dict[str, float | bool | str] | None:
    """Return `hparams` as a dict of values that TensorBoard can show."""
    if hparams is None:
        return None
    if not isinstance(hparams, Mapping):
        raise TypeError(
            "`hparams` must be a dict of numbers, bools and strings by name. "
            f"Received: hparams={hparams!r}"
        )
    checked = {}
    for name, value in hparams.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if not (isinstance(name, str) and isinstance(plain, (int, float, str))):
            raise TypeError(
                "`hparams` must be a dict of numbers, bools and strings by "
                f"name. Received: {value!r} for {name!r}"
            )
        if isinstance(plain, int) and abs(plain) > sys.float_info.max:
            raise ValueError(
                "`hparams` must hold numbers that a float can hold, because "
                "TensorBoard shows floats: pass a larger one as a string. "
                f"Received: an int of {plain.bit_length()} bits for {name!r}"
            )
        checked[name] = plain
    return checked


def is_chief(model: keras.Model) -> bool:
    """Whether this process is the worker of a training that writes logs.

    Args:
        model: the model that is being trained.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return bool(model.distribute_strategy.extended.should_checkpoint)
    if backend == "jax":
        import jax

        return jax.process_index() == 0
    if backend == "torch":
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank() == 0
    return True


_monitors: WeakSet["RegularizationMonitor"] = WeakSet()


class RegularizationMonitor(keras.callbacks.Callback):
    """Logs what regularization does to every weight, for TensorBoard.

    It logs norms, sparsity, dead units, strength and penalty of each weight,
    their totals, the data loss and the generalization gap. It does so at the
    end of every epoch, and every few batches if you ask for it. The weights may
    have any regularizers: kreg's, Keras's, plain callables or none. The monitor
    only reads. If it cannot compute, read or write something during training,
    it warns once, leaves that out, and training goes on.

    The step of the log is the optimizer's iteration. Where a `train_step` of
    your own uses other optimizers than `model.optimizer`, it is the largest of
    their iterations, or the number of batches, and the monitor warns of that
    once. The strength and the penalty of each weight are those at the iteration
    of the optimizer that updates it.

    In TensorBoard see the tab kreg, or Custom Scalars for all weights in one
    chart, or Time Series. The tags are `kreg/<figure>` for the whole model,
    `kreg_<figure>/<weight>` for a weight, and `kreg_layer_<figure>/<layer>`
    for the weights of a layer together. A weight is named by its path without
    the model's name. The data loss is the loss without penalties on weights or
    activities and without `add_loss` terms. At a step it is the mean since the
    last reading; at the end of an epoch it is the mean over the epoch. The
    generalization gap is the validation data loss minus the training data loss
    of the epoch.

    The first reading is taken when the first epoch begins, after callbacks such
    as `BackupAndRestore` have restored weights. The last reading is taken after
    all other callbacks have ended, whatever their order, because one such as
    `EarlyStopping` with `restore_best_weights` may change weights at the end.

    Args:
        log_dir: path of a local directory, such as `"logs/run1"`. The events
            go to its folder `train`, where `keras.callbacks.TensorBoard`
            writes too, so both can have the same `log_dir`.
        update_freq: `"epoch"`, or an int N >= 1 to read also every N batches.
            A reading passes two or three times over the weights in memory, and
            once more for the update ratio. Defaults to `"epoch"`.
        histogram_freq: int >= 0, the number of epochs between histograms of all
            weights. Defaults to `0`: none.
        image_freq: int >= 0, the number of epochs between pictures of kernels,
            which are black where a kernel is zero. Defaults to `0`: none.
        add_to_logs: bool, whether to add the figures of the whole model to the
            logs of each epoch, by their names, such as `sparsity`. The history
            and the callbacks after this one then see them. Defaults to
            `False`.
        hparams: dict of numbers, bools and strings by name, the hyperparameters
            of the run for TensorBoard's HParams page. Defaults to `None`.
        threshold: float >= 0, the largest absolute value of an entry that
            counts as near zero. Defaults to `1e-3`.
        check: bool, whether to warn of the findings of `kreg.check` at the
            start. They are in the log's text in any case. Defaults to `True`.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range; before training, if two
            monitors of one `fit` have the same `log_dir`.
        OSError: before training, if `log_dir` cannot be written.

    Example:

    >>> import keras, kreg, numpy, pathlib, tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(
    ...     1, kernel_initializer="ones", kernel_regularizer=kreg.L1(0.5))])
    >>> sgd = keras.optimizers.SGD(0.0)
    >>> model.compile(kreg.ProximalOptimizer(sgd), "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     monitor = kreg.RegularizationMonitor(folder, add_to_logs=True)
    ...     history = model.fit(numpy.zeros((4, 2)), numpy.zeros((4, 1)),
    ...         callbacks=[monitor], verbose=0).history
    ...     len(list(pathlib.Path(folder).glob("train/*tfevents*.kreg")))
    1
    >>> history["l1_norm"], history["penalty"], history["data_loss"]
    ([2.0], [1.0], [0.0])
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        update_freq: Literal["epoch"] | int = "epoch",
        *,
        histogram_freq: int = 0,
        image_freq: int = 0,
        add_to_logs: bool = False,
        hparams: Mapping[str, float | bool | str] | None = None,
        threshold: float = 1e-3,
        check: bool = True,
    ) -> None:
        super().__init__()
        # Absolute, because the working directory may change during `fit`.
        self.log_dir = local_path("log_dir", log_dir).absolute()
        if not (isinstance(update_freq, str) and update_freq == "epoch"):
            update_freq = positive_integer("update_freq", update_freq)
        self.update_freq = update_freq
        self.histogram_freq = nonnegative_integer(
            "histogram_freq", histogram_freq
        )
        self.image_freq = nonnegative_integer("image_freq", image_freq)
        self.add_to_logs = boolean("add_to_logs", add_to_logs)
        self.hparams = checked_hparams(hparams)
        self._guard = Guard()
        # Kept between calls of `fit`, so that its pass is compiled only once.
        self._reader = Reader(nonnegative_number("threshold", threshold))
        self.check = boolean("check", check)
        self._run: MonitoredRun | None = None
        self._has_begun = self._ends_later = False
        self._last_step = -1
        self._log_step = LogStep()

    def set_model(self, model: keras.Model) -> None:
        if model is not self._model:
            self._log_step = LogStep()
        super().set_model(model)
        ensure_bound(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._run = None
        self._guard.begin()
        self._refuse_shared_directory()
        writes = is_chief(self.model)
        log = RunLog(
            self.log_dir if writes else None,
            self.model.name,
            self.hparams,
            self._guard,
        )
        # All workers read, because reading a metric or a variable that is
        # distributed over workers waits for all of them. Only one writes and
        # warns.
        self._run = MonitoredRun(
            log,
            None if self.update_freq == "epoch" else self.update_freq,
            self.params or {},
            self._reader,
            self.check and writes,
            self._guard,
            self._log_step,
        )
        self._has_begun = False
        _monitors.add(self)
        self._ends_later = after_all_callbacks(self, self._end)

    def _begin(self, run: MonitoredRun) -> None:
        """Take the first reading, after other callbacks have restored weights.

        `on_train_begin` is too early: a callback that comes later in the list,
        such as `BackupAndRestore`, restores weights there.
        """
        if not self._has_begun:
            self._has_begun = True
            with self._guard("look at the earlier logs"):
                self._warn_of_earlier_logs(run.log.paths)
            run.begin(self.model)

    def _refuse_shared_directory(self) -> None:
        """Raise if another monitor of this `fit` has the same directory.

        Without `params`, as in a loop of the user's own, it is not known
        whether the other one belongs to a loop that has failed.
        """
        for other in _monitors:
            if (
                other is not self
                and other.params is self.params is not None
                and other.log_dir.resolve() == self.log_dir.resolve()
            ):
                raise ValueError(
                    "`log_dir` must be a different directory for each monitor "
                    "of a `fit`: give one of them another directory. "
                    f"Received: log_dir={str(self.log_dir)!r} twice"
                )

    def _warn_of_earlier_logs(self, own: Sequence[Path]) -> None:
        """Warn of earlier logs that would mix with this one or are damaged."""
        if not own:
            return
        step = self._step()
        others = [
            path
            for path in earlier_files(self.log_dir / "train")
            if path not in own
        ]
        if step < self._last_step or (step == 0 and others):
            warnings.warn(
                "`log_dir` holds the log of an earlier run, and this one "
                f"starts at step {step}, so TensorBoard will mix their "
                "curves. Give each run a directory of its own, or remove the "
                f"old files. Received: log_dir={str(self.log_dir)!r}",
                stacklevel=2,
            )
        for path in others:
            end = damaged_at(path)
            if end is not None:
                warnings.warn(
                    f"{path} is damaged from byte {end} on, as after a kill "
                    "or on a full disk. TensorBoard shows nothing of it after "
                    "that byte; this run has a file of its own.",
                    stacklevel=2,
                )

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._run is not None:
            with self._guard("begin an epoch"):
                self._begin(self._run)
                self._run.begin_epoch()

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # On JAX, accessing `self.model` copies the state of the step into the
        # model, so do it only when weights are to be read.
        if self._run is not None:
            with self._guard("begin a batch"):
                batches_at_once = self._model.steps_per_execution or 1
                if self._run.is_before_reading(batch, batches_at_once):
                    self._run.take_weights(self.model)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._run is not None:
            with self._guard("end a batch"):
                if self._run.end_batch(batch):
                    self._run.read_step(self.model)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._run is not None:
            with self._guard("end an epoch"):
                self._end_epoch(self._run, epoch, {} if logs is None else logs)

    def _end_epoch(
        self, run: MonitoredRun, epoch: int, logs: dict[str, Any]
    ) -> None:
        figures = run.end_epoch(self.model, logs)
        if self.add_to_logs:
            logs.update(figures)
        histograms = _is_turn(epoch, self.histogram_freq)
        images = _is_turn(epoch, self.image_freq)
        if histograms or images:
            run.log.add_pictures(
                self._step(),
                rows_of(self.model),
                histograms=histograms,
                images=images,
            )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self._ends_later:
            self._end()

    def _end(self) -> None:
        run, self._run = self._run, None
        _monitors.discard(self)
        if run is not None:
            with self._guard("end the log"):
                self._begin(run)
                run.end(self.model)
                self._last_step = self._step()

    def _step(self) -> int:
        return self._log_step.now(self.model)


def _is_turn(epoch: int, frequency: int) -> bool:
    return frequency > 0 and (epoch + 1) % frequency == 0
