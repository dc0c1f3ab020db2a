"""How many bytes a model takes, in several forms."""

import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras

from kreg.deployment._export_record import bytes_at
from kreg.deployment._formats import can_write
from kreg.deployment._sample import Structure
from kreg.deployment._written import write


@dataclass(frozen=True)
class Sizes:
    """Bytes.

    Args:
        raw: of the weights as they are in memory.
        compressed: of the same, one after the other, through gzip at level 6.
        keras: of a `.keras` file without an optimizer, None if the model
            cannot be saved so.
        litert: of a `.tflite` file, None if there is none.
    """

    raw: int
    compressed: int
    keras: int | None
    litert: int | None


def sizes(
    model: keras.Model, shipped: keras.Model | None, sample: Structure
) -> Sizes:
    """Measure a model.

    Args:
        model: the model.
        shipped: the same, uncompiled and without kreg, which is written; None
            if there is none.
        sample: inputs of the model.
    """
    raw = b"".join(array.tobytes() for array in model.get_weights())
    return Sizes(
        raw=len(raw),
        compressed=len(gzip.compress(raw, 6)),
        keras=_written_bytes(shipped, sample, "keras", "net.keras"),
        litert=_written_bytes(shipped, sample, "litert", "net.tflite"),
    )


def _written_bytes(
    model: keras.Model | None, sample: Structure, kind: str, name: str
) -> int | None:
    if model is None or not can_write(kind):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        try:
            write(model, path, kind, sample, None, {})
        except ValueError:
            return None
        return bytes_at(path)
