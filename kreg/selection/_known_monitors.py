"""The metrics by which points of a path can be compared."""

from collections.abc import Iterable

ALWAYS_KNOWN = ("data_loss", "loss")


def refuse_unknown_monitor(monitor: str, known: Iterable[str]) -> None:
    """Raise if a metric is not among those of a model."""
    if monitor not in known:
        raise ValueError(
            "`monitor` must be a metric that the model is compiled with, "
            f"such as {', '.join(map(repr, sorted(known)))}. "
            f"Received: monitor={monitor!r}"
        )
