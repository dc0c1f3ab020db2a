"""Writes trials for TensorBoard's HParams page."""

from collections.abc import Mapping
from pathlib import Path

from kreg.files import event_file
from kreg.files.event_file import EventFile


def write_trial(
    log_dir: Path, penalty: str, strength: float, figures: Mapping[str, float]
) -> None:
    """Write the trial of a penalty at a strength.

    Args:
        log_dir: the directory of the trials; each trial gets a folder in it.
        penalty: the name of the penalty, a hyperparameter of the trial.
        strength: the strength, the other hyperparameter.
        figures: the metrics, logged as `kreg_compare/<name>` at step 0.

    Raises:
        OSError: if the trial cannot be written.
        ImportError: if TensorBoard is not installed.
    """
    trial = f"{_folder_name(penalty)}-{strength:.6g}"
    hparams = {"penalty": penalty, "strength": strength}
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


def _folder_name(name: str) -> str:
    """The name with `_` for characters that folder names may not contain."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
