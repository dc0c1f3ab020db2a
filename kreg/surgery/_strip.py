"""`kreg.strip`: take everything of kreg off a model."""

from contextlib import ExitStack

import keras

from kreg._arguments import keras_model
from kreg._keras_private import flatten_layers
from kreg.binding.binding import renew_functions
from kreg.binding.bound_models import renew_models_of, unbind
from kreg.layers.weights import path_of
from kreg.surgery._changes import Changes
from kreg.surgery.owned_weights import owned_weights
from kreg.surgery.stripped_copy import (
    compile_config_of,
    config_of,
    places_of_kreg,
)
from kreg.surgery.stripping import models_in, strip_layers, strip_optimizers


def strip(model: keras.Model) -> Changes:
    """Take everything of kreg off a model, so that Keras alone can load it.

    It undoes `kreg.attach`, `kreg.bind` and `kreg.freeze_support`, and takes
    off kreg's objects that were given to constructors. The model is changed in
    place, and so are the models inside it:

    - kreg's regularizers are taken off weights and activities;
    - frozen supports are released: zeros may move again, and the weights have
      the constraints that they had before;
    - a `kreg.ProximalOptimizer` is replaced by its inner optimizer, which keeps
      its momenta and iterations, also inside a `LossScaleOptimizer`. This holds
      for the optimizer that a model is compiled with, and for those in
      attributes of models and layers, such as the two optimizers of a GAN, also
      in lists and dicts;
    - a schedule of kreg as a learning rate is replaced by the rate of the
      current step;
    - the model is no longer bound: `fit` logs no `penalty`.

    Weights, Keras's own regularizers and plain functions stay. Regularizers
    that `kreg.attach` once replaced do not come back. Train on without
    compiling again, or save: the file loads where kreg is not installed.

    Some objects are out of reach: a regularizer in a list, inside one of your
    own or in an attribute with another name than `..._regularizer`, and a
    `kreg.ProximalOptimizer` that a `MultiOptimizer` chooses. If a config shows
    such an object, it is an error. In a subclassed model without a config the
    object remains.

    Args:
        model: a `keras.Model`, compiled or not.

    Returns:
        A `kreg.surgery.Changes` with what was taken off, empty if there was
        nothing. Print it for a table.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if an object of kreg is out of reach; the message names its
            layer. Nothing is changed then.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(
    ...     2, kernel_regularizer=kreg.L1(1e-4), name="last")], name="net")
    >>> model.compile(kreg.ProximalOptimizer("adam"), "mse")
    >>> print(kreg.strip(model))
    place            attribute           before             after
    ─────────────────────────────────────────────────────────────
    net/last/kernel  kernel_regularizer  L1(l1=0.0001)      -
    net              optimizer           ProximalOptimizer  Adam
    >>> type(model.optimizer).__name__
    'Adam'
    >>> print(kreg.strip(model))
    nothing to change
    """
    keras_model(model)
    variables = [weight.variable for weight in owned_weights(model)]
    with ExitStack() as undo:
        changes = strip_layers(model, undo) + strip_optimizers(model, undo)
        _refuse_what_remains(flatten_layers(model))
        undo.pop_all()
    for part in models_in(model):
        if not unbind(part):
            renew_functions(part)
    renew_models_of(variables)
    return Changes(tuple(changes))


def _refuse_what_remains(layers: list[keras.layers.Layer]) -> None:
    for layer in reversed(layers):  # the innermost layers first
        configs = [config_of(layer)]
        if isinstance(layer, keras.Model):
            configs.append(compile_config_of(layer))
        for place in places_of_kreg(configs):
            raise ValueError(
                "`model` must have kreg's objects where `kreg.strip` can take "
                "them off: in attributes named `..._regularizer`, and in the "
                f"optimizer. Received: `{path_of(layer)}` (of type "
                f"{type(layer).__name__}), whose config has one at "
                f"`{place.partition('.')[2] or place}`. Take it off yourself"
            )
