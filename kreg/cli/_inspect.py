"""`kreg inspect` and `kreg report`: show a model's regularization and cost."""

import sys
from argparse import Namespace
from typing import Any

from rich.console import Console

import kreg
import kreg.deployment
from kreg.cli._arguments import (
    Commands,
    add_common,
    add_model,
    at_least_one,
    named_path,
)
from kreg.cli._model_files import open_model
from kreg.cli._output import CommandOutput, print_line
from kreg.cli._process import busy


def add_inspect(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "inspect",
        help="show strengths, norms, zeros and mistakes of a model",
        description=(
            "Print strength, penalty, norms, exact zeros and dead units of "
            "each weight, as `kreg.summary` does, and what `kreg.check` finds "
            "wrong with the regularization."
        ),
    )
    add_model(command)
    add_common(command)
    command.set_defaults(make_output=inspect)


def inspect(options: Namespace) -> CommandOutput:
    """Show the regularization of a model, and the mistakes in it."""
    model = open_model(options.model, with_optimizer=True)
    with busy("reading the weights"):
        findings = kreg.check(model)

    def record() -> dict[str, Any]:
        return {
            "model": str(options.model),
            "name": model.name,
            "compiled": bool(model.compiled),
            "reading": kreg.statistics.read(model).to_dict(),
            **findings.to_dict(),
        }

    def show(console: Console) -> None:
        kreg.summary(model, console=console)
        if not model.compiled:
            print_line(
                console,
                "It is not compiled: what depends on an optimizer is not "
                "checked.",
            )
        if not findings:
            print_line(console, "The linter finds nothing.")
        for finding in findings:
            print_line(console, f"{finding.rule}: {finding}")

    return CommandOutput(record, show)


def add_report(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "report",
        help="measure what a model costs, or two side by side",
        description=(
            "Print parameters, operations, bytes and latency of a model; of "
            "two, the ratio and the largest difference of their outputs too, "
            "on random inputs, as `kreg.deployment.deploy_report` does."
        ),
    )
    add_model(command, "BEFORE")
    other = command.add_mutually_exclusive_group()
    other.add_argument(
        "after",
        type=named_path,
        nargs="?",
        metavar="AFTER",
        help="a .keras file to compare with",
    )
    other.add_argument(
        "--compact",
        action="store_true",
        help="compare BEFORE with the model that `kreg compact` writes for it",
    )
    command.add_argument(
        "--batch-size",
        type=at_least_one,
        default=1,
        metavar="N",
        help="the batch that is timed (default: %(default)s)",
    )
    command.add_argument(
        "--runs",
        type=at_least_one,
        default=50,
        metavar="N",
        help="the number of timed runs (default: %(default)s)",
    )
    command.add_argument(
        "--markdown", action="store_true", help="print a table in Markdown"
    )
    add_common(command)
    command.set_defaults(make_output=report)


def report(options: Namespace) -> CommandOutput:
    """Measure what a model costs, or two side by side."""
    before = open_model(options.model)
    after = None
    if options.after is not None:
        after = open_model(options.after)
    elif options.compact:
        with busy("removing what is dead"):
            after = kreg.compact(before)
    if sys.stderr.isatty():
        print("measuring", file=sys.stderr)
    measured = kreg.deployment.deploy_report(
        before, after, batch_size=options.batch_size, runs=options.runs
    )

    def show(console: Console) -> None:
        if options.markdown:
            print_line(console, measured.to_markdown())
        else:
            console.print(measured)

    return CommandOutput(measured.to_dict, show)
