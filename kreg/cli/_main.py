"""The `kreg` command: its words, its exit status."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import kreg
from kreg.cli._arguments import Commands, at_least_one
from kreg.cli._compare import add_compare
from kreg.cli._demo import demo
from kreg.cli._export import add_export
from kreg.cli._inspect import add_inspect, add_report
from kreg.cli._model_files import import_modules
from kreg.cli._path import add_path
from kreg.cli._process import (
    CLOSED_PIPE,
    INTERRUPTED,
    CommandError,
    UsageError,
    ended_by_signals,
    in_one_line,
    only_notices,
    print_out,
)
from kreg.cli._shrink import add_compact, add_strip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `kreg` command.

    Args:
        arguments: the words after `kreg`. Defaults to those of the process.

    Returns:
        The exit status: 0; 1 if the work failed; 2 if the words are wrong; 130
        after Ctrl-C; 141 if nobody reads what is printed.
    """
    options = _parser().parse_args(arguments)
    try:
        with ended_by_signals():
            options.run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return CLOSED_PIPE
    except Exception as error:
        if getattr(options, "traceback", False):
            traceback.print_exc()
        print(f"kreg: {in_one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _answer(options: argparse.Namespace) -> None:
    """Run a command on a model, and print what it answers."""
    with only_notices():
        import_modules(options.modules)
        try:
            answer = options.answer(options)
        except (CommandError, ImportError):
            raise
        except Exception as error:
            raise CommandError(
                f"{options.model}: {in_one_line(error)}"
            ) from error
    print_out(answer.text(options.json))


def _demo(options: argparse.Namespace) -> None:
    demo(options.log_dir, epochs=options.epochs, seed=options.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kreg",
        description="Regularization in Keras that does what the textbook says.",
        epilog=(
            "Models are read from .keras files in Keras's safe mode: no code "
            "in such a file is run. The exit status is 0; or 1 if the work "
            "failed and 2 if the words are wrong, and then nothing is written."
        ),
    )
    parser.add_argument(
        "--version", action="version", version=f"kreg {kreg.__version__}"
    )
    parser.set_defaults(run=_answer)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_inspect(commands)
    add_strip(commands)
    add_compact(commands)
    add_export(commands)
    add_report(commands)
    add_path(commands)
    add_compare(commands)
    _add_demo(commands)
    return parser


def _add_demo(commands: Commands) -> None:
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
        type=at_least_one,
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
    command.set_defaults(run=_demo)
