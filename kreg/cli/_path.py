"""`kreg path`: trains a model along a path of strengths."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.console import Console

import kreg.selection
from kreg.cli._arguments import (
    PENALTIES,
    Commands,
    add_common,
    add_training,
    strengths_from,
    training_from,
)
from kreg.cli._output import (
    CommandOutput,
    checked_target,
    refuse_unwritable,
    require_matplotlib,
    save_plot,
)
from kreg.cli._training_files import build_function, read_data

_PENALTIES = {name: make for name, make in PENALTIES.items() if make}


def add_path(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "path",
        help="train a model at one strength of a penalty after the other",
        description=(
            "Train a model at many strengths of a penalty, each from where "
            "the last one ended, as `kreg.path` does. BUILD_MODEL is Python "
            "code, and is run."
        ),
    )
    add_training(
        command,
        "arrays named x and y, and perhaps sample_weight; x_test and y_test "
        "are left alone",
    )
    command.add_argument(
        "--penalty",
        choices=list(_PENALTIES),
        default="l1",
        help=(
            "group is GroupLasso of units, inputs that of inputs "
            "(default: %(default)s)"
        ),
    )
    command.add_argument(
        "--validation-split",
        type=fraction,
        default=0.2,
        metavar="FRACTION",
        help=(
            "rows to judge by, from 0 to below 1 (default: %(default)s; in "
            "Python there are none)"
        ),
    )
    command.add_argument(
        "--output",
        type=json_file,
        metavar="FILE.json",
        help=(
            "write the result for `PathResult.load`, and the weights of all "
            "points in FILE.npz"
        ),
    )
    add_common(command)
    command.set_defaults(make_output=path)


def path(options: Namespace) -> CommandOutput:
    """Train a model along a path of strengths."""
    if options.plot is not None:
        require_matplotlib()
    for file in _output_files(options):
        checked_target(file, options.data, force=options.force, folder=False)
    data, _ = read_data(options.data)
    result = kreg.selection.path(
        build_function(options.model),
        data,
        _PENALTIES[options.penalty],
        strengths_from(options),
        training=training_from(options),
        validation=options.validation_split or None,
        directory=options.directory,
        seed=options.seed,
    )
    if options.output is not None:
        with refuse_unwritable(options.output):
            result.save(options.output.resolve())
    if options.plot is not None:
        save_plot(result, options.plot, options.data, force=options.force)
    best = result.best() if options.validation_split else None

    def record() -> dict[str, Any]:
        return {
            "model": options.model,
            "data": str(options.data),
            "best": None if best is None else best.to_dict(),
            **result.to_dict(),
        }

    def show(console: Console) -> None:
        console.print(result)

    return CommandOutput(record, show)


def _output_files(options: Namespace) -> list[Path]:
    """The files that the command writes."""
    files = [] if options.plot is None else [options.plot]
    if options.output is not None:
        files += [options.output, options.output.with_suffix(".npz")]
    return files


def json_file(text: str) -> Path:
    """The path of a JSON file to write."""
    if not text.endswith(".json"):
        raise argparse.ArgumentTypeError(f"must end in .json: {text!r}")
    return Path(text)


def fraction(text: str) -> float:
    """A number from 0 to below 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < 1.0:
        raise argparse.ArgumentTypeError(
            f"must be a number from 0 to below 1: {text!r}"
        )
    return number
