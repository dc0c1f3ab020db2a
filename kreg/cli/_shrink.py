"""`kreg strip` and `kreg compact`: remove kreg or dead units from a model."""

from argparse import Namespace
from typing import Any

from rich.console import Console

import kreg
from kreg.cli._arguments import (
    Commands,
    add_common,
    add_model,
    add_output,
    at_least_one,
    keras_file,
    named_path,
)
from kreg.cli._model_files import open_model
from kreg.cli._output import CommandOutput, checked_target, print_line, save
from kreg.cli._process import busy
from kreg.cli._training_files import read_sample


def add_strip(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "strip",
        help="remove kreg from a model",
        description=(
            "Write the same model without kreg's regularizers and optimizer, "
            "so that it loads where kreg is not installed, as `kreg.strip` "
            "does. The inner optimizer is kept, with its state."
        ),
    )
    add_model(command)
    add_output(command, keras_file, "the .keras file to write")
    add_common(command)
    command.set_defaults(make_output=strip)


def strip(options: Namespace) -> CommandOutput:
    """Remove kreg from a model."""
    source, output = options.model, options.output
    checked_target(output, source, force=options.force, folder=False)
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
        console.print(changes)
        print_line(console, f"{output}: {size:,} bytes, after {before:,}")

    return CommandOutput(record, show)


def add_compact(commands: Commands) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "compact",
        help="remove dead units: a smaller model with the same outputs",
        description=(
            "Write the model that `kreg.compact` returns: smaller, with the "
            "same outputs, without kreg, and not compiled."
        ),
    )
    add_model(command)
    add_output(command, keras_file, "the .keras file to write")
    command.add_argument(
        "--sample",
        type=named_path,
        metavar="FILE",
        help=(
            "a few inputs on which to compare the two models: an .npy file, or "
            "an .npz file with an array for each input, by its name; required "
            "for a subclassed model (default: random inputs)"
        ),
    )
    command.add_argument(
        "--round-to",
        type=at_least_one,
        default=1,
        metavar="N",
        help="keep a multiple of N units in each layer (default: %(default)s)",
    )
    command.add_argument(
        "--drop-inputs",
        action="store_true",
        help="also remove input features that no layer reads",
    )
    add_common(command)
    command.set_defaults(make_output=compact)


def compact(options: Namespace) -> CommandOutput:
    """Write a smaller model with the same outputs."""
    source, output = options.model, options.output
    checked_target(output, source, force=options.force, folder=False)
    before = source.stat().st_size if source.exists() else 0
    sample = read_sample(options.sample) if options.sample else None
    model = open_model(source)
    with busy("removing what is dead"):
        small, compaction = kreg.compact(
            model,
            sample=sample,
            round_to=options.round_to,
            drop_inputs=options.drop_inputs,
            return_compaction=True,
        )
    size = save(small, output, source, force=options.force)

    def record() -> dict[str, Any]:
        return {
            "model": str(source),
            "output": str(output),
            "bytes_before": before,
            "bytes_after": size,
            **compaction.to_dict(),
        }

    def show(console: Console) -> None:
        console.print(compaction)
        if options.drop_inputs:
            for name, kept in compaction.kept_inputs.items():
                features = " ".join(map(str, kept))
                print_line(
                    console, f"input {name} takes the features {features}"
                )
        print_line(console, f"{output}: {size:,} bytes, after {before:,}")

    return CommandOutput(record, show)
