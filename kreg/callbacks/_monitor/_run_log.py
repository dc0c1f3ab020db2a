"""The log of one training run: what is written of a model."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras import ops

from kreg.callbacks._monitor import _summary_values as summary_values
from kreg.callbacks._monitor._event_file import EventFile
from kreg.callbacks._monitor._pictures import picture
from kreg.callbacks._monitor._summary_text import summary_text
from kreg.callbacks._monitor._tags import CHARTS, curves, within
from kreg.statistics import Reading
from kreg.statistics._rows import Row


class RunLog:
    """Writes readings of a model where TensorBoard looks for them.

    Args:
        log_dir: the directory of the run. Curves go to its folder `train`.
        name: the name of the model.
        hparams: what tells the run from others, or None.

    Raises:
        OSError: if `log_dir` cannot be written.
    """

    def __init__(
        self, log_dir: Path, name: str, hparams: Mapping[str, Any] | None
    ) -> None:
        self._name = name
        self._file = EventFile(log_dir / "train")
        self._trial = None if hparams is None else EventFile(log_dir)
        if self._trial is not None:
            start = summary_values.trial_start(hparams or {}, log_dir.name)
            self._trial.write(0, [start])

    def introduce(self, reading: Reading, findings: Sequence[object]) -> None:
        """Write what the model is, and how its pages are laid out.

        Args:
            reading: the first reading.
            findings: what is wrong with it, a line each.
        """
        weights = [
            {
                "path": within(weight.path, self._name),
                "layer": within(weight.layer, self._name),
                "shape": list(weight.shape),
                "size": weight.size,
                "regularizer": weight.regularizer,
            }
            for weight in reading.weights
        ]
        content = {"version": 1, "weights": weights}
        text = summary_text(self._name, reading, findings)
        self._file.write(
            reading.step,
            [
                summary_values.marker("kreg/model", content),
                summary_values.layout("kreg", CHARTS),
                summary_values.text("kreg/summary", text),
            ],
        )

    def add(self, reading: Reading) -> None:
        """Add a point to every curve."""
        points = dict(curves(reading, self._name))
        self.add_points(reading.step, points)

    def add_points(self, step: int, points: Mapping[str, float]) -> None:
        """Add a point to the curves with these tags."""
        self._file.write(
            step, [summary_values.scalar(*point) for point in points.items()]
        )

    def add_pictures(
        self, step: int, rows: Iterable[Row], *, histograms: bool, images: bool
    ) -> None:
        """Write histograms of weights, images of kernels, or both."""
        values = []
        for row in rows:
            w = ops.convert_to_numpy(ops.cast(row.variable, "float32"))
            path = within(row.variable.path, self._name)
            if histograms:
                tag = f"kreg_histogram/{path}"
                values.append(summary_values.histogram(tag, w.ravel()))
            if images and w.ndim > 1:
                tag = f"kreg_image/{path}"
                values.append(summary_values.image(tag, picture(w)))
        self._file.write(step, values)

    def end(self, step: int) -> None:
        """Say that the run came to its end."""
        if self._trial is not None:
            self._trial.write(step, [summary_values.trial_end()])
