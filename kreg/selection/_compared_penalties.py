"""The penalties of a comparison, by name."""

from collections.abc import Iterable, Mapping
from typing import Any

from kreg.regularizers import L1, L1L2, L2, GroupLasso
from kreg.selection._grid import checked_strengths
from kreg.selection._penalty_family import penalty_family

NO_PENALTY = "none"


def named_penalties(penalties: Any) -> dict[str, Any]:
    """The penalties by name; None for no penalty.

    Raises:
        TypeError: if they are no penalties.
        ValueError: if there are none, or two of one name.
    """
    if penalties is None:
        return {
            NO_PENALTY: None,
            "L1": L1,
            "L2": L2,
            "L1L2": L1L2,
            "GroupLasso": GroupLasso,
        }
    if isinstance(penalties, Mapping):
        named = list(penalties.items())
    elif isinstance(penalties, Iterable) and not isinstance(penalties, str):
        named = [(_name(penalty), penalty) for penalty in penalties]
    else:
        raise TypeError(
            "`penalties` must be a mapping from names to functions "
            "`strength -> penalty`, or an iterable of them. "
            f"Received: penalties={penalties!r}"
        )
    names = [name for name, _ in named]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`penalties` must hold one penalty at least, and each name once: "
            "give a mapping where functions have the same name. "
            f"Received: the names {names}"
        )
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(
            "`penalties` must have strings as names. "
            f"Received: the names {names}"
        )
    for _, penalty in named:
        if penalty is not None:
            penalty_family(penalty)
    return dict(named)


def strengths_by_name(
    strengths: Any, penalties: Mapping[str, Any]
) -> dict[str, list[float] | None]:
    """The strengths of each penalty; None for a grid that is to be found.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if there are none for a penalty, or for what is none.
    """
    if isinstance(strengths, Mapping):
        unknown = sorted(set(strengths) - set(penalties))
        if unknown:
            raise ValueError(
                "`strengths` must be for names of `penalties`. "
                f"Received: strengths for {unknown}, with the penalties "
                f"{list(penalties)}"
            )
        given = {n: strengths.get(n, "auto") for n in penalties}
    else:
        once = strengths if isinstance(strengths, str) else list(strengths)
        given = dict.fromkeys(penalties, once)
    return {
        name: [0.0] if penalty is None else checked_strengths(given[name])
        for name, penalty in penalties.items()
    }


def penalty_of(penalty: Any) -> Any:
    """What `kreg.path` takes; no penalty is one of strength 0."""
    return L1 if penalty is None else penalty


def penalty_text(penalty: Any) -> str:
    """What a penalty is, in words."""
    return "no penalty" if penalty is None else penalty_family(penalty).text


def _name(penalty: Any) -> str:
    if penalty is None:
        return NO_PENALTY
    function = penalty[0] if isinstance(penalty, tuple) else penalty
    return str(getattr(function, "__name__", type(function).__name__))
