"""`kreg strip`."""

from argparse import Namespace
from typing import Any

from rich.console import Console

import kreg
from kreg.cli._answer import Answer, line
from kreg.cli._arguments import (
    Commands,
    add_common,
    add_model,
    add_output,
    keras_file,
)
from kreg.cli._model_files import open_model
from kreg.cli._output_files import save, target


def add_strip(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "strip",
        help="take everything of kreg off a model",
        description=(
            "Write the same model without kreg's regularizers and optimizer, "
            "so that it loads where kreg is not installed, as `kreg.strip` "
            "does. The optimizer inside stays, with its state."
        ),
    )
    add_model(command)
    add_output(command, keras_file, "the .keras file to write")
    add_common(command)
    command.set_defaults(answer=strip)


def strip(options: Namespace) -> Answer:
    """Take everything of kreg off a model."""
    source, output = options.model, options.output
    target(output, source, force=options.force, folder=False)
    before = source.stat().st_size if source.exists() else 0
    model = open_model(source, with_optimizer=True)
    changes = kreg.strip(model)
    size = save(model, output, source, force=options.force)

    def record() -> dict[str, Any]:
        return {
            "model": str(source),
            "output": str(output),
            "bytes_before": before,
            "bytes_after": size,
            **changes.to_dict(),
        }

    def show(console: Console) -> None:
        line(console, str(changes))
        line(console, f"{output}: {size:,} bytes, after {before:,}")

    return Answer(record, show)
