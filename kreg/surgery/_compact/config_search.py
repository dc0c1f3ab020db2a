"""Search for integers of a config that give weights of wanted shapes."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

Shapes = Sequence[tuple[int, ...]]
Path = tuple[Any, ...]
"""Where an integer is in a config: keys and indices, from the outside in."""

MOST_TRIES = 24
"""The most layers that a search makes."""

_SIZES = ("dim", "units", "filters", "hidden", "width", "heads", "channels")


@dataclass(frozen=True)
class Match:
    """The result of a search.

    Args:
        config: the config that gives weights of the wanted shapes; None if
            none was found.
        least: for each size that no integer can bring to the wanted one, the
            least size to ask for, by the index of the weight and the axis. If
            one integer sets several sizes that should differ, it is the largest
            wanted one of these; otherwise it is the present size.
    """

    config: dict[str, Any] | None
    least: Mapping[tuple[int, int], int]


def matching_config(
    config: Mapping[str, Any],
    shapes: Shapes,
    wanted: Shapes,
    shapes_of: Callable[[dict[str, Any]], Shapes],
) -> Match:
    """A config with other integers, which gives weights of the wanted shapes.

    An integer may be a size that changes, or a multiple or a factor of it, such
    as heads times their width, or half of a gated layer. One integer is changed
    at a time, if every size that it changes is then as wanted. If there is no
    such integer, two are changed together. It makes at most `MOST_TRIES`
    layers.

    Args:
        config: the config of a layer or a model.
        shapes: the shapes of its weights.
        wanted: the shapes to reach, as many.
        shapes_of: makes a layer from a config and returns the shapes of its
            weights. It may raise.
    """
    search = _Search(shapes, wanted, shapes_of)
    found: dict[str, Any] | None = copy.deepcopy(dict(config))
    while found is not None and search.current != list(wanted):
        found = search.step(found)
        if found is None:
            search.note_rest()
    return Match(found, search.least if found is None else {})


class _Search:
    """The state of a search.

    Args:
        shapes: the shapes of the weights.
        wanted: the shapes to reach.
        shapes_of: makes a layer from a config and returns its shapes.
    """

    def __init__(
        self,
        shapes: Shapes,
        wanted: Shapes,
        shapes_of: Callable[[dict[str, Any]], Shapes],
    ) -> None:
        self.current, self._wanted = list(shapes), list(wanted)
        self._shapes_of = shapes_of
        self._left = MOST_TRIES
        self._seen: set[str] = set()
        self._useless: set[Path] = set()
        self.least: dict[tuple[int, int], int] = {}

    def step(self, config: dict[str, Any]) -> dict[str, Any] | None:
        """A config that comes nearer to the wanted shapes, if one is found."""
        options = _options(config, self.current, self._wanted)
        singles = [(option,) for option in options]
        for chosen in (*singles, *combinations(options, 2)):
            paths = {path for path, _ in chosen}
            if len(paths) < len(chosen) or paths & self._useless:
                continue
            candidate = _changed(config, chosen)
            reached = self._shapes_or_none(candidate)
            if reached is None:
                continue
            if _comes_nearer(self.current, reached, self._wanted):
                self.current = list(reached)
                return candidate
            if len(paths) == 1 and self._note_shared(reached):
                self._useless |= paths
        return None

    def _shapes_or_none(self, config: dict[str, Any]) -> Shapes | None:
        if not self._left or repr(config) in self._seen:
            return None
        self._seen.add(repr(config))
        self._left -= 1
        try:
            return self._shapes_of(config)
        except Exception:  # a constructor may raise anything
            return None

    def note_rest(self) -> None:
        """Note the sizes that are not as wanted at the end of the search."""
        for i, sizes in enumerate(zip(self.current, self._wanted, strict=True)):
            for axis, (now, want) in enumerate(zip(*sizes, strict=True)):
                if now != want:
                    self.least.setdefault((i, axis), now)

    def _note_shared(self, reached: Shapes) -> bool:
        """Note the sizes that have changed alike but should differ.

        Returns:
            Whether there are any.
        """
        alike: dict[tuple[int, int], dict[tuple[int, int], int]] = {}
        if list(map(len, reached)) != list(map(len, self.current)):
            return False
        for i, after in enumerate(reached):
            for axis, size in enumerate(after):
                before = self.current[i][axis]
                if size != before:
                    wants = alike.setdefault((before, size), {})
                    wants[i, axis] = self._wanted[i][axis]
        shared = False
        for wants in alike.values():
            if len(set(wants.values())) > 1:
                shared = True
                self.least.update(dict.fromkeys(wants, max(wants.values())))
        return shared


def _comes_nearer(before: Shapes, after: Shapes, wanted: Shapes) -> bool:
    """Whether some sizes have changed, and all of these are as wanted."""
    if len(after) != len(before) or list(after) == list(before):
        return False
    return all(
        len(a) == len(b)
        and all(y in (x, z) for x, y, z in zip(b, a, w, strict=True))
        for b, a, w in zip(before, after, wanted, strict=True)
    )


def _options(
    config: dict[str, Any], shapes: Shapes, wanted: Shapes
) -> list[tuple[Path, int]]:
    """Integers to change and their new values, the likeliest first."""
    changes = {
        (before, after)
        for a, b in zip(shapes, wanted, strict=True)
        for before, after in zip(a, b, strict=True)
        if before != after
    }
    options: dict[tuple[Path, int], tuple[bool, bool, int]] = {}
    for place, (path, value) in enumerate(_integers(config)):
        if value < 2:
            continue
        named = any(word in str(key) for key in path for word in _SIZES)
        for before, after in sorted(changes):
            if (before % value and value % before) or value * after % before:
                continue
            option = path, value * after // before
            rank = value != before, not named, place
            options[option] = min(rank, options.get(option, rank))
    return sorted(options, key=options.__getitem__)


def _integers(config: Any, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """The integers of a config, however deep, and where they are."""
    if isinstance(config, Mapping):
        items: Any = config.items()
    elif isinstance(config, (list, tuple)):
        items = enumerate(config)
    else:
        items = ()
    for key, value in items:
        if isinstance(value, int) and not isinstance(value, bool):
            yield (*path, key), value
        else:
            yield from _integers(value, (*path, key))


def _changed(
    config: Any, changes: Sequence[tuple[Path, int]]
) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    for path, value in changes:
        changed = _with(changed, path, value)
    return changed


def _with(config: Any, path: Path, value: int) -> Any:
    """The config with another integer; tuples are made anew."""
    if not path:
        return value
    key, *rest = path
    new = _with(config[key], tuple(rest), value)
    if isinstance(config, tuple):
        return (*config[:key], new, *config[key + 1 :])
    config[key] = new
    return config
