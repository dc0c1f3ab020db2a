"""`kreg demo`: trains one classifier under several penalties."""

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import kreg
from kreg.cli._arguments import (
    Commands,
    at_least_one,
    at_least_zero,
    named_path,
)
from kreg.results.table import Column, Table, output_console
from kreg.selection.execution.execution import shown_progress


def add_demo(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "demo",
        help="train one classifier under several penalties and compare",
        description=(
            "Train the same classifier on scikit-learn's handwritten digits "
            "without a penalty, with Keras's L1, with L1, L2 and L1L2 whose "
            "strength is ramped up, and with L1 and GroupLasso under a "
            "proximal optimizer, and compare. Takes about a minute."
        ),
    )
    command.add_argument(
        "--log-dir",
        type=named_path,
        default=None,
        metavar="DIR",
        help="where to write TensorBoard logs (default: a new one in logs/)",
    )
    command.add_argument(
        "--epochs",
        type=at_least_one,
        default=30,
        metavar="N",
        help="epochs of each training run (default: %(default)s)",
    )
    command.add_argument(
        "--seed",
        type=at_least_zero,
        default=0,
        metavar="N",
        help="seed of the split and the weights (default: %(default)s)",
    )
    command.set_defaults(run=_run)


def _run(options: Namespace) -> None:
    demo(options.log_dir, epochs=options.epochs, seed=options.seed)


class MissingPackageError(ImportError):
    """A package of an extra is not installed."""


@dataclass(frozen=True)
class Part:
    """Images as rows of 64 grey values in [0, 1], and their labels."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits of 8 by 8 pixels, in three parts."""

    train: Part
    validation: Part
    test: Part


