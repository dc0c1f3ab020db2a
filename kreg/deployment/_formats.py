"""Formats of artefacts, and what each needs on which backend."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras


@dataclass(frozen=True)
class Format:
    """A kind of artefact.

    Args:
        suffix: how its path must end.
        writers: for each backend on which Keras can write it, the modules that
            this takes beside Keras and the backend.
        runner: the module of its runtime; None if Keras runs it.
    """

    suffix: str
    writers: Mapping[str, tuple[str, ...]]
    runner: str | None = None


FORMATS = {
    "tf_saved_model": Format(
        "", {"tensorflow": (), "jax": ("tensorflow",)}, "tensorflow"
    ),
    "litert": Format(
        ".tflite",
        {"tensorflow": (), "torch": ("litert_torch",)},
        "ai_edge_litert",
    ),
    "onnx": Format(
        ".onnx",
        {
            "tensorflow": ("tf2onnx",),
            "jax": ("jax2onnx",),
            "torch": ("onnxscript",),
        },
        "onnxruntime",
    ),
    "keras": Format(".keras", {"tensorflow": (), "jax": (), "torch": ()}),
}
# What kreg's extra `export` holds.
_EXTRA = {"ai_edge_litert", "onnxruntime", "tf2onnx"}


def require_format(name: str, path: Path) -> None:
    """Raise if this format cannot be written to `path` and run here.

    Raises:
        ValueError: if there is no such format, it is not for this backend, or
            the path ends otherwise.
        ImportError: if a package is not installed; tells how to install it.
    """
    if name not in FORMATS:
        raise ValueError(
            f"`format` must be one of {list(FORMATS)}. "
            f"Received: format={name!r}"
        )
    known, backend = FORMATS[name], keras.backend.backend()
    if backend not in known.writers:
        possible = [n for n, f in FORMATS.items() if backend in f.writers]
        raise ValueError(
            f"`format` must be one of {possible} on the {backend} backend, "
            f"where Keras writes no other. Received: format={name!r}"
        )
    if known.suffix and path.suffix != known.suffix:
        raise ValueError(
            f"`path` must end in {known.suffix!r} for format={name!r}. "
            f"Received: path={str(path)!r}"
        )
    needed = dict.fromkeys((*known.writers[backend], known.runner))
    missing = [m for m in needed if m and not _installed(m)]
    if missing:
        raise ImportError(
            f"format={name!r} needs {' and '.join(missing)} on the {backend} "
            f"backend: run `{_command(missing)}`"
        )


def can_write(name: str) -> bool:
    """Whether this format can be written here, be it run here or not."""
    modules = FORMATS[name].writers.get(keras.backend.backend())
    return modules is not None and all(map(_installed, modules))


def _command(missing: list[str]) -> str:
    packages = [
        "'kreg[export]'" if m in _EXTRA else m.replace("_", "-")
        for m in missing
    ]
    return f"pip install {' '.join(dict.fromkeys(packages))}"


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
