"""`RunLog`: writes the curves, texts and pictures of one training run."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg.callbacks._monitor.guard import Guard
from kreg.files import event_file
from kreg.files.event_file import EventFile
from kreg.results.table import Column, Table, escaped
from kreg.statistics import Reading, WeightReading
from kreg.statistics.figures import FIGURES, Figures, Place, logged_figures
from kreg.statistics.rows import Row, distinct_paths

CHARTS = {
    Figures.sparsity.title: ["kreg_sparsity/.*"],
    "Strength": ["kreg_strength/.*"],
    "Data loss and penalty": ["kreg/data_loss$", "kreg/penalty$"],
} | {
    figure.title: [f"kreg_{figure.name}/.*"]
    for figure in FIGURES
    if figure.has_chart
}
"""The charts of the Custom Scalars page: patterns of tags by title."""


def curves(reading: Reading, name: str) -> Iterator[tuple[str, float]]:
    """The tag and the value of every logged figure of a reading.

    Args:
        reading: the reading.
        name: the name of the model. Tags leave it out, so that a loaded model,
            or the next one that the same code creates, has the same tags.
    """
    for figure, value in model_figures(reading).items():
        yield f"kreg/{figure}", value
    if reading.data_loss is not None:
        yield "kreg/data_loss", reading.data_loss
    for layer in reading.layers:
        path = path_in_model(layer.path, name)
        for figure, value in _logged(layer, "layer", layer.weights):
            yield f"kreg_layer_{figure}/{path}", value
    for weight in reading.weights:
        path = path_in_model(weight.path, name)
        for figure, value in _logged(weight, "weight", [weight]):
            yield f"kreg_{figure}/{path}", value
        yield from _strengths(path, weight.strengths)
    for tie in reading.ties:
        path = path_in_model(tie.path, name)
        yield f"kreg_{Figures.penalty.name}/{path}", tie.penalty
        yield f"kreg_{Figures.sparsity.name}/{path}", tie.sparsity
        yield f"kreg_{Figures.dead_units.name}/{path}", tie.dead_units
        yield from _strengths(path, tie.strengths)


def _strengths(
    path: str, strengths: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    """The curves of the strengths of a weight or a tie."""
    tag = f"kreg_strength/{path}"
    for strength, value in strengths.items():
        yield (f"{tag}/{strength}" if len(strengths) > 1 else tag), value


def model_figures(reading: Reading) -> dict[str, float]:
    """The logged figures of the whole model, by name."""
    return {
        figure.name: value
        for figure in logged_figures("model")
        if (value := getattr(reading, figure.name)) is not None
    }


def path_in_model(path: str, name: str) -> str:
    """The path of a weight or layer without the name of its model.

    Characters that UTF-8 cannot encode are escaped, because event files hold
    UTF-8.
    """
    return event_file.utf8(path.removeprefix(f"{name}/"))


def _logged(
    reading: Figures, place: Place, weights: Sequence[WeightReading]
) -> Iterator[tuple[str, float]]:
    """The logged figures of a weight, or of the weights of a layer, by name."""
    for figure in logged_figures(place):
        value = getattr(reading, figure.name)
        trait = figure.logged_for
        if value is not None and (
            trait is None or any(getattr(weight, trait) for weight in weights)
        ):
            yield figure.name, value


MAX_PIXELS = 512


def picture(w: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A weight in shades of grey: black where it is zero, white at its largest.

    The last axis of the weight is the width of the picture, and the other axes
    together are its height. A side of more than 512 entries is cut into 512
    parts, each shown by its largest entry, so that a black part is all zero.

    Args:
        w: array with two or more axes and at least one entry.

    Returns:
        Array `(height, width)` of shades from 0 to 255.
    """
    size = np.nan_to_num(np.abs(w.astype("float64")), nan=0.0, posinf=0.0)
    size = size.reshape(math.prod(w.shape[:-1]), w.shape[-1])
    for axis in (0, 1):
        length = size.shape[axis]
        if length > MAX_PIXELS:
            starts = np.arange(MAX_PIXELS) * length // MAX_PIXELS
            size = np.maximum.reduceat(size, starts, axis=axis)
    largest = size.max(initial=0.0)
    shades = np.ceil(255.0 * size / largest) if largest else size
    return shades.astype(np.uint8)


def summary_text(
    name: str, reading: Reading, findings: Sequence[object]
) -> str:
    """A summary of the model as Markdown: every weight with its regularizer.

    Args:
        name: the name of the model.
        reading: a reading of the model.
        findings: the findings of `kreg.check`.
    """
    lines = [
        f"### {escaped(name)} at step {reading.step:,}",
        "",
        f"{reading.size:,} weights, {reading.sparsity:.1%} of them zero, "
        f"penalty {reading.penalty:.4g}.",
        "",
        *(f"- {escaped(str(finding))}" for finding in findings),
        "",
        _weights_table(reading).to_markdown(),
    ]
    return "\n".join(lines)


