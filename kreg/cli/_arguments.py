"""Arguments that several commands share, and their types for argparse."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import kreg
from kreg._arguments import (
    checked_path,
    nonnegative_integer,
    nonnegative_number,
    positive_integer,
    positive_number,
)
from kreg.cli._output import plot_file
from kreg.selection import StrengthGrid, Training, input_lasso

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_model(command: argparse.ArgumentParser, name: str = "MODEL") -> None:
    """Add the argument for a model file to read."""
    command.add_argument(
        "model", type=named_path, metavar=name, help="a .keras file"
    )


def add_output(
    command: argparse.ArgumentParser,
    path_type: Callable[[str], Path],
    help_text: str,
) -> None:
    """Add the arguments for a file or folder to write.

    Args:
        command: the parser of the command.
        path_type: converts the argument to a path, or raises.
        help_text: the help of the argument.
    """
    command.add_argument(
        "output", type=path_type, metavar="OUTPUT", help=help_text
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="replace OUTPUT if it exists; it may be MODEL",
    )


def add_common(command: argparse.ArgumentParser) -> None:
    """Add the arguments of every command on a model."""
    command.add_argument(
        "--import",
        action="append",
        default=[],
        dest="modules",
        metavar="MODULE",
        help=(
            "import a Python module first, which registers classes that the "
            "model needs; may be given several times"
        ),
    )
    command.add_argument(
        "--json",
        action="store_true",
        help="print the result as JSON, with null for NaN and infinity",
    )
    command.add_argument(
        "--traceback",
        action="store_true",
        help="show where in Python an error was raised",
    )


def keras_file(text: str) -> Path:
    """The path of a `.keras` file to write."""
    if not text.endswith(".keras"):
        raise argparse.ArgumentTypeError(f"must end in .keras: {text!r}")
    return named_path(text)


def named_path(text: str) -> Path:
    """A path; empty text is refused."""
    try:
        return checked_path("PATH", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def at_least_one(text: str) -> int:
    """A positive integer."""
    try:
        return positive_integer("N", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def at_least_zero(text: str) -> int:
    """A non-negative integer."""
    try:
        return nonnegative_integer("N", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def above_zero(text: str) -> float:
    """A positive number."""
    try:
        return positive_number("FRACTION", float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


PENALTIES: dict[str, Callable[[float], kreg.regularizers.Penalty] | None] = {
    "none": None,
    "l1": kreg.L1,
    "l2": kreg.L2,
    "l1l2": kreg.L1L2,
    "group": kreg.GroupLasso,
    "inputs": input_lasso,
}


# Defaults are those of the library, except for the epochs, which have none
# there.
_EPOCHS = 20
_TRAINING = Training(_EPOCHS)
_GRID = StrengthGrid()


def add_training(command: ArgumentParser, data_help: str) -> None:
    """Add the arguments of commands that train a model.

    Args:
        command: the parser of the command.
        data_help: the help of `--data`.
    """
    command.add_argument(
        "model",
        metavar="BUILD_MODEL",
        help=(
            "a function that returns a new compiled model: FILE.py:FUNCTION "
            "or MODULE:FUNCTION"
        ),
    )
    command.add_argument(
        "--data",
        type=named_path,
        required=True,
        metavar="FILE.npz",
        help=data_help,
    )
    command.add_argument(
        "--strengths",
        type=strengths,
        default=None,
        metavar="NUMBERS",
        help=(
            "such as 1e-4,1e-3 (default: auto, a `StrengthGrid` for each "
            "penalty)"
        ),
    )
    command.add_argument(
        "--num-strengths",
        type=at_least_one,
        default=_GRID.num,
        metavar="N",
        help="strengths of a grid (default: %(default)s, as in Python)",
    )
    command.add_argument(
        "--epochs",
        type=at_least_one,
        default=_TRAINING.epochs,
        metavar="N",
        help=(
            "epochs at each strength at most (default: %(default)s; in Python "
            "there is none)"
        ),
    )
    command.add_argument(
        "--batch-size",
        type=batch_size,
        default=_TRAINING.batch_size,
        metavar="N",
        help="rows of a batch, or all (default: %(default)s, as in Python)",
    )
    command.add_argument(
        "--monitor",
        default=_TRAINING.monitor,
        metavar="METRIC",
        help="what to compare by (default: %(default)s, as in Python)",
    )
    command.add_argument(
        "--seed",
        type=at_least_zero,
        default=0,
        metavar="N",
        help="seed of splits, weights and batches (default: %(default)s)",
    )
    command.add_argument(
        "--directory",
        type=named_path,
        metavar="DIR",
        help="save finished training here, to resume after an interruption",
    )
    command.add_argument(
        "--plot",
        type=plot_file,
        metavar="FILE.png",
        help="draw the figures (.png, .svg or .pdf)",
    )
    command.add_argument(
        "--force", action="store_true", help="replace files that exist"
    )


def training_from(options: Namespace) -> Training:
    """The `Training` of the arguments that `add_training` added."""
    return Training(
        options.epochs, batch_size=options.batch_size, monitor=options.monitor
    )


def strengths_from(options: Namespace) -> StrengthGrid:
    """The `StrengthGrid` of the arguments that `add_training` added."""
    if options.strengths is None:
        return StrengthGrid(options.num_strengths)
    return StrengthGrid(values=options.strengths)


def batch_size(text: str) -> int | None:
    """A positive integer, or None for all rows."""
    return None if text == "all" else at_least_one(text)


def strengths(text: str) -> list[float] | None:
    """Distinct numbers >= 0, separated by commas; None for `auto`."""
    if text == "auto":
        return None
    try:
        numbers = [
            nonnegative_number("NUMBERS", float(part))
            for part in text.split(",")
        ]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"has a number twice: {text!r}")
    return numbers
