"""`EventFile`: writes event files for TensorBoard, and builds their entries."""

import io
import itertools
import json
import os
import socket
import struct
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def utf8(text: str) -> str:
    """`text` with characters that UTF-8 cannot encode escaped, as `\\ud800`."""
    return text.encode("utf-8", "backslashreplace").decode()


def scalar(tag: str, value: float) -> Any:
    """A point of a curve."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=value)


def text(tag: str, markdown: str) -> Any:
    """A page of Markdown."""
    from tensorboard.plugins.text import metadata

    return _value(
        tag,
        np.array([utf8(markdown).encode()], dtype=object),
        metadata.create_summary_metadata(display_name="", description=""),
    )


def histogram(tag: str, entries: NDArray[Any], buckets: int = 30) -> Any:
    """A histogram of the entries of a weight, without NaN and infinity.

    Without any finite entry all counts are zero, as in TensorBoard's own
    histograms.
    """
    from tensorboard.plugins.histogram import metadata

    finite = entries[np.isfinite(entries)].astype("float64")
    table = np.zeros((buckets, 3))
    if finite.size:
        lowest, highest = finite.min(), finite.max()
        if lowest == highest:
            lowest, highest = lowest - 0.5, highest + 0.5
        # Pass edges: given a number of bins, NumPy raises if rounding makes
        # edges equal, as around one large value.
        edges = np.linspace(lowest, highest, buckets + 1)
        counts, _ = np.histogram(finite, bins=edges)
        table = np.stack([edges[:-1], edges[1:], counts], axis=1)
    return _value(
        tag,
        table.astype("float32"),
        metadata.create_summary_metadata(display_name="", description=""),
    )


def image(tag: str, pixels: NDArray[np.uint8]) -> Any:
    """A grayscale image from pixels of shape `(height, width)`."""
    from PIL import Image
    from tensorboard.plugins.image import metadata

    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    height, width = pixels.shape
    sizes = [str(width).encode(), str(height).encode()]
    return _value(
        tag,
        np.array([*sizes, png.getvalue()], dtype=object),
        metadata.create_summary_metadata(display_name="", description=""),
    )


def layout(title: str, charts: Mapping[str, Sequence[str]]) -> Any:
    """A page of TensorBoard's Custom Scalars.

    Args:
        title: the title of the page.
        charts: for each chart, by its title, regular expressions for tags.
    """
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    page = layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title=title,
                chart=[
                    layout_pb2.Chart(
                        title=name,
                        multiline=layout_pb2.MultilineChartContent(tag=tags),
                    )
                    for name, tags in charts.items()
                ],
            )
        ]
    )
    return _value(
        metadata.CONFIG_SUMMARY_TAG,
        np.array(page.SerializeToString(), dtype=object),
        metadata.create_summary_metadata(),
    )


def trial_start(hparams: Mapping[str, Any], group: str) -> Any:
    """The start of a trial on TensorBoard's HParams page.

    Args:
        hparams: numbers, bools and strings by name.
        group: the name of the trial.
    """
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(
        group_name=group, start_time_secs=time.time()
    )
    for name, value in hparams.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = utf8(value)
        else:
            start.hparams[name].number_value = float(value)
    return _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=start)


def trial_end() -> Any:
    """The successful end of a trial."""
    from tensorboard.plugins.hparams import (
        api_pb2,
        metadata,
        plugin_data_pb2,
    )

    end = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time()
    )
    return _hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def marker(tag: str, content: Mapping[str, Any]) -> Any:
    """A JSON entry by which kreg's TensorBoard tab recognizes kreg's runs."""
    from tensorboard.compat.proto import summary_pb2

    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="kreg"),
        data_class=summary_pb2.DATA_CLASS_TENSOR,
    )
    data = utf8(json.dumps(content, ensure_ascii=False)).encode()
    return _value(tag, np.array(data, dtype=object), metadata)


def _hparams(tag: str, **info: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(**info)
    return Summary.Value(
        tag=tag,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )


def _value(tag: str, array: NDArray[Any], metadata: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.util.tensor_util import make_tensor_proto

    return Summary.Value(
        tag=tag, metadata=metadata, tensor=make_tensor_proto(array)
    )


_SUFFIX = ".kreg"
_file_numbers = itertools.count()


class EventFile:
    """An event file of one run; if writing fails, training goes on.

    TensorBoard's own record writer writes it, without TensorFlow. Events are on
    disk when `write` returns.

    Args:
        folder: the folder of a TensorBoard run; created if it is missing.

    Raises:
        OSError: if the file cannot be created.
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        event_pb2, record_writer = _tensorboard()
        self._new_event = event_pb2.Event
        self._new_writer = record_writer.RecordWriter
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._create()
        except OSError as error:
            raise OSError(
                error.errno,
                "`log_dir` must be a directory that can be written "
                f"({error.strerror}): pass another one. Received: log_dir "
                "with the folder",
                str(folder),
            ) from error
        self._works = True

    def write(self, step: int, values: Sequence[Any]) -> None:
        """Append one event. After a failure warn, and write no more events.

        Args:
            step: the optimizer iteration.
            values: `Summary.Value` protocol buffers.
        """
        if not self._works or not values:
            return
        event = self._new_event(step=step)
        event.summary.value.extend(values)
        try:
            self._leave_if_cut(step)
            self._append(event, "r+b")  # fails if the file was deleted
        except OSError as error:
            self._works = False
            warnings.warn(
                f"Logging stops at step {step}, because {self.path} cannot be "
                f"written: {error}. Training goes on.",
                stacklevel=2,
            )

    def _create(self) -> None:
        self.path = self._folder / (
            f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
            f".{os.getpid()}.{next(_file_numbers)}{_SUFFIX}"
        )
        self._append(self._new_event(file_version="brain.Event:2"), "xb")

    def _leave_if_cut(self, step: int) -> None:
        """Continue in a new file if another program has truncated this one.

        TensorBoard reads a file up to its first damaged event, and then goes on
        with the next file.
        """
        if self.path.stat().st_size < self._size:
            cut = self.path
            self._create()
            warnings.warn(
                f"{cut} was cut by another program, which loses events. "
                f"The log goes on from step {step} in {self.path.name}.",
                stacklevel=2,
            )

    def _append(self, event: Any, mode: str) -> None:
        event.wall_time = time.time()
        with self.path.open(mode) as file:
            file.seek(0, os.SEEK_END)
            self._new_writer(file).write(event.SerializeToString())
            self._size = file.tell()


def earlier_files(folder: Path) -> list[Path]:
    """The event files that kreg has written to a folder so far."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def damaged_at(path: Path) -> int | None:
    """Where an event file is damaged; None if it is intact.

    TensorBoard shows nothing of the file after that position.

    Args:
        path: the file.

    Returns:
        The number of bytes before the first damaged event.
    """
    from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

    crc = pywrap_tensorflow.masked_crc32c
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        while end < size:
            length, checksum = _HEADER.unpack(
                file.read(_HEADER.size).ljust(_HEADER.size, b"\0")
            )
            after = end + _HEADER.size + length + _CHECKSUM_SIZE
            if after > size or checksum != crc(length.to_bytes(8, "little")):
                return end
            end = file.seek(after)
    return None


# An event is stored as its length, the checksum of the length, its bytes, and
# their checksum.
_HEADER, _CHECKSUM_SIZE = struct.Struct("<QI"), 4


def _tensorboard() -> tuple[Any, Any]:
    try:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer import record_writer
    except ImportError as error:
        raise ImportError(
            "`RegularizationMonitor` writes logs for TensorBoard, which is "
            "not installed: run `pip install 'tensorboard>=2.21'`"
        ) from error
    return event_pb2, record_writer
