"""What kreg has written to event files, as TensorBoard has read them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tensorboard import errors
from tensorboard.data.provider import DataProvider, RunTagFilter

MARKER = "kreg/model"
SCALARS = "scalars"


@dataclass(frozen=True)
class Logs:
    """The logs of one request: its context and its experiment.

    A tag is `group/name`, as in `kreg_sparsity/dense/kernel`. The groups of
    kreg are `kreg`, for the whole model, and those that begin with `kreg_`.
    """

    provider: DataProvider
    context: Any
    experiment: str

    def models(self) -> dict[str, list[dict[str, Any]]]:
        """The weights of each run that has a marker."""
        markers = self.provider.read_tensors(
            self.context,
            experiment_id=self.experiment,
            plugin_name="kreg",
            downsample=1,
            run_tag_filter=RunTagFilter(tags=[MARKER]),
        )
        return {
            run: _weights(tags[MARKER][-1].numpy)
            for run, tags in (markers or {}).items()
            if tags.get(MARKER)
        }

    def runs(self) -> list[dict[str, Any]]:
        """Every run of kreg: its weights, its tags, and how far it is."""
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
        """Steps and values of the tags that are named or in a named group.

        A tag that a run lacks is left out. `None` points are as many as a
        screen can show, fewer if there are many tags.
        """
        runs = list(runs)
        listed = self._scalars(runs)
        for run in runs:
            if run not in listed and run not in self.models():
                raise errors.NotFoundError(
                    "`run` must be a run with kreg's figures. "
                    f"Received: {run!r}"
                )
        wanted = set(tags)
        wanted_groups = set(groups)
        found = {
            tag
            for of_run in listed.values()
            for tag in of_run
            if tag in wanted or tag.partition("/")[0] in wanted_groups
        }
        if not found:
            return {run: {} for run in runs}
        read = self.provider.read_scalars(
            self.context,
            experiment_id=self.experiment,
            plugin_name=SCALARS,
            downsample=points or _points_for(len(found) * len(runs)),
            run_tag_filter=RunTagFilter(runs=runs, tags=list(found)),
        )
        return {
            run: {
                tag: {
                    "steps": [point.step for point in series],
                    "values": [point.value for point in series],
                }
                for tag, series in read.get(run, {}).items()
            }
            for run in runs
        }

    def _scalars(self, runs: list[str] | None = None) -> dict[str, Any]:
        listed = self.provider.list_scalars(
            self.context,
            experiment_id=self.experiment,
            plugin_name=SCALARS,
            run_tag_filter=RunTagFilter(runs=runs),
        )
        ours = {
            run: {tag: s for tag, s in tags.items() if is_ours(tag)}
            for run, tags in listed.items()
        }
        return {run: tags for run, tags in ours.items() if tags}


def is_ours(tag: str) -> bool:
    """Whether a tag, or a group of tags, is one of kreg's."""
    group = tag.partition("/")[0]
    return group == "kreg" or group.startswith("kreg_")


def _largest(values: Iterable[float | None]) -> float:
    return max((v for v in values if v is not None), default=0)


def _points_for(lines: int) -> int:
    return max(100, min(1000, 60_000 // lines))


def _weights(marker: Any) -> list[dict[str, Any]]:
    """The weights that a marker lists; what cannot be read is left out."""
    try:
        weights = json.loads(marker.item())["weights"]
        return [
            w
            for w in weights
            if isinstance(w, dict) and isinstance(w.get("path"), str)
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []
