"""`Checkpoints`: saves finished points, so that a path can be resumed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kreg.files.atomic import write_whole
from kreg.results.files import Weights
from kreg.selection.training.models import Values, assign_values, values_of
from kreg.selection.training.point import PathPoint

_LONGEST_DIFFERENCE = 120


def claim_directory(
    directory: Path, work: str, identity: Mapping[str, Any]
) -> None:
    """Record in a folder which work it belongs to, or check the record.

    Args:
        directory: the folder, created if missing.
        work: a word for the work; `<work>.json` in the folder describes it.
        identity: the arguments that identify the work, ready for JSON.

    Raises:
        ValueError: if the folder belongs to other work.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{work}.json"
    text = json.dumps(identity, indent=1)
    if not file.exists():
        write_whole(file, lambda open_file: open_file.write(text.encode()))
        return
    there, here = json.loads(file.read_text()), json.loads(text)
    differing = [
        key + _difference_text(there.get(key), here.get(key))
        for key in sorted({*there, *here})
        if there.get(key) != here.get(key)
    ]
    if differing:
        raise ValueError(
            f"`directory` must be empty, or hold this same {work}: choose "
            f"another folder. Received: directory={str(directory)!r}, whose "
            f"{work} has other {', '.join(differing)}"
        )


def _difference_text(there: Any, here: Any) -> str:
    """Both values as text, if they are short enough to be useful."""
    text = f" ({there!r} there, {here!r} here)"
    return text if len(text) <= _LONGEST_DIFFERENCE else ""


Header = dict[str, Any]


class Checkpoints:
    """Finished points, and the state from which to resume the path.

    Args:
        directory: the folder, created if missing; None to save nothing.
        identity: the arguments of this path, ready for JSON.

    Raises:
        ValueError: if the folder belongs to another path.
    """

    def __init__(
        self, directory: str | Path | None, identity: Mapping[str, Any]
    ) -> None:
        self._directory = None if directory is None else Path(directory)
        if self._directory is None:
            return
        claim_directory(self._directory, "path", identity)

    def save_point(
        self, number: int, point: PathPoint, weights: Weights
    ) -> None:
        """Write a finished point and its weights."""
        self._write(f"point_{number:04d}.npz", point.to_dict(), weights)

    def load_point(self, number: int) -> tuple[PathPoint, Weights]:
        """Read a finished point and its weights."""
        header, weights = self._read(f"point_{number:04d}.npz")
        return PathPoint.from_dict(header), tuple(weights)

    def save_state(
        self, header: Header, model: keras.Model, before: Values
    ) -> None:
        """Write the state from which to resume the path.

        Args:
            header: the progress of the path, ready for JSON.
            model: the model, with its optimizer.
            before: the weights one point earlier.
        """
        if self._directory is not None:
            state = values_of(_state(model))
            self._write("state.npz", header, [*state, *before])

    def load_state(self, model: keras.Model) -> tuple[Header, Values] | None:
        """Restore the saved state of a model.

        Returns:
            The saved progress of the path, and the saved weights one point
            earlier; None if nothing was saved.
        """
        if self._directory is None or not self._path("state.npz").exists():
            return None
        header, arrays = self._read("state.npz")
        variables = _state(model)
        size = len(variables)
        assign_values(variables, arrays[:size])
        return header, arrays[size:]

    def _path(self, name: str) -> Path:
        return Path(self._directory or ".", name)

    def _write(
        self, name: str, header: Header, arrays: Sequence[NDArray[Any]]
    ) -> None:
        if self._directory is None:
            return
        named: dict[str, Any] = {str(i): a for i, a in enumerate(arrays)}
        text = np.array(json.dumps(header))
        write_whole(
            self._path(name),
            lambda file: np.savez(file, header=text, **named),
        )

    def _read(self, name: str) -> tuple[Header, list[NDArray[Any]]]:
        with np.load(self._path(name)) as file:
            arrays = [file[str(i)] for i in range(len(file.files) - 1)]
            return json.loads(str(file["header"])), arrays


def _state(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model and its optimizer, random seeds included."""
    return [*model.variables, *model.optimizer.variables]
