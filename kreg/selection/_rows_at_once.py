"""How many rows a model is given at once where the number is free."""

import math

import keras

from kreg._keras_private import flatten_layers

_FEWEST, _MOST = 32, 4096
_NUMBERS = 2**24


def rows_at_once(model: keras.Model) -> int:
    """So many that all layers together put out 64 MB; from 32 to 4096.

    A model that does not tell what its layers put out gets 32.
    """
    if getattr(model, "outputs", None) is None:
        return _FEWEST
    numbers = 0
    for layer in flatten_layers(model):
        # A model puts out what its last layer does.
        if isinstance(layer, keras.Model):
            continue
        for output in keras.tree.flatten(getattr(layer, "output", ())):
            if None in output.shape[1:]:
                return _FEWEST
            numbers += math.prod(output.shape[1:])
    return min(_MOST, max(_FEWEST, _NUMBERS // max(1, numbers)))
