"""kreg's figures in event files, read through TensorBoard's data provider."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tensorboard import errors
from tensorboard.data.provider import DataProvider, RunTagFilter

MARKER = "kreg/model"
SCALARS = "scalars"


@dataclass(frozen=True)
class Logs:
    """kreg's logs in the experiment of one request.

    A tag is `group/name`, as in `kreg_sparsity/dense/kernel`. The groups of
    kreg are `kreg`, for the whole model, and those that begin with `kreg_`.

    An event file may hold anything. Unreadable parts of a run are left out, and
    the other runs are shown.
    """

    provider: DataProvider
    context: Any
    experiment: str

    def marked_runs(self) -> list[str]:
        """The runs that have a marker, without reading it."""
        markers = self.provider.list_tensors(
            self.context,
            experiment_id=self.experiment,
            plugin_name="kreg",
            run_tag_filter=RunTagFilter(tags=[MARKER]),
        )
        return [run for run, tags in (markers or {}).items() if MARKER in tags]

    def models(self) -> dict[str, list[dict[str, Any]]]:
        """The weights of each run that has a marker."""
        runs = self.marked_runs()
        read = partial(
            self.provider.read_tensors,
            self.context,
            experiment_id=self.experiment,
            plugin_name="kreg",
            downsample=1,
        )
        markers = _read_in_parts(read, runs, [MARKER])
        return {
            run: _weights(markers[run][MARKER][-1].numpy)
            if markers.get(run, {}).get(MARKER)
            else []
            for run in runs
        }

    def runs(self) -> list[dict[str, Any]]:
        """Every run of kreg: its weights, its tags, its last step and time."""
        models = self.models()
        scalars = self._scalars()
        runs = []
        for run in sorted(models.keys() | scalars.keys()):
            tags = scalars.get(run, {})
            groups: dict[str, list[str]] = {}
            for tag in sorted(tags):
                group, _, name = tag.partition("/")
                groups.setdefault(group, []).append(name)
            runs.append(
                {
                    "run": run,
                    "weights": models.get(run, []),
                    "groups": groups,
                    "step": _largest(t.max_step for t in tags.values()),
                    "time": _largest(t.max_wall_time for t in tags.values()),
                }
            )
        return runs

    def series(
        self,
        runs: Iterable[str],
        groups: Iterable[str],
        tags: Iterable[str],
        points: int | None,
    ) -> dict[str, dict[str, dict[str, list[Any]]]]:
        """Steps and values of some tags, and of all tags in some groups.

        A tag that a run lacks is left out. `points` is the maximum number of
        points of a tag; None for as many as a screen can show, which are fewer
        if there are many tags.
        """
        runs = list(runs)
        tags_by_run = self._scalars(runs)
        for run in runs:
            if run not in tags_by_run and run not in self.marked_runs():
                raise errors.NotFoundError(
                    "`run` must be a run with kreg's figures. "
                    f"Received: {run!r}"
                )
        wanted = set(tags)
        wanted_groups = set(groups)
        matching_tags = {
            tag
            for run_tags in tags_by_run.values()
            for tag in run_tags
            if tag in wanted or tag.partition("/")[0] in wanted_groups
        }
        if not matching_tags:
            return {run: {} for run in runs}
        read = partial(
            self.provider.read_scalars,
            self.context,
            experiment_id=self.experiment,
            plugin_name=SCALARS,
            downsample=points
            or _default_points(len(matching_tags) * len(runs)),
        )
        found = _read_in_parts(read, runs, sorted(matching_tags))
        return {
            run: {
                tag: {
                    "steps": [point.step for point in series],
                    "values": [point.value for point in series],
                }
                for tag, series in found.get(run, {}).items()
                if all(isinstance(p.value, (int, float)) for p in series)
            }
            for run in runs
        }

    def _scalars(self, runs: list[str] | None = None) -> dict[str, Any]:
        tags_by_run = self.provider.list_scalars(
            self.context,
            experiment_id=self.experiment,
            plugin_name=SCALARS,
            run_tag_filter=RunTagFilter(runs=runs),
        )
        kreg_tags = {
            run: {tag: s for tag, s in tags.items() if is_kreg_tag(tag)}
            for run, tags in tags_by_run.items()
        }
        return {run: tags for run, tags in kreg_tags.items() if tags}


def is_kreg_tag(tag: str) -> bool:
    """Whether a tag, or a group of tags, belongs to kreg."""
    group = tag.partition("/")[0]
    return group == "kreg" or group.startswith("kreg_")


def _read_in_parts(
    read: Callable[..., Any], runs: Sequence[str], tags: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Read some tags of some runs, without those that cannot be read.

    TensorBoard reads all or nothing. So if it fails, each half is read on its
    own, down to single tags.

    Args:
        read: reads the tags that its `run_tag_filter` names.
        runs: the runs.
        tags: the tags.
    """
    if not runs or not tags:
        return {}
    try:
        named = RunTagFilter(runs=runs, tags=tags)
        return dict(read(run_tag_filter=named) or {})
    except errors.PublicError:  # an answer to this request, not a fault
        raise
    except Exception:  # an event file may hold anything
        if len(runs) == len(tags) == 1:
            return {}
    found: dict[str, dict[str, Any]] = {}
    for some_runs, some_tags in _halves(runs, tags):
        for run, values in _read_in_parts(read, some_runs, some_tags).items():
            found.setdefault(run, {}).update(values)
    return found


def _halves(
    runs: Sequence[str], tags: Sequence[str]
) -> list[tuple[Sequence[str], Sequence[str]]]:
    if len(runs) > 1:
        middle = len(runs) // 2
        return [(runs[:middle], tags), (runs[middle:], tags)]
    middle = len(tags) // 2
    return [(runs, tags[:middle]), (runs, tags[middle:])]


def _largest(values: Iterable[float | None]) -> float:
    known = (v for v in values if v is not None and math.isfinite(v))
    return max(known, default=0)


def _default_points(curves: int) -> int:
    return max(100, min(1000, 60_000 // curves))


MOST_BYTES = 2**24
"""The size up to which a marker is read: 100,000 weights."""


def _weights(marker: Any) -> list[dict[str, Any]]:
    """The weights that a marker lists, without any that cannot be read."""
    try:
        text = marker.item()
        if len(text) > MOST_BYTES:
            return []
        weights = [_weight(entry) for entry in json.loads(text)["weights"]]
    except (
        AttributeError,
        KeyError,
        RecursionError,  # JSON that is nested too deeply
        TypeError,
        ValueError,
    ):
        return []
    return [weight for weight in weights if "path" in weight]


def _weight(entry: Any) -> dict[str, Any]:
    """The valid fields of a weight in an entry of a marker."""
    if not isinstance(entry, dict):
        return {}
    return {
        name: entry[name]
        for name, is_right in _FIELDS.items()
        if name in entry and is_right(entry[name])
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    # JavaScript holds no larger integers.
    return type(value) is int and 0 <= value < 2**53


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "path": _is_text,
    "layer": _is_text,
    "shape": _is_shape,
    "size": _is_count,
    "regularizer": lambda value: value is None or _is_text(value),
}
