"""Arguments that several commands take."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from kreg._arguments import positive_integer, positive_number

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_model(command: argparse.ArgumentParser, name: str = "MODEL") -> None:
    """A file to read."""
    command.add_argument("model", type=Path, metavar=name, help="a .keras file")


def add_output(
    command: argparse.ArgumentParser,
    kind: Callable[[str], Path],
    help_text: str,
) -> None:
    """Something to write."""
    command.add_argument("output", type=kind, metavar="OUTPUT", help=help_text)
    command.add_argument(
        "--force",
        action="store_true",
        help="replace OUTPUT if it exists; it may be MODEL",
    )


def add_common(command: argparse.ArgumentParser) -> None:
    """What every command on a model takes."""
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
        help="print the answer as JSON, with null for what is not finite",
    )
    command.add_argument(
        "--traceback",
        action="store_true",
        help="show where in Python an error was raised",
    )


def keras_file(text: str) -> Path:
    """A path to write a model of Keras at."""
    if not text.endswith(".keras"):
        raise argparse.ArgumentTypeError(f"must end in .keras: {text!r}")
    return Path(text)


def at_least_one(text: str) -> int:
    """A positive integer."""
    try:
        return positive_integer("N", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def above_zero(text: str) -> float:
    """A positive number."""
    try:
        return positive_number("FRACTION", float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
