"""What an export wrote."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportRecord:
    """What `kreg.export` wrote, and how far it is from the model.

    Args:
        path: where the artefact is, a file or the folder of a SavedModel.
        format: its format, one that `kreg.export` takes.
        bytes: the size of the file, or of all files in the folder.
        largest_difference: the largest difference between an output of the
            artefact and the model's, as a fraction of the largest size of an
            entry in that output.
        seconds: what stripping, conversion and the check took.
    """

    path: Path
    format: str
    bytes: int
    largest_difference: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.format}, {self.bytes:,} bytes, differs by "
            f"{self.largest_difference:.1g}, written in {self.seconds:.1f} s"
        )


def bytes_at(path: Path) -> int:
    """The size of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