def load_digits(seed: int) -> Digits:
    """Split the digits into 40 % for training, 30 % and 30 %.

    Args:
        seed: int, the seed of the split.

    Returns:
        The three parts, each with the classes in the same proportions.

    Raises:
        MissingPackageError: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingPackageError(
            "the digits come with scikit-learn, which is not installed: "
            "run `pip install 'kreg[examples]'`"
        ) from error
    images, labels = load(return_X_y=True)
    x = (images / 16.0).astype("float32")
    x_train, x_rest, y_train, y_rest = train_test_split(
        x, labels, train_size=0.4, stratify=labels, random_state=seed
    )
    x_val, x_test, y_val, y_test = train_test_split(
        x_rest, y_rest, train_size=0.5, stratify=y_rest, random_state=seed
    )
    return Digits(
        Part(x_train, y_train), Part(x_val, y_val), Part(x_test, y_test)
    )


BATCH_SIZE = 32
Regularizer: TypeAlias = keras.regularizers.Regularizer | None
# For each run, a function from the number of steps to the penalty.
IN_THE_LOSS: dict[str, Callable[[int], Regularizer]] = {
    "none": lambda steps: None,
    "keras L1": lambda steps: keras.regularizers.L1(1e-4),
    "L1": lambda steps: kreg.L1(ramp(2e-4, steps)),
    "L2": lambda steps: kreg.L2(ramp(1e-3, steps)),
    "L1L2": lambda steps: kreg.L1L2(ramp(1e-4, steps), ramp(5e-4, steps)),
}
PROXIMAL: dict[str, Callable[[int], Regularizer]] = {
    "L1, proximal": IN_THE_LOSS["L1"],
    "GroupLasso, proximal": lambda steps: kreg.GroupLasso(ramp(5e-4, steps)),
}
RUNS = {**IN_THE_LOSS, **PROXIMAL}


@dataclass(frozen=True)
class Result:
    """The figures at the end of one training run."""

    name: str
    validation_accuracy: float
    test_accuracy: float
    data_loss: float
    penalty: float
    l1_norm: float
    l2_norm: float
    sparsity: float
    dead_units: int


def demo(log_dir: Path | None, *, epochs: int, seed: int) -> list[Result]:
    """Train a classifier under each penalty and print a table.

    Args:
        log_dir: the folder of the TensorBoard logs, one folder for each
            penalty. None for a new folder in `logs`.
        epochs: int >= 1, epochs of each run.
        seed: int, the seed of the split, the weights and the batches.

    Returns:
        One result for each penalty, as printed.

    Raises:
        MissingPackageError: if scikit-learn is not installed.
        OSError: if the log directory cannot be written.
    """
    digits = load_digits(seed)
    if log_dir is None:
        log_dir = Path("logs") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    log_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    results = []
    with shown_progress("demo", epochs * len(RUNS), verbose=1) as show:
        for name in RUNS:
            keras.utils.set_random_seed(seed)
            advance = Advance(partial(show, name))
            results.append(_train(name, digits, epochs, log_dir, advance))
    output_console().print(_table(results))
    console.print(f"TensorBoard logs are in {log_dir}. Start TensorBoard with")
    for line in (
        f"  {sys.executable} -m tensorboard.main --logdir {log_dir}",
        "and open every weight's sparsity, norms and strength at",
        "  http://localhost:6006/#kreg",
    ):
        console.print(line, soft_wrap=True, highlight=False)
    return results


def ramp(strength: float, steps: int) -> kreg.schedules.LinearRamp:
    """Rise to `strength` over the first half of `steps`."""
    return kreg.schedules.LinearRamp(0.0, strength, steps=max(1, steps // 2))


class Advance(keras.callbacks.Callback):
    """Calls a function at the end of each epoch."""

    def __init__(self, advance: Callable[[], None]) -> None:
        super().__init__()
        self._advance = advance

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._advance()


def _train(
    name: str,
    digits: Digits,
    epochs: int,
    log_dir: Path,
    advance: keras.callbacks.Callback,
) -> Result:
    steps = epochs * -(-len(digits.train.x) // BATCH_SIZE)

    def hidden(layer: str) -> keras.layers.Layer:
        return keras.layers.Dense(
            128,
            activation="relu",
            kernel_regularizer=RUNS[name](steps),
            name=layer,
        )

    model = keras.Sequential(
        [
            keras.Input((64,)),
            hidden("first"),
            hidden("second"),
            keras.layers.Dense(10, activation="softmax", name="last"),
        ]
    )
    adam = keras.optimizers.Adam(3e-3)
    model.compile(
        kreg.ProximalOptimizer(adam) if name in PROXIMAL else adam,
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    folder = name.replace(", ", "-")
    history = model.fit(
        digits.train.x,
        digits.train.y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
        validation_data=(digits.validation.x, digits.validation.y),
        callbacks=[
            keras.callbacks.TensorBoard(log_dir / folder, write_graph=False),
            kreg.RegularizationMonitor(
                log_dir / folder, 5, hparams={"penalty": name}, check=False
            ),
            advance,
        ],
    ).history
    test = model.evaluate(
        digits.test.x, digits.test.y, verbose=0, return_dict=True
    )
    reading = kreg.statistics.read(model)
    return Result(
        name=name,
        validation_accuracy=history["val_accuracy"][-1],
        test_accuracy=test["accuracy"],
        data_loss=test["data_loss"],
        penalty=test["penalty"],
        l1_norm=reading.l1_norm,
        l2_norm=reading.l2_norm,
        sparsity=reading.sparsity,
        dead_units=reading.dead_units,
    )


def _table(results: list[Result]) -> Table:
    columns = (
        Column("penalty", "name"),
        Column("val.\nacc."),
        Column("test\nacc."),
        Column("data\nloss", rank=1),
        Column("penalty", rank=3),
        Column("L1\nnorm", rank=4),
        Column("L2\nnorm", rank=2),
        Column("exact\nzeros"),
        Column("dead\nunits"),
    )
    rows = [
        (
            result.name,
            f"{result.validation_accuracy:.3f}",
            f"{result.test_accuracy:.3f}",
            f"{result.data_loss:.3f}",
            f"{result.penalty:.3f}",
            f"{result.l1_norm:.0f}",
            f"{result.l2_norm:.1f}",
            f"{result.sparsity:.1%}",
            f"{result.dead_units}",
        )
        for result in results
    ]
    return Table(columns, rows, "The same network on handwritten digits")
