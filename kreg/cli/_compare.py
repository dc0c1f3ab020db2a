"""`kreg compare`."""

import argparse
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

import kreg.selection
from kreg._arguments import nonnegative_number
from kreg.cli._answer import Answer, line
from kreg.cli._arguments import Commands, add_common, at_least_one
from kreg.cli._build_function import build_function
from kreg.cli._data_files import read_data
from kreg.cli._output_files import target
from kreg.cli._plot_files import (
    plot_file,
    require_matplotlib,
    save_plot,
)
from kreg.selection._input_lasso import input_lasso

PENALTIES: dict[str, Callable[[float], Any] | None] = {
    "none": None,
    "l1": kreg.L1,
    "l2": kreg.L2,
    "l1l2": lambda strength: kreg.L1L2(strength, strength),
    "group": kreg.GroupLasso,
    "inputs": input_lasso,
}


def add_compare(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "compare",
        help="choose a penalty and its strength by cross-validation",
        description=(
            "Train a model under several penalties and strengths, fold by "
            "fold, and tell which to take, as `kreg.compare` does. BUILD_MODEL "
            "is Python code, and is run."
        ),
    )
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
        type=Path,
        required=True,
        metavar="FILE.npz",
        help=(
            "arrays named x and y, and perhaps sample_weight, x_test and y_test"
        ),
    )
    command.add_argument(
        "--penalties",
        type=penalties,
        default=penalties("none,l1,l2,l1l2"),
        metavar="NAMES",
        help=(
            f"some of {','.join(PENALTIES)}: group is GroupLasso of units, "
            "inputs that of inputs (default: none,l1,l2,l1l2)"
        ),
    )
    command.add_argument(
        "--strengths",
        type=strengths,
        default="auto",
        metavar="NUMBERS",
        help="such as 1e-4,1e-3 (default: auto, a grid for each penalty)",
    )
    command.add_argument(
        "--num-strengths",
        type=at_least_one,
        default=10,
        metavar="N",
        help="strengths of a grid (default: %(default)s)",
    )
    command.add_argument(
        "--epochs",
        type=at_least_one,
        default=20,
        metavar="N",
        help="epochs at each strength at most (default: %(default)s)",
    )
    command.add_argument(
        "--batch-size",
        type=batch_size,
        default=32,
        metavar="N",
        help="rows of a batch, or all (default: %(default)s)",
    )
    command.add_argument(
        "--folds",
        type=several,
        default=5,
        metavar="N",
        help="folds of the cross-validation (default: %(default)s)",
    )
    command.add_argument(
        "--select",
        type=rule,
        default="one_standard_error",
        metavar="RULE",
        help=(
            "one_standard_error, best, or a sparsity in (0, 1) "
            "(default: %(default)s)"
        ),
    )
    command.add_argument(
        "--monitor",
        default="data_loss",
        metavar="METRIC",
        help="what to compare by (default: %(default)s)",
    )
    command.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of folds, weights and batches (default: %(default)s)",
    )
    command.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="keep what is finished, to go on from after an interruption",
    )
    command.add_argument(
        "--plot",
        type=plot_file,
        metavar="FILE.png",
        help="draw the figures (.png, .svg or .pdf)",
    )
    command.add_argument(
        "--force", action="store_true", help="replace the plot if it exists"
    )
    add_common(command)
    command.set_defaults(answer=compare)


def compare(options: Namespace) -> Answer:
    """Choose a penalty and its strength by cross-validation."""
    if options.plot is not None:
        require_matplotlib()
        target(options.plot, options.data, force=options.force, folder=False)
    data, test = read_data(options.data)
    build_model = build_function(options.model)
    result = kreg.selection.compare(
        build_model,
        data,
        options.penalties,
        epochs=options.epochs,
        strengths=options.strengths,
        num_strengths=options.num_strengths,
        batch_size=options.batch_size,
        folds=options.folds,
        seeds=(options.seed,),
        select=options.select,
        monitor=options.monitor,
        test=test,
        directory=options.directory,
        verbose=1,
    )
    if options.plot is not None:
        save_plot(result, options.plot, options.data, force=options.force)

    def record() -> dict[str, Any]:
        return {
            "model": options.model,
            "data": str(options.data),
            "chosen": result.chosen.to_dict(),
            **result.to_dict(),
        }

    def show(console: Console) -> None:
        result.print(console=console)
        for name, value in (result.test or {}).items():
            line(console, f"test {name}: {value:.4g}")

    return Answer(record, show)


def penalties(text: str) -> dict[str, Any]:
    """Names of penalties with commas between."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PENALTIES:
            raise argparse.ArgumentTypeError(
                f"must be some of {','.join(PENALTIES)}: {name!r}"
            )
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"has a name twice: {text!r}")
    return {name: PENALTIES[name] for name in names}


def several(text: str) -> int:
    """An integer of at least 2."""
    number = at_least_one(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2: {text!r}")
    return number


def batch_size(text: str) -> int | None:
    """A positive integer, or None for all rows."""
    return None if text == "all" else at_least_one(text)


def strengths(text: str) -> list[float] | str:
    """Different numbers of at least 0, with commas between, or `auto`."""
    if text == "auto":
        return text
    try:
        found = [
            nonnegative_number("NUMBERS", float(part))
            for part in text.split(",")
        ]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"has a number twice: {text!r}")
    return found


def rule(text: str) -> str | float:
    """The name of a rule, or a sparsity."""
    if text in ("one_standard_error", "best"):
        return text
    try:
        sparsity = float(text)
    except ValueError:
        sparsity = 0.0
    if not 0.0 < sparsity < 1.0:
        raise argparse.ArgumentTypeError(
            "must be one_standard_error, best, or a sparsity in (0, 1): "
            f"{text!r}"
        )
    return sparsity
