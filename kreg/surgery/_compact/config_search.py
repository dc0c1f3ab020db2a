"""Searching the integers of a config for given shapes of the weights."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Shapes = Sequence[tuple[int, ...]]
Path = tuple[Any, ...]
"""Where an integer is in a config: keys and indices, from the outside in."""

MOST_TRIES = 60
"""The most layers that a search makes."""

_SIZES = ("dim", "units", "filters", "hidden", "width", "heads", "channels")


def matching_config(
    config: Mapping[str, Any],
    shapes: Shapes,
    wanted: Shapes,
    shapes_of: Callable[[dict[str, Any]], Shapes],
) -> dict[str, Any] | None:
    """A config with other integers, which gives weights of the wanted shapes.

    An integer may be a size that changes, or have it as a factor or as a
    multiple: heads times their width, half of a gated layer. One integer is
    changed at a time, if every size that it changes is then as wanted. Where
    there is no such integer, two are changed together.

    Args:
        config: the config of a layer or a model.
        shapes: the shapes of its weights.
        wanted: the shapes to reach, as many.
        shapes_of: makes a layer from a config and returns the shapes of its
            weights. It may raise.

    Returns:
        The config; None if `MOST_TRIES` layers do not find it.
    """
    tries = 0
    seen: set[str] = set()

    def shapes_or_none(candidate: dict[str, Any]) -> Shapes | None:
        nonlocal tries
        if tries >= MOST_TRIES or repr(candidate) in seen:
            return None
        seen.add(repr(candidate))
        tries += 1
        try:
            return shapes_of(candidate)
        except Exception:  # a constructor may refuse whatever it likes
            return None

    found, current = copy.deepcopy(dict(config)), list(shapes)
    while current != list(wanted):
        options = _options(found, current, wanted)
        singles = ((option,) for option in options)
        for chosen in (*singles, *combinations(options, 2)):
            if len({path for path, _ in chosen}) < len(chosen):
                continue
            candidate = _changed(found, chosen)
            reached = shapes_or_none(candidate)
            if reached and _comes_nearer(current, reached, wanted):
                found, current = candidate, list(reached)
                break
        else:
            return None
    return found


def _comes_nearer(before: Shapes, after: Shapes, wanted: Shapes) -> bool:
    """Whether sizes differ from before, and all that do are as wanted."""
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
