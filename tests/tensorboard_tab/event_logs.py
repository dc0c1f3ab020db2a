"""Event files as kreg's monitor writes them, written with TensorBoard alone."""

import json
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_SCALAR,
    DATA_CLASS_TENSOR,
    Summary,
    SummaryMetadata,
)
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto


class EventLog:
    """One event file of a run, open until `close`."""

    def __init__(self, log_dir, run):
        folder = Path(log_dir) / run
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))
        name = f"events.out.tfevents.{1_700_000_000 + number}.test"
        self._file = (folder / name).open("wb")
        self._writer = RecordWriter(self._file)
        self._time = 1_700_000_000.0
        self._write(Event(file_version="brain.Event:2"))

    def mark(self, weights, version=1):
        """Write the marker that makes a run one of kreg's."""
        self.mark_text(json.dumps({"version": version, "weights": weights}))

    def mark_text(self, text):
        """Write a marker of any content, even what is no text."""
        self.mark_tensor(make_tensor_proto(text))

    def mark_tensor(self, tensor):
        metadata = SummaryMetadata(data_class=DATA_CLASS_TENSOR)
        metadata.plugin_data.plugin_name = "kreg"
        value = Summary.Value(
            tag="kreg/model", tensor=tensor, metadata=metadata
        )
        self._write(Event(step=0, summary=Summary(value=[value])))

    def scalars(self, step, values):
        """Write values by tag, as the reading of one step."""
        summary = Summary(
            value=[
                Summary.Value(tag=tag, simple_value=value)
                for tag, value in values.items()
            ]
        )
        self._write(Event(step=step, summary=summary))

    def scalar_tensor(self, tag, tensor):
        """Write a point of a curve that may be no number."""
        metadata = SummaryMetadata(data_class=DATA_CLASS_SCALAR)
        metadata.plugin_data.plugin_name = "scalars"
        value = Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
        self._write(Event(step=0, summary=Summary(value=[value])))

    def close(self):
        self._file.close()

    def _write(self, event):
        self._time += 1.0
        event.wall_time = self._time
        self._writer.write(event.SerializeToString())
        self._file.flush()


def weight(path, shape=(4, 3), regularizer="L1"):
    """A weight as a marker lists it."""
    size = 1
    for length in shape:
        size *= length
    return {
        "path": path,
        "layer": path.rpartition("/")[0],
        "shape": list(shape),
        "size": size,
        "regularizer": regularizer,
    }
