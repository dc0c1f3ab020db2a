"""`kreg compare`: chooses a penalty and its strength by cross-validation."""

import argparse
import inspect
from argparse import Namespace
from typing import Any

from rich.console import Console

import kreg.selection
from kreg.cli._arguments import (
    PENALTIES,
    Commands,
    add_common,
    add_training,
    at_least_one,
    strengths_from,
    training_from,
)
from kreg.cli._output import (
    CommandOutput,
    checked_target,
    print_line,
    require_matplotlib,
    save_plot,
)
from kreg.cli._training_files import build_function, read_data
from kreg.selection import Execution

_LIBRARY = inspect.signature(kreg.selection.compare).parameters


def add_compare(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "compare",
        help="choose a penalty and its strength by cross-validation",
        description=(
            "Train a model under several penalties and strengths, fold by "
            "fold, and say which to take, as `kreg.compare` does. BUILD_MODEL "
            "is Python code, and is run."
        ),
    )
    add_training(
        command,
        "arrays named x and y, and perhaps sample_weight, x_test and y_test",
    )
    command.add_argument(
        "--penalties",
        type=penalties,
        default=_LIBRARY["penalties"].default,
        metavar="NAMES",
        help=(
            f"some of {','.join(PENALTIES)}: group is GroupLasso of units, "
            "inputs that of inputs (default: as in Python, none, L1, L2, L1L2 "
            "and GroupLasso)"
        ),
    )
    command.add_argument(
        "--folds",
        type=fold_number,
        default=_LIBRARY["folds"].default,
        metavar="N",
        help=(
            "folds of the cross-validation (default: %(default)s, as in Python)"
        ),
    )
    command.add_argument(
        "--select",
        type=select_rule,
        default=_LIBRARY["select"].default,
        metavar="RULE",
        help=(
            "one_standard_error, best, or a sparsity in (0, 1) "
            "(default: %(default)s, as in Python)"
        ),
    )
    add_common(command)
    command.set_defaults(make_output=compare)


def compare(options: Namespace) -> CommandOutput:
    """Choose a penalty and its strength by cross-validation."""
    if options.plot is not None:
        require_matplotlib()
        checked_target(
            options.plot, options.data, force=options.force, folder=False
        )
    data, test = read_data(options.data)
    build_model = build_function(options.model)
    result = kreg.selection.compare(
        build_model,
        data,
        options.penalties,
        training=training_from(options),
        strengths=strengths_from(options),
        folds=options.folds,
        seeds=(options.seed,),
        test=test,
        select=options.select,
        execution=Execution(directory=options.directory),
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
            print_line(console, f"test {name}: {value:.4g}")

    return CommandOutput(record, show)


def penalties(text: str) -> dict[str, Any]:
    """Names of penalties, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PENALTIES:
            raise argparse.ArgumentTypeError(
                f"must be some of {','.join(PENALTIES)}: {name!r}"
            )
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"has a name twice: {text!r}")
    return {name: PENALTIES[name] for name in names}


def fold_number(text: str) -> int:
    """An integer of at least 2."""
    number = at_least_one(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2: {text!r}")
    return number


def select_rule(text: str) -> str | float:
    """The name of a rule for choosing a strength, or a sparsity."""
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
