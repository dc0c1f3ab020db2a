"""kreg's figures in event files, read through TensorBoard's data provider."""

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
    """kreg's logs in the experiment of one request.

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
        """Steps and values of all given tags, and of all tags in given groups.

        A tag that a run lacks is left out. `points` is the largest number of
        points of a tag; None for as many as a screen can show, which are
        fewer if there are many tags.
        """
        runs = list(runs)
        tags_by_run = self._scalars(runs)
        for run in runs:
            if run not in tags_by_run and run not in self.models():
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
        read = self.provider.read_scalars(
            self.context,
            experiment_id=self.experiment,
            plugin_name=SCALARS,
            downsample=points
            or _default_points(len(matching_tags) * len(runs)),
            run_tag_filter=RunTagFilter(runs=runs, tags=list(matching_tags)),
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


def _largest(values: Iterable[float | None]) -> float:
    return max((v for v in values if v is not None), default=0)


def _default_points(curves: int) -> int:
    return max(100, min(1000, 60_000 // curves))


def _weights(marker: Any) -> list[dict[str, Any]]:
    """The weights that a marker lists, without any that cannot be read."""
    try:
        weights = json.loads(marker.item())["weights"]
        return [
            w
            for w in weights
            if isinstance(w, dict) and isinstance(w.get("path"), str)
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []
