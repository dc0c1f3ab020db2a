"""The curves that a reading adds a point to, by their names in TensorBoard.

TensorBoard makes one chart of a tag and one group of what comes before its
first slash. So a figure is a group, in which the weights follow one another.
"""

from collections.abc import Iterator

from kreg.statistics import LayerReading, Reading, WeightReading

CHARTS = {
    "Sparsity": ["kreg_sparsity/.*"],
    "Strength": ["kreg_strength/.*"],
    "Data loss and penalty": ["kreg/data_loss$", "kreg/penalty$"],
    "Penalty": ["kreg_penalty/.*"],
    "L2 norm": ["kreg_l2_norm/.*"],
    "L1 norm": ["kreg_l1_norm/.*"],
    "Largest entry": ["kreg_max_norm/.*"],
    "Dead units": ["kreg_dead_units/.*"],
    "Near zero": ["kreg_near_zero/.*"],
    "Update ratio": ["kreg_update_ratio/.*"],
    "Optimality": ["kreg_optimality/.*"],
}
"""The charts of the Custom Scalars page, equal for all models."""

_SUMS = (
    "sparsity",
    "near_zero",
    "l1_norm",
    "l2_norm",
    "max_norm",
    "penalty",
    "penalty_share",
    "update_ratio",
    "optimality",
)
_OF_WEIGHT = (*_SUMS, "rms", "dead_units", "dead_inputs", "gradient_norm")
_OF_PENALIZED = ("penalty", "penalty_share")


def curves(reading: Reading, name: str) -> Iterator[tuple[str, float]]:
    """Tags and values of all that a reading says.

    Args:
        reading: the reading.
        name: the name of its model, which the tags leave out: a model that was
            loaded, and the next one of the same code, have the same tags.
    """
    for figure in (*_SUMS, "data_loss", "dead_units"):
        value = getattr(reading, figure)
        if value is not None:
            yield f"kreg/{figure}", value
    for layer in reading.layers:
        yield from _of_layer(layer, within(layer.path, name))
    for weight in reading.weights:
        yield from _of_weight(weight, within(weight.path, name))


def within(path: str, name: str) -> str:
    """A path in a model without the name of the model."""
    return path.removeprefix(f"{name}/")


def _of_layer(layer: LayerReading, path: str) -> Iterator[tuple[str, float]]:
    regularized = any(weight.regularizer for weight in layer.weights)
    has_units = any(weight.units for weight in layer.weights)
    for figure in (*_SUMS, "rms"):
        value = getattr(layer, figure)
        if value is not None and (regularized or figure not in _OF_PENALIZED):
            yield f"kreg_layer_{figure}/{path}", value
    if has_units:
        yield f"kreg_layer_dead_units/{path}", layer.dead_units


def _of_weight(weight: WeightReading, path: str) -> Iterator[tuple[str, float]]:
    for figure in _OF_WEIGHT:
        value = getattr(weight, figure)
        regularized = weight.regularizer is not None
        if value is not None and (regularized or figure not in _OF_PENALIZED):
            yield f"kreg_{figure}/{path}", value
    several = len(weight.strengths) > 1
    for name, value in weight.strengths.items():
        tag = f"kreg_strength/{path}"
        yield (f"{tag}/{name}" if several else tag), value
