"""Making layers and models smaller by their own config, with other integers."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

import keras

from kreg._keras_private import flatten_layers, without_values
from kreg.surgery._compact.config_search import (
    Match,
    Shapes,
    matching_config,
)
from kreg.surgery._compact.copies import freeze_alike
from kreg.surgery._compact.new_values import NewValues
from kreg.surgery.stripped_copy import config_without_kreg, weight_specs

_FORGETS = "its config does not tell all that its code does"


class SmallerConfigs:
    """Searches for configs that give layers their smaller weights.

    Args:
        values: what changes in the weights of the model.
        tells_all: whether the config of a custom layer tells all that its code
            does.

    Attributes:
        reasons: why layers cannot be made by their configs, by their `id`.
        least_sizes: the least sizes to ask for where no config of the model
            gives fewer, by the `id` of the variable and by the axis.
    """

    def __init__(
        self,
        values: NewValues,
        tells_all: Callable[[keras.layers.Layer], bool],
    ) -> None:
        self._values, self._tells_all = values, tells_all
        self.reasons: dict[int, str] = {}
        self.least_sizes: dict[tuple[int, int], int] = {}

    def smaller(
        self,
        layer: keras.layers.Layer,
        make: Callable[[dict[str, Any]], keras.layers.Layer],
        *,
        sized_by_inputs: bool,
    ) -> Any | None:
        """A layer with smaller weights, whose values are not set yet.

        Args:
            layer: a layer or a model.
            make: makes a layer of the same class from a config, with weights.
            sized_by_inputs: whether smaller inputs may make the weights
                smaller, so that the config need not change.

        Returns:
            The smaller layer, or None if no config is found for it.
        """
        try:
            config = config_without_kreg(layer)
        except Exception:  # whatever a custom `get_config` raises
            return None
        config = _with_epsilons(config, self._epsilons(layer))
        wanted = [self._values.shape(v) for v in layer.weights]

        def shapes_of(candidate: dict[str, Any]) -> Shapes:
            # A copy, because a `from_config` may change the config.
            with suppress(Exception), without_values():
                return _shapes(make(deepcopy(candidate)))
            return _shapes(make(deepcopy(candidate)))

        if sized_by_inputs and _gives(wanted, config, shapes_of):
            match = Match(config, {})
        else:
            match = matching_config(
                config,
                _shapes(layer),
                wanted,
                shapes_of,
            )
        if not sized_by_inputs:
            self.least_sizes = {
                (id(layer.weights[place]), axis): size
                for (place, axis), size in match.least.items()
            }
        if match.config is None:
            return None
        if not self._tells_all(layer):
            self.reasons[id(layer)] = _FORGETS
            return None
        copy = make(match.config)
        if not self._has_numbers(layer, copy):
            self.reasons[id(layer)] = (
                "no config gives a normalization inside it the `epsilon` that "
                "it needs with fewer channels"
            )
            return None
        return copy

    def _has_numbers(
        self, layer: keras.layers.Layer, copy: keras.layers.Layer
    ) -> bool:
        """Whether a copy has the floats that it needs with its new sizes.

        A normalization over fewer channels needs another `epsilon`.
        """
        pairs = zip(flatten_layers(layer), flatten_layers(copy), strict=False)
        return all(
            self._numbers(part).items() <= new.get_config().items()
            for part, new in pairs
            if type(part).__module__.startswith("keras.")
        )

    def _epsilons(self, layer: keras.layers.Layer) -> dict[float, float]:
        """The new `epsilon`s of layers inside a layer, by the old ones."""
        epsilons = {}
        for part in flatten_layers(layer):
            reduction = self._values.reductions.get(id(part))
            if reduction is not None and "epsilon" in reduction.config:
                epsilons[part.epsilon] = reduction.config["epsilon"]
        return epsilons

    def _numbers(self, layer: keras.layers.Layer) -> dict[str, float]:
        """The floats in the config that the copy of a layer needs."""
        reduction = self._values.reductions.get(id(layer))
        config = layer.get_config()
        if reduction is not None:
            config.update(reduction.config)
        return {k: v for k, v in config.items() if isinstance(v, float)}

    def set_values(
        self, layer: keras.layers.Layer, copy: keras.layers.Layer
    ) -> None:
        """Set the weights of a smaller layer to the values that stay."""
        for variable, new in zip(layer.weights, copy.weights, strict=True):
            new.assign(self._values.value(variable))
        freeze_alike(layer, copy)


def _shapes(layer: keras.layers.Layer) -> Shapes:
    return [shape for shape, _ in weight_specs(layer)]


def _gives(
    wanted: Shapes,
    config: dict[str, Any],
    shapes_of: Callable[[dict[str, Any]], Shapes],
) -> bool:
    """Whether a layer with a config has weights of the wanted shapes."""
    try:
        return list(shapes_of(config)) == list(wanted)
    except Exception:  # whatever a custom constructor raises
        return False


def _with_epsilons(config: Any, epsilons: Mapping[float, float]) -> Any:
    """A config with new values of the floats named `epsilon` or the like."""
    if not isinstance(config, dict):
        return config
    return {
        key: epsilons.get(value, value)
        if "eps" in key and isinstance(value, float)
        else _with_epsilons(value, epsilons)
        for key, value in config.items()
    }
