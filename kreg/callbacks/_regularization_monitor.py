"""`RegularizationMonitor`: the callback that logs for TensorBoard."""

import os
import warnings
from collections.abc import Mapping
from typing import Any, Literal
from weakref import WeakSet

import keras
from keras import ops

from kreg._arguments import (
    local_path,
    nonnegative_number,
    positive_integer,
)
from kreg.binding import bind
from kreg.callbacks._monitor.log import RunLog
from kreg.callbacks._monitor.run import MonitoredRun
from kreg.files.event_file import earlier_files
from kreg.statistics.reader import Reader
from kreg.statistics.rows import rows_of


def frequency(name: str, value: Any) -> int:
    """Return `value` as an int of at least 0."""
    return 0 if value == 0 else positive_integer(name, value)


def checked_hparams(
    hparams: Any,
) -> dict[str, float | bool | str] | None:
    """Return `hparams` as a dict, checked to be what TensorBoard can show."""
    if hparams is None:
        return None
    if not isinstance(hparams, Mapping) or not all(
        isinstance(name, str) and isinstance(value, (bool, int, float, str))
        for name, value in hparams.items()
    ):
        raise TypeError(
            "`hparams` must be a dict of numbers, bools and strings by name. "
            f"Received: hparams={hparams!r}"
        )
    return dict(hparams)


def is_chief(model: keras.Model) -> bool:
    """Whether this process writes logs, among the workers of a training.

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

    It logs norms, sparsity, dead units, strength and penalty, their totals,
    the data loss and the generalization gap. It does so at the end of every
    epoch, and every few steps if you ask for it; the step of the log is the
    optimizer's iteration. The weights may have any regularizers: kreg's,
    Keras's, plain callables or none. The monitor only reads. If the log cannot
    be written, it warns once and training goes on.

    In TensorBoard see the tab kreg, or Custom Scalars for all weights in one
    chart, or Time Series. The tags are `kreg/<figure>` for the whole model,
    `kreg_<figure>/<weight>` for a weight, and `kreg_layer_<figure>/<layer>`
    for the weights of a layer together. A weight is named by its path without
    the model's name. The data loss is the loss without penalties, be they on
    weights, on activities or from `add_loss`. At a step it is the mean since
    the last reading; at the end of an epoch it is the mean over the epoch. The
    generalization gap is the validation data loss minus the training data loss
    of the epoch.

    The last reading is of the weights that `fit` leaves. It is taken after all
    other callbacks have ended, whatever their order, because one such as
    `EarlyStopping` with `restore_best_weights` may change weights at the end.

    Args:
        log_dir: path of a local directory, such as `"logs/run1"`. The events
            go to its folder `train`, where `keras.callbacks.TensorBoard`
            writes too, so both can have the same `log_dir`.
        update_freq: `"epoch"`, or an int N >= 1 to read every N batches, too.
            Each reading takes about as long as two or three reads of the
            weights' memory, and one more for the update ratio. Defaults to
            `"epoch"`.
        histogram_freq: int >= 0, every how many epochs to write histograms of
            all weights. Defaults to `0`: never.
        image_freq: int >= 0, every how many epochs to write kernels as
            pictures, black where they are zero. Defaults to `0`: never.
        add_to_logs: bool, whether to add the figures of the whole model to the
            logs of each epoch, by their names, such as `sparsity`. The history
            and the callbacks after this one then see them. Defaults to
            `False`.
        hparams: dict of numbers, bools and strings by name, which tell this
            run from others on TensorBoard's HParams page. Defaults to `None`.
        threshold: float >= 0, the largest size of an entry that counts as near
            zero. Defaults to `1e-3`.
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
        self.log_dir = local_path(log_dir)
        if update_freq != "epoch":
            update_freq = positive_integer("update_freq", update_freq)
        self.update_freq = update_freq
        self.histogram_freq = frequency("histogram_freq", histogram_freq)
        self.image_freq = frequency("image_freq", image_freq)
        self.add_to_logs = add_to_logs
        self.hparams = checked_hparams(hparams)
        # Kept between calls of `fit`, so that its pass is compiled once.
        self._reader = Reader(nonnegative_number("threshold", threshold))
        self.check = check
        self._run: MonitoredRun | None = None
        self._last_step = -1

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        bind(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._run = None
        if not is_chief(self.model):
            return
        self._check_directory()
        log = RunLog(self.log_dir, self.model.name, self.hparams)
        every = None if self.update_freq == "epoch" else self.update_freq
        self._run = MonitoredRun(
            log, every, self.params or {}, self._reader, self.check
        )
        _monitors.add(self)
        self._delay_last_reading()
        self._run.begin(self.model)

    def _check_directory(self) -> None:
        """Raise or warn if curves of two monitors or two runs would mix."""
        for other in _monitors:
            if (
                other is not self
                and other.params is self.params
                and other.log_dir.resolve() == self.log_dir.resolve()
            ):
                raise ValueError(
                    "`log_dir` must be another one for each monitor of a "
                    "`fit`: give one of them another directory. "
                    f"Received: log_dir={str(self.log_dir)!r} twice"
                )
        step = self._step()
        others = earlier_files(self.log_dir / "train")
        if step < self._last_step or (step == 0 and others):
            warnings.warn(
                "`log_dir` holds the log of an earlier run, and this one "
                f"starts at step {step}, so TensorBoard will mix their "
                "curves. Give each run a directory of its own, or remove the "
                f"old files. Received: log_dir={str(self.log_dir)!r}",
                stacklevel=2,
            )

    def _delay_last_reading(self) -> None:
        """Delay the last reading until all callbacks have ended.

        Keras calls its own `History` after all other callbacks, so the reading
        is taken at the end of `History`. Where the model has none of this
        `fit`, it is taken in `on_train_end`.
        """
        history: Any = getattr(self.model, "history", None)
        is_of_this_fit = getattr(history, "params", None) is self.params
        self._ends_in_own_hook = not is_of_this_fit
        if self._ends_in_own_hook:
            return
        end = history.on_train_end

        def end_all(logs: dict[str, Any] | None = None) -> None:
            history.on_train_end = end
            end(logs)
            self._end()

        history.on_train_end = end_all

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._run is not None:
            self._run.begin_epoch()

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # On JAX, access to `self.model` copies the state of the step into the
        # model, so it is accessed only when weights are to be read.
        if self._run is not None:
            batches_at_once = self._model.steps_per_execution or 1
            if self._run.is_before_reading(batch, batches_at_once):
                self._run.take_weights(self.model)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._run is not None and self._run.end_batch(batch):
            self._run.read_step(self.model)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._run is None:
            return
        logs = {} if logs is None else logs
        figures = self._run.end_epoch(self.model, logs)
        if self.add_to_logs:
            logs.update(figures)
        histograms = _is_turn(epoch, self.histogram_freq)
        images = _is_turn(epoch, self.image_freq)
        if histograms or images:
            self._run.log.add_pictures(
                self._step(),
                rows_of(self.model),
                histograms=histograms,
                images=images,
            )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._run is not None and self._ends_in_own_hook:
            self._end()

    def _end(self) -> None:
        if self._run is not None:
            self._run.end(self.model)
        self._run = None
        self._last_step = self._step()
        _monitors.discard(self)

    def _step(self) -> int:
        return int(ops.convert_to_numpy(self.model.optimizer.iterations))


def _is_turn(epoch: int, frequency: int) -> bool:
    return frequency > 0 and (epoch + 1) % frequency == 0
