"""Reading the arguments of the `kreg` command."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import kreg
from kreg._arguments import positive_integer
from kreg.cli._demo import MissingPackageError, demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `kreg` command.

    Args:
        arguments: the words after `kreg`. Defaults to those of the process.

    Returns:
        The exit status: 0, or 1 where something was missing.
    """
    options = _parser().parse_args(arguments)
    try:
        demo(options.log_dir, epochs=options.epochs, seed=options.seed)
    except (MissingPackageError, OSError) as error:
        print(f"kreg: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kreg",
        description="Regularization in Keras that does what the textbook says.",
    )
    parser.add_argument(
        "--version", action="version", version=f"kreg {kreg.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
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
        type=Path,
        default=None,
        metavar="DIR",
        help="where to write TensorBoard logs (default: a new one in logs/)",
    )
    command.add_argument(
        "--epochs",
        type=_positive,
        default=30,
        metavar="N",
        help="epochs of each training run (default: %(default)s)",
    )
    command.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the split and the weights (default: %(default)s)",
    )
    return parser


def _positive(text: str) -> int:
    try:
        return positive_integer("N", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
