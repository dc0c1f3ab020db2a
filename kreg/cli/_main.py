"""`main`: the table of subcommands, and the exit status."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

import kreg
from kreg._arguments import instance_of, list_of
from kreg.cli._arguments import Commands
from kreg.cli._compare import add_compare
from kreg.cli._demo import add_demo
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
        arguments: the words after `kreg`. Defaults to `None`: the arguments of
            the process.

    Returns:
        The exit status: 0; 1 if the work failed; 2 if arguments are wrong; 130
        after Ctrl-C; 141 if standard output is closed.
    """
    if arguments is not None:
        arguments = list_of("arguments", arguments, "a list of strings")
        for argument in arguments:
            instance_of("arguments", argument, str, "a list of strings")
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


def _run_and_print(options: argparse.Namespace) -> None:
    """Run a subcommand, and print its output once it has ended."""
    with only_notices():
        import_modules(options.modules)
        try:
            output = options.make_output(options)
        except (CommandError, ImportError):
            raise
        except Exception as error:
            raise CommandError(
                f"{options.model}: {in_one_line(error)}"
            ) from error
    print_out(output.text(options.json))


# Each function adds the parser of a subcommand. It sets `make_output`, which
# returns a `CommandOutput`, or `run`, which prints by itself.
COMMANDS: Sequence[Callable[[Commands], None]] = (
    add_inspect,
    add_strip,
    add_compact,
    add_export,
    add_report,
    add_path,
    add_compare,
    add_demo,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kreg",
        description="Regularization in Keras that does what the textbook says.",
        epilog=(
            "Models are read from .keras files in Keras's safe mode: no code "
            "in such a file is run. The exit status is 0; or 1 if the work "
            "failed and 2 if arguments are wrong, and then nothing is written."
        ),
    )
    parser.add_argument(
        "--version", action="version", version=f"kreg {kreg.__version__}"
    )
    parser.set_defaults(run=_run_and_print)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add_command in COMMANDS:
        add_command(commands)
    return parser
