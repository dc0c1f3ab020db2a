"""`kreg export`: writes a model for another runtime, and checks it there."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.console import Console

import kreg.deployment
from kreg.cli._arguments import (
    Commands,
    above_zero,
    add_common,
    add_model,
    add_output,
    at_least_one,
    named_path,
)
from kreg.cli._model_files import open_model
from kreg.cli._output import (
    CommandOutput,
    checked_target,
    print_line,
    refuse_unwritable,
)
from kreg.cli._process import UsageError, busy
from kreg.deployment.formats import FORMATS, require_format


def add_export(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "export",
        help="write a model for another runtime, and check it there",
        description=(
            "Write a model that runs without kreg, run it on random inputs, "
            "and keep it if its outputs agree, as `kreg.export` does. "
            "LiteRT and ONNX need `pip install 'kreg[export]'`."
        ),
    )
    add_model(command)
    add_output(
        command, named_path, "the file to write, or folder of a SavedModel"
    )
    command.add_argument(
        "--format",
        choices=list(FORMATS),
        help=(
            "default: litert, onnx or keras if OUTPUT ends in .tflite, .onnx "
            "or .keras, or else tf_saved_model"
        ),
    )
    command.add_argument(
        "--compact", action="store_true", help="remove dead units first"
    )
    command.add_argument(
        "--batch-size",
        type=at_least_one,
        metavar="N",
        help="fix the batch size of the written model (default: any size)",
    )
    command.add_argument(
        "--tolerance",
        type=above_zero,
        metavar="FRACTION",
        help=(
            "accept outputs that differ by up to this fraction of the largest "
            "output (default: 1e-4, more for half precision)"
        ),
    )
    add_common(command)
    command.set_defaults(make_output=export)


def export(options: Namespace) -> CommandOutput:
    """Write a model that runs without kreg, and check its outputs."""
    source, output = options.model, options.output
    kind = options.format or _format_of(output)
    suffix = FORMATS[kind].suffix
    if suffix and output.suffix != suffix:
        raise UsageError(f"{output}: must end in {suffix} for {kind}")
    try:
        require_format(kind, output)
    except ValueError as error:
        raise UsageError(f"{output}: {error}") from error
    real = checked_target(
        output, source, force=options.force, folder=not suffix
    )
    model = open_model(source)
    with busy(f"writing {output}"), refuse_unwritable(output):
        written = kreg.deployment.export(
            model,
            real,
            kind,
            compact=options.compact,
            batch_size=options.batch_size,
            tolerance=options.tolerance,
            overwrite=options.force,
        )

    def record() -> dict[str, Any]:
        return {
            "model": str(source),
            "output": str(output),
            "format": written.format,
            "bytes": written.bytes,
            "largest_difference": written.largest_difference,
            "seconds": written.seconds,
        }

    def show(console: Console) -> None:
        print_line(
            console,
            f"{output}: {written.format}, {written.bytes:,} bytes, outputs "
            f"differ by {written.largest_difference:.2g} of the largest",
        )

    return CommandOutput(record, show)


def _format_of(output: Path) -> str:
    """The format with the suffix of the file; a SavedModel if there is none."""
    for kind, row in FORMATS.items():
        if row.suffix and output.suffix == row.suffix:
            return kind
    return "tf_saved_model"
