"""The units and inputs of a weight in the layer that owns it."""

import keras

from kreg._keras_private import flatten_layers, own_trainable_variables
from kreg.layers.table import axes_of
from kreg.regularizers.grouping import Layout


def layouts_of(model: keras.Model) -> dict[int, Layout]:
    """The layout of each weight of `model`, by the `id` of its variable."""
    layouts: dict[int, Layout] = {}
    for layer in flatten_layers(model):
        for variable in own_trainable_variables(layer):
            if id(variable) not in layouts:
                layouts[id(variable)] = layout_of(layer, variable)
    return layouts


def layout_of(layer: keras.layers.Layer, variable: keras.Variable) -> Layout:
    """The layout of a weight in the layer that owns it.

    Args:
        layer: the layer.
        variable: one of its own variables.

    Returns:
        A layout. Its units and inputs are None if the kind of the layer is not
        in the table, or if the weight has none.
    """
    owner = type(layer).__name__
    axes = axes_of(layer)
    if axes is None:
        return Layout(owner)
    units_and_inputs = axes(layer, variable.name, tuple(variable.shape))
    return Layout(owner, *(units_and_inputs or ()))
