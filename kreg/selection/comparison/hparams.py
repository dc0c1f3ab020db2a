"""A comparison on TensorBoard's HParams page."""

from pathlib import Path

from kreg.files import event_file
from kreg.files.event_file import EventFile
from kreg.selection.comparison.result import CompareResult


def write_hparams(result: "CompareResult", log_dir: Path) -> None:
    """Write a trial for each penalty and strength.

    The hyperparameters are `penalty` and `strength`; the metrics
    `kreg_compare/validation`, `kreg_compare/standard_error`,
    `kreg_compare/train` and `kreg_compare/sparsity`, means over folds, with 0
    as step.

    Args:
        result: the comparison.
        log_dir: the directory of the trials, each of which has a folder.

    Raises:
        OSError: if it cannot be written.
        ImportError: if TensorBoard is not installed.
    """
    for row in result.rows:
        trial = f"{_folder(row.penalty)}-{row.strength:.6g}"
        figures = {
            "validation": row.mean,
            "standard_error": row.standard_error,
            "train": row.train_mean,
            "sparsity": row.sparsity,
        }
        hparams = {"penalty": row.penalty, "strength": row.strength}
        EventFile(log_dir / trial).write(
            0,
            [
                event_file.trial_start(hparams, trial),
                *(
                    event_file.scalar(f"kreg_compare/{name}", value)
                    for name, value in figures.items()
                ),
                event_file.trial_end(),
            ],
        )


def _folder(name: str) -> str:
    """A name that can be a folder's."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
