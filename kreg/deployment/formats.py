"""The table of export formats, and writing a model in one of them."""

import difflib
import importlib.util
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kreg._arguments import one_of
from kreg.error_messages import one_line
from kreg.surgery.sample import Structure, input_tensors
from kreg.tensorflow_messages import without_messages


@dataclass(frozen=True)
class Format:
    """A format of artefacts.

    Args:
        suffix: the required ending of the path.
        writers: for each backend on which Keras can write the format, the
            modules required beside Keras and the backend.
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
_FILE_NAMES = (
    *(".tflite", ".onnx", ".keras", ".h5", ".hdf5", ".pb", ".pbtxt"),
    *(".pt", ".pth", ".pt2", ".ckpt", ".npz", ".json", ".zip"),
)
# The modules that the extra `kreg[export]` installs.
_EXTRA = {"ai_edge_litert", "onnxruntime", "tf2onnx"}


def require_format(name: str, path: Path) -> None:
    """Raise if a format cannot be written to `path`, or cannot be run here.

    Raises:
        ValueError: if there is no such format, if Keras cannot write it on this
            backend, or if the path has another suffix.
        ImportError: if a package is missing, with the command to install it.
    """
    one_of("format", name, FORMATS)
    chosen_format, backend = FORMATS[name], keras.backend.backend()
    if backend not in chosen_format.writers:
        possible = [n for n, f in FORMATS.items() if backend in f.writers]
        raise ValueError(
            f"`format` must be one of {possible} on the {backend} backend; "
            f"Keras cannot write others there. Received: format={name!r}"
        )
    if chosen_format.suffix and path.suffix != chosen_format.suffix:
        raise ValueError(
            f"`path` must end in {chosen_format.suffix!r} for format={name!r}. "
            f"Received: path={str(path)!r}"
        )
    if not chosen_format.suffix:
        _refuse_file_name(path)
    needed_modules = dict.fromkeys(
        (*chosen_format.writers[backend], chosen_format.runner)
    )
    missing = [m for m in needed_modules if m and not _installed(m)]
    if missing:
        raise ImportError(
            f"format={name!r} needs {' and '.join(missing)} on the {backend} "
            f"backend: run `{_command(missing)}`"
        )


def _refuse_file_name(path: Path) -> None:
    """Raise if the folder of a SavedModel is named like a file.

    Such a name is likely a mistake, such as a forgotten `format`.
    """
    ending = path.suffix.lower()
    near = [ending] if ending in _FILE_NAMES else []
    if ending[1:].isalpha():  # unlike the ending of `net-1.5`
        near = difflib.get_close_matches(ending, _FILE_NAMES, 1, 0.7)
    if near:
        files = [
            f"{n!r} for {f.suffix}" for n, f in FORMATS.items() if f.suffix
        ]
        raise ValueError(
            "`path` must be the path of a folder for "
            "format='tf_saved_model', without the ending of a file. For a file "
            f"choose another `format`: {', '.join(files)}. "
            f"Received: path={str(path)!r}"
        )


def can_write(name: str) -> bool:
    """Whether a format can be written here, even if it cannot be run here."""
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


def write(
    model: keras.Model,
    path: Path,
    kind: str,
    sample: Structure,
    batch_size: int | None,
    options: dict[str, Any],
) -> None:
    """Write a model that holds no object of kreg.

    Args:
        model: the model.
        path: the path to write to; must not exist.
        kind: a name in `FORMATS`.
        sample: inputs of the model, as arrays.
        batch_size: the fixed batch size of the artefact; None for any size.
        options: further arguments of `model.export` or `model.save`.

    Raises:
        ValueError: if Keras or its converter fails, with the cause in one
            line.
    """
    try:
        if kind == "keras":
            model.save(path, **options)
            return
        if batch_size is not None or input_tensors(model) is None:
            options = {
                "input_signature": _signature(model, sample, batch_size),
                **options,
            }
        with without_messages(), warnings.catch_warnings():
            # Converters warn about their own code. The artefact is checked by
            # running it.
            warnings.filterwarnings("ignore", module=r"(keras\.src|torch|onnx)")
            model.export(path, format=kind, verbose=False, **options)
    except Exception as error:
        raise ValueError(
            f"`model` cannot be written as {kind!r}: {cause_or_remedy(error)}"
        ) from error


def cause_or_remedy(error: BaseException) -> str:
    """The message of an error in one line, with a remedy if one is known."""
    text = str(error)
    unsupported = sorted(set(re.findall(r"\bFlex[A-Z]\w*", text)))
    if unsupported:
        return (
            "it has operations of TensorFlow that LiteRT lacks "
            f"({', '.join(unsupported)}). A recurrent layer needs a fixed "
            "batch, as in `batch_size=1`, or `unroll=True`; a layer that "
            "computes in half or double precision needs float32; for others "
            "choose another format"
        )
    unsupported = sorted(set(re.findall(r"No Op registered for (\w+)", text)))
    if unsupported:
        return (
            f"it has operations that ONNX lacks ({', '.join(unsupported)}); "
            "replace their layer or activation, or choose another format"
        )
    return one_line(error)


def _signature(
    model: keras.Model, sample: Structure, batch_size: int | None
) -> list[Any]:
    tensors = input_tensors(model)

    def of_tensor(tensor: keras.KerasTensor) -> keras.InputSpec:
        return keras.InputSpec(
            dtype=tensor.dtype,
            shape=(batch_size, *tensor.shape[1:]),
            name=tensor.name,
        )

    def of_array(array: Any) -> keras.InputSpec:
        return keras.InputSpec(
            dtype=array.dtype.name, shape=(batch_size, *array.shape[1:])
        )

    if tensors is None:
        return [keras.tree.map_structure(of_array, sample)]
    return [keras.tree.map_structure(of_tensor, tensors)]
