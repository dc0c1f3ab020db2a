"""`kreg inspect`."""

from argparse import Namespace
from typing import Any

from rich.console import Console

import kreg
from kreg.cli._answer import Answer, line
from kreg.cli._arguments import Commands, add_common, add_model
from kreg.cli._model_files import open_model
from kreg.cli._notices import busy


def add_inspect(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "inspect",
        help="tell strengths, norms, zeros and mistakes of a model",
        description=(
            "Print strength, penalty, norms, exact zeros and dead units of "
            "each weight, as `kreg.summary` does, and what `kreg.check` finds "
            "wrong with the regularization."
        ),
    )
    add_model(command)
    add_common(command)
    command.set_defaults(answer=inspect)


def inspect(options: Namespace) -> Answer:
    """Tell the regularization of a model, and what is wrong with it."""
    model = open_model(options.model, with_optimizer=True)
    with busy("reading the weights"):
        findings = kreg.check(model)

    def record() -> dict[str, Any]:
        return {
            "model": str(options.model),
            "name": model.name,
            "compiled": bool(model.compiled),
            "reading": kreg.statistics.read(model).to_dict(),
            "findings": [vars(finding) for finding in findings],
        }

    def show(console: Console) -> None:
        kreg.summary(model, console=console)
        if not model.compiled:
            line(
                console,
                "It is not compiled: what depends on an optimizer is not "
                "checked.",
            )
        if not findings:
            line(console, "The linter finds nothing.")
        for finding in findings:
            line(console, f"{finding.rule}: {finding}")

    return Answer(record, show)
