"""Plots in files."""

import argparse
from pathlib import Path

import kreg.selection
from kreg.cli._errors import CommandError
from kreg.cli._output_files import refuse_unwritable, target
from kreg.deployment._staging import staged

_SUFFIXES = (".png", ".svg", ".pdf")


def plot_file(text: str) -> Path:
    """A path to write a picture at."""
    if not text.endswith(_SUFFIXES):
        raise argparse.ArgumentTypeError(
            f"must end in {', '.join(_SUFFIXES)}: {text!r}"
        )
    return Path(text)


def require_matplotlib() -> None:
    """Raise before any work is lost if there can be no plot.

    Raises:
        CommandError: if matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise CommandError(
            "--plot needs matplotlib, which is not installed: "
            "run `pip install 'kreg[plot]'`"
        ) from error


def save_plot(
    result: kreg.selection.CompareResult | kreg.selection.PathResult,
    path: Path,
    source: Path,
    *,
    force: bool,
) -> None:
    """Draw figures against the strength, and against the sparsity.

    Args:
        result: a comparison or a path.
        path, source, force: as for `target`.

    Raises:
        CommandError: as `target`, and if the disk does not take it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    kreg.selection.plot_validation(result, left)
    kreg.selection.plot_sparsity(result, right)
    real = target(path, source, force=force, folder=False)
    with (
        refuse_unwritable(path),
        staged(real, overwrite=force) as written,
    ):
        figure.savefig(written, dpi=150)
