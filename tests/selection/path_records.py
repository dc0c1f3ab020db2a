"""Paths made by hand."""

import kreg


def point(strength, selected=None, *, loss=1.0, sparsity=0.5, fraction=None):
    """A point with these figures, and others that do not matter."""
    return kreg.selection.PathPoint(
        strength=strength,
        fraction=fraction,
        sparsity=sparsity,
        nonzeros=10,
        dead_units=0,
        dead_inputs=0,
        selected_inputs=selected,
        train={"data_loss": loss / 2},
        validation={"data_loss": loss},
        epochs=1,
        steps=1,
        optimality=None,
        seconds=0.1,
        converged=True,
    )


def path(*points, weights=None, strength_max=None):
    """A path through these points."""
    return kreg.selection.PathResult(
        points, "L1", weights=weights, strength_max=strength_max
    )


def without_seconds(result):
    """A comparison as plain values, without those that differ by run."""
    found = result.to_dict()
    for row in found["rows"]:
        del row["seconds"]
    return found
