"""Reading event files back, with TensorBoard's own reader."""

from tensorboard.backend.event_processing.event_file_loader import (
    EventFileLoader,
)
from tensorboard.util.tensor_util import make_ndarray


def events(folder, pattern="*tfevents*"):
    """All values in the event files of a folder: `{tag: [(step, value)]}`.

    Scalars are floats, all other values are arrays.
    """
    by_tag = {}
    for path in sorted(folder.glob(pattern)):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                array = make_ndarray(value.tensor)
                if array.shape == () and array.dtype.kind == "f":
                    array = float(array)
                by_tag.setdefault(value.tag, []).append((event.step, array))
    return by_tag


def metadata(folder):
    """What kind of data each tag holds: `{tag: name of the plugin}`."""
    by_tag = {}
    for path in sorted(folder.glob("*tfevents*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                name = value.metadata.plugin_data.plugin_name
                by_tag.setdefault(value.tag, name)
    return by_tag
