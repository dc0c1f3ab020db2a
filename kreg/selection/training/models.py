"""Calls a user's `build_model` and checks the models it returns."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet, WeakValueDictionary

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kreg._keras_private import flatten_layers, replace_optimizer
from kreg.binding.binding import penalty_applier
from kreg.optimizers import ProximalOptimizer

Values = list[NDArray[Any]]


def values_of(variables: Sequence[keras.Variable]) -> Values:
    """Copies of the values of variables."""
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def assign_values(variables: Sequence[keras.Variable], values: Values) -> None:
    """Assign to each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


# Earlier models that still exist, their optimizers and their trainable weights.
# Weights are stored by `id`, because variables cannot be compared.
_models: WeakSet[keras.Model] = WeakSet()
_optimizers: WeakSet[keras.optimizers.Optimizer] = WeakSet()
_weights: WeakValueDictionary[int, Any] = WeakValueDictionary()


def new_model(build_model: Callable[[], keras.Model], seed: int) -> keras.Model:
    """A new model, built and compiled.

    Args:
        build_model: a function without arguments.
        seed: int, Keras's random seed while the model is built.

    Raises:
        TypeError: if `build_model` is not a function, or does not return a
            model.
        ValueError: if it returns one model twice, or one that is not built or
            not compiled, or one with the optimizer or trainable weights of an
            earlier model.
    """
    if not callable(build_model) or isinstance(build_model, keras.Model):
        raise TypeError(
            "`build_model` must be a function without arguments that returns a "
            f"new model. Received: build_model={build_model!r}"
        )
    keras.utils.set_random_seed(seed)
    model = build_model()
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`build_model` must return a `keras.Model`. "
            f"Received: build_model() of type {type(model).__name__}"
        )
    if model in _models:
        raise ValueError(
            "`build_model` must return a new model at each call: create it "
            f"inside the function. Received: the model {model.name!r} twice"
        )
    if not model.built:
        raise ValueError(
            "`build_model` must return a model that is built: give it a "
            f"`keras.Input`. Received: build_model()={model!r}, not built"
        )
    if not model.compiled:
        raise ValueError(
            "`build_model` must return a compiled model, because its loss is "
            f"needed. Received: build_model()={model!r}, not compiled"
        )
    _refuse_shared_parts(model)
    return model


def _refuse_shared_parts(model: keras.Model) -> None:
    """Raise if training a model would also train an earlier one."""
    optimizer = model.optimizer
    parts = {optimizer, getattr(optimizer, "inner_optimizer", optimizer)}
    if not parts.isdisjoint(_optimizers):
        raise ValueError(
            "`build_model` must create a new optimizer at each call, inside "
            "the function. Received: a model with the optimizer "
            f"{optimizer.name!r} of an earlier one"
        )
    for weight in model.trainable_variables:
        if id(weight) in _weights:
            raise ValueError(
                "`build_model` must return a model with its own weights at "
                "each call: create or clone its layers inside the function, or "
                "freeze shared layers. Received: a model with the "
                f"trainable weight {weight.path!r} of an earlier one"
            )
    _models.add(model)
    _optimizers.update(parts)
    _weights.update({id(v): v for v in model.trainable_variables})


def architecture(model: keras.Model) -> str:
    """Layers, weights, loss and optimizer of a model as text, without names."""
    config = model.optimizer.get_config()
    return json.dumps(
        {
            "layers": [type(layer).__name__ for layer in flatten_layers(model)],
            "weights": [(list(w.shape), w.dtype) for w in model.weights],
            "loss": str(model.get_compile_config()["loss"]),
            "optimizer": {k: v for k, v in config.items() if k != "name"},
        },
        sort_keys=True,
        default=str,
    )


def refuse_other_architecture(expected: str, model: keras.Model) -> None:
    """Raise if a model does not have the expected architecture.

    Args:
        expected: the `architecture` of an earlier model.
        model: the model.
    """
    received = architecture(model)
    if received != expected:
        raise ValueError(
            "`build_model` must return models of one architecture. "
            f"Received: {expected} and then {received}"
        )


def make_proximal(model: keras.Model) -> None:
    """Wrap the optimizer of a compiled model, if it takes no proximal steps."""
    optimizer = model.optimizer
    if penalty_applier(optimizer) is not None:
        return
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        config = optimizer.get_config()
        config["inner_optimizer"] = keras.saving.serialize_keras_object(
            ProximalOptimizer(optimizer.inner_optimizer)
        )
        wrapped = keras.optimizers.LossScaleOptimizer.from_config(config)
    else:
        wrapped = ProximalOptimizer(optimizer)
    replace_optimizer(model, wrapped)
    model.train_function = None


@dataclass(frozen=True)
class OneArchitecture:
    """Calls `build_model`, and raises if the architecture changes.

    Args:
        build_model: builds the models.
        architecture: the `architecture` of the first model.
    """

    build_model: Callable[[], keras.Model]
    architecture: str

    def __call__(self) -> keras.Model:
        """A new model.

        Raises:
            ValueError: if it has another architecture.
        """
        model = self.build_model()
        if model.built and model.compiled:
            refuse_other_architecture(self.architecture, model)
        return model
