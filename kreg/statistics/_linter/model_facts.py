"""`ModelFacts`: what the rules of `kreg.check` know of a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
from keras import ops

from kreg._keras_private import flatten_layers, own_variables
from kreg._types import Tensor
from kreg.binding.binding import (
    is_suspended,
    own_regularizer,
    weight_optimizers,
)
from kreg.binding.idle_penalties import Idleness, idle_weights
from kreg.foreign_objects import attribute_or_none, result_or_none
from kreg.layers.weights import attribute_of, owners_of
from kreg.regularizers import Penalty
from kreg.statistics._linter.code_expressions import (
    layer_expressions,
    public_name,
)
from kreg.statistics._linter.penalty_effects import (
    ScheduleCourse,
    makes_zeros,
    shrinks_in_proportion,
)
from kreg.statistics._linter.weight_optimizer import (
    WeightOptimizer,
    optimizer_of_weight,
)
from kreg.statistics.rows import distinct_paths, keras_strengths


@dataclass(frozen=True, eq=False)
class Fault:
    """A mistake that a rule has found in one weight.

    Args:
        path: the path of the weight.
        message: what is wrong, as a clause without the path, so that weights
            with the same mistake have equal messages.
        fix: what to do about it.
    """

    path: str
    message: str
    fix: str


@dataclass(frozen=True, eq=False)
class WeightFacts:
    """Facts about one weight.

    Args:
        variable: the weight.
        layer: the layer that made it.
        path: its path, made distinct within the model.
        regularizer: the object that the user set, or None.
        trained: whether `fit` would train it.
        suspended: whether `kreg.freeze_support` has switched its penalty off.
        optimizer: the optimizer that updates it; None if there is none or it is
            unknown.
        idleness: why its penalty has not acted in any training step so far;
            None if it has acted, or if that is unknown.
    """

    variable: keras.Variable
    layer: keras.layers.Layer
    path: str
    regularizer: Any
    trained: bool
    suspended: bool
    optimizer: WeightOptimizer | None
    idleness: Idleness | None

    @property
    def is_penalized(self) -> bool:
        """Whether its regularizer acts when the model is trained."""
        return (
            self.regularizer is not None and self.trained and not self.suspended
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.variable.shape)

    @cached_property
    def zeros(self) -> Tensor | None:
        """A mask of its entries that are exactly 0; None if unknown."""
        return result_or_none(lambda: ops.convert_to_numpy(self.variable) == 0)


class ModelFacts:
    """Facts about a model; each is computed once.

    Args:
        model: the model.
        steps: the planned number of updates, or None.
        data_loss: the loss without penalties, or None.
        in_fit: whether `fit` is running, so that callbacks may change
            multipliers.
    """

    def __init__(
        self,
        model: keras.Model,
        steps: int | None,
        data_loss: float | None,
        *,
        in_fit: bool = False,
    ) -> None:
        self.model = model
        self.data_loss = data_loss
        self.in_fit = in_fit
        self.course = ScheduleCourse(steps)
        self.layers = flatten_layers(model)
        self._optimizers = weight_optimizers(model)
        self.weights = tuple(self._weights())
        self._zeros: dict[tuple[int, tuple[int, ...]], bool] = {}
        self._ridges: dict[tuple[int, tuple[int, ...]], bool] = {}

    @cached_property
    def _codes(self) -> dict[int, str]:
        return layer_expressions(self.model)

    def layer_code(self, layer: keras.layers.Layer) -> str | None:
        """An expression for a layer; None if there is none."""
        return self._codes.get(id(layer))

    def code(self, weight: WeightFacts) -> str:
        """An expression for a weight."""
        variable = weight.variable
        layer = self.layer_code(weight.layer)
        name = public_name(weight.layer, variable, variable.name)
        if layer is None or name is None:
            return (
                f"next(w for w in model.weights if w.path == {variable.path!r})"
            )
        return f"{layer}.{name}"

    def penalty_code(self, weight: WeightFacts) -> str:
        """An expression for the regularizer that the user set on a weight."""
        layer, penalty = weight.layer, weight.regularizer
        code = self.layer_code(layer)
        guess = attribute_of(layer, weight.variable.name) or ""
        name = public_name(layer, penalty, guess)
        if code is not None and name is not None:
            return f"{code}.{name}"
        bound = penalty is not weight.variable.regularizer
        return f"{self.code(weight)}.regularizer{'.penalty' * bound}"

    def setting(self, weight: WeightFacts, value: str) -> str:
        """An assignment to the regularizer of a weight and of its layer."""
        targets = [f"{self.code(weight)}.regularizer"]
        layer = self.layer_code(weight.layer)
        name = attribute_of(weight.layer, weight.variable.name)
        if layer is not None and name is not None:
            targets.insert(0, f"{layer}.{name}")
        return " = ".join([*targets, value])

    def makes_zeros(self, weight: WeightFacts) -> bool:
        """Whether its penalty can make exact zeros."""
        penalty = weight.regularizer
        if not isinstance(penalty, Penalty):
            return keras_strengths(penalty).get("l1", 0.0) > 0.0
        key = (id(penalty), weight.shape)
        if key not in self._zeros:
            self._zeros[key] = makes_zeros(penalty, weight.shape, self.course)
        return self._zeros[key]

    def shrinks_in_proportion(self, weight: WeightFacts) -> bool:
        """Whether its penalty has an L2 part."""
        penalty = weight.regularizer
        if not isinstance(penalty, Penalty):
            return keras_strengths(penalty).get("l2", 0.0) > 0.0
        key = (id(penalty), weight.shape)
        if key not in self._ridges:
            self._ridges[key] = shrinks_in_proportion(
                penalty, weight.shape, self.course
            )
        return self._ridges[key]

    def _weights(self) -> Iterator[WeightFacts]:
        owners = owners_of(self.model, own_variables)
        paths = distinct_paths(variable for variable, _ in owners.values())
        trained = {
            id(v)
            for v in attribute_or_none(self.model, "trainable_weights") or ()
        }
        idle = idle_weights(self.model)
        for path, (variable, layer) in zip(paths, owners.values(), strict=True):
            yield WeightFacts(
                variable,
                layer,
                path,
                own_regularizer(variable),
                id(variable) in trained,
                is_suspended(variable),
                self._optimizer(variable),
                idle.get(id(variable)),
            )

    def _optimizer(self, variable: keras.Variable) -> WeightOptimizer | None:
        optimizer = self._optimizers.of(id(variable))
        if optimizer is None:
            return None
        return optimizer_of_weight(
            variable, optimizer, self._optimizer_code(optimizer)
        )

    def _optimizer_code(self, optimizer: keras.optimizers.Optimizer) -> str:
        """An expression for an optimizer, such as `model.d_optimizer`."""
        if optimizer is attribute_or_none(self.model, "optimizer"):
            return "model.optimizer"
        for layer in self.layers:
            name = public_name(layer, optimizer, "optimizer")
            code = self.layer_code(layer)
            if name is not None and code is not None:
                return f"{code}.{name}"
        return "optimizer"