def _weights_table(reading: Reading) -> Table:
    rows = []
    for weight in reading.weights:
        strengths = ", ".join(
            f"{name} {value:.4g}" for name, value in weight.strengths.items()
        )
        frozen = "" if weight.trainable else " (frozen)"
        rows.append(
            (
                f"{weight.path}{frozen}",
                " by ".join(map(str, weight.shape)),
                weight.regularizer or "",
                strengths,
                f"{weight.penalty:.4g}"
                if weight.regularizer and weight.tie is None
                else "",
                f"{weight.sparsity:.1%}",
            )
        )
    for tie in reading.ties:
        strengths = ", ".join(
            f"{name} {value:.4g}" for name, value in tie.strengths.items()
        )
        rows.append(
            (
                tie.path,
                f"{len(tie.weights)} weights",
                tie.regularizer,
                strengths,
                f"{tie.penalty:.4g}",
                f"{tie.sparsity:.1%}",
            )
        )
    columns = (
        Column("weight", "name"),
        Column("shape", "text"),
        Column("regularizer", "text"),
        Column("strength", "text"),
        Column("penalty"),
        Column("sparsity"),
    )
    return Table(columns, rows)


class RunLog:
    """Writes readings of a model where TensorBoard looks for them.

    Args:
        log_dir: the directory of the run. Curves go to its folder `train`.
            None to write nothing, where another worker does so.
        name: the name of the model.
        hparams: the hyperparameters of the run, by name, or None.
        guard: turns failures into warnings.

    Raises:
        OSError: if `log_dir` cannot be written.
    """

    def __init__(
        self,
        log_dir: Path | None,
        name: str,
        hparams: Mapping[str, Any] | None,
        guard: Guard,
    ) -> None:
        self._name = name
        self._guard = guard
        self._file = self._trial = None
        if log_dir is None:
            return
        self._file = EventFile(log_dir / "train")
        if hparams is not None:
            self._trial = EventFile(log_dir)
            with guard("write `hparams`"):
                start = event_file.trial_start(hparams, log_dir.name)
                self._trial.write(0, [start])

    @property
    def paths(self) -> list[Path]:
        """The event files that this log writes."""
        return [file.path for file in (self._file, self._trial) if file]

    def introduce(self, reading: Reading, findings: Sequence[object]) -> None:
        """Write the model's weights, its summary and the layout of its charts.

        Args:
            reading: the first reading.
            findings: the findings of `kreg.check`.
        """
        weights = [
            {
                "path": path_in_model(weight.path, self._name),
                "layer": path_in_model(weight.layer, self._name),
                "shape": list(weight.shape),
                "size": weight.size,
                "regularizer": weight.regularizer,
            }
            for weight in reading.weights
        ]
        content = {"version": 1, "weights": weights}
        text = summary_text(self._name, reading, findings)
        self._write(
            reading.step,
            [
                event_file.marker("kreg/model", content),
                event_file.layout("kreg", CHARTS),
                event_file.text("kreg/summary", text),
            ],
        )

    def add(self, reading: Reading) -> None:
        """Add a point to every curve."""
        points = dict(curves(reading, self._name))
        self.add_points(reading.step, points)

    def add_points(self, step: int, points: Mapping[str, float]) -> None:
        """Add a point to the curves with these tags."""
        self._write(
            step, [event_file.scalar(*point) for point in points.items()]
        )

    def add_pictures(
        self, step: int, rows: Iterable[Row], *, histograms: bool, images: bool
    ) -> None:
        """Write histograms of weights, images of kernels, or both."""
        values = []
        rows = list(rows)
        paths = distinct_paths(row.variable for row in rows)
        for row, whole_path in zip(rows, paths, strict=True):
            path = path_in_model(whole_path, self._name)
            with self._guard("make the histogram or image", of=path):
                w = _as_float32(row.variable)
                if histograms:
                    tag = f"kreg_histogram/{path}"
                    values.append(event_file.histogram(tag, w.ravel()))
                if images and w.ndim > 1 and w.size:
                    tag = f"kreg_image/{path}"
                    values.append(event_file.image(tag, picture(w)))
        self._write(step, values)

    def end(self, step: int) -> None:
        """Mark the run as finished on the HParams page."""
        if self._trial is not None:
            self._trial.write(step, [event_file.trial_end()])

    def _write(self, step: int, values: Sequence[Any]) -> None:
        if self._file is not None:
            self._file.write(step, values)


def _as_float32(variable: keras.Variable) -> NDArray[np.float32]:
    """The entries of a weight; of a complex one, their absolute values."""
    value = ops.convert_to_tensor(variable)
    if "complex" in keras.backend.standardize_dtype(value.dtype):
        value = ops.abs(value)
    return np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))
