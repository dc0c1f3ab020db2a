"""Running the graph of a model with the weights that are left.

The rebuilt model is not asked: a walk that removes too much must show, even
where `compact` would keep the layer after all.
"""

import inspect
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops, tree

from kreg.surgery._compact.kept_channels import kept_channels
from kreg.surgery._compact.new_values import new_values
from kreg.surgery._compact.walk import walk


class Analysis:
    """What of a model goes, and its outputs without it.

    `changed` holds the shapes before and after, by the path of each variable
    that gets smaller; `worst` the largest difference of an output from that of
    the whole model, of its scale.
    """

    def __init__(self, model, sample=None, *, drop_inputs=False, seed=0):
        self.walk = walk(model, drop_inputs, sample)
        self.kept = kept_channels(self.walk.network)
        values = new_values(model, self.walk, self.kept)
        self.values = values.of_variables
        self.changed = {
            v.path: (tuple(v.shape), self.values[id(v)].shape)
            for v in model.variables
            if id(v) in self.values
            and self.values[id(v)].shape != tuple(v.shape)
        }
        graph = self.walk.graph.graph
        twins = [self.walk.graph.twins.get(id(call)) for call in graph.calls]
        runs = [(graph.inputs, graph.calls, graph.outputs)]
        if None not in twins:
            runs.append(twin_of(graph, twins))
        self.worst = max(self._difference(*run, seed) for run in runs)

    def _difference(self, inputs, calls, outputs, seed):
        rng = np.random.default_rng(seed)
        given = [example(tensor, rng) for tensor in inputs]
        originals = self.walk.graph.graph.calls
        full = run(inputs, outputs, [(c, None) for c in calls], given, {})
        cut = given
        if not all(
            self.kept(signal.channels).all() for signal in self.walk.inputs
        ):
            cut = [
                np.compress(self.kept(s.channels), x, axis=s.axis)
                for s, x in zip(self.walk.inputs, given, strict=True)
            ]
        steps = [
            (call, self._sizes(original))
            for call, original in zip(calls, originals, strict=True)
        ]
        small = run(inputs, outputs, steps, cut, self._by_variable())
        return max(
            np.abs(a - b).max() / max(np.abs(a).max(), 1e-6)
            for a, b in zip(full, small, strict=True)
        )

    def _by_variable(self):
        values = dict(self.values)
        for key, effect in self.walk.layers.items():
            if effect.reduce is not None:
                values["reductions", key] = effect.reduce(self.kept)
        return values

    def _sizes(self, call):
        """The sizes that an operation was told and that change."""
        name = SIZES.get(type(call.operation).__name__)
        effect = self.walk.layers.get(id(call.operation))
        if name is None or effect is None:
            return None
        (signal,) = effect.outputs
        places = self.walk.network.places(signal.channels)
        counts = {
            axis: int(self.kept(along).sum())
            for axis, along in zip(signal.axes, places, strict=True)
            if len(along)
        }
        return name, counts


SIZES = {
    "Reshape": ("newshape", "target_shape"),
    "BroadcastTo": ("shape",),
}


def twin_of(graph, twins):
    """The inputs, calls and outputs of the graph at the other size."""
    other = {}
    for call, twin in zip(graph.calls, twins, strict=True):
        for a, b in zip(
            (*call.input_tensors, *call.output_tensors),
            (*twin.input_tensors, *twin.output_tensors),
            strict=True,
        ):
            other[id(a)] = b
    inputs = [other.get(id(t), t) for t in graph.inputs]
    return inputs, twins, [other.get(id(t), t) for t in graph.outputs]


def example(tensor, rng):
    if "int" in tensor.dtype:
        return rng.integers(0, 2, size=tensor.shape).astype(tensor.dtype)
    if tensor.dtype == "bool":
        return rng.random(size=tensor.shape) < 0.7
    return rng.normal(size=tensor.shape).astype(tensor.dtype)


def run(inputs, outputs, steps, given, values):
    """The outputs of calls with other values of their variables."""
    tensors = {
        id(t): ops.convert_to_tensor(x)
        for t, x in zip(inputs, given, strict=True)
    }
    scope = keras.StatelessScope()
    for call, _ in steps:
        for variable in variables_of(call.operation):
            if id(variable) in values:
                scope.state_mapping[id(variable)] = ops.convert_to_tensor(
                    values[id(variable)], dtype=variable.dtype
                )
    with scope:
        for call, sizes in steps:
            args, kwargs = call.arguments.fill_in(tensors)
            results = called(call, sizes, args, kwargs, values)
            for tensor, result in zip(
                call.output_tensors, tree.flatten(results), strict=True
            ):
                tensors[id(tensor)] = result
    return [ops.convert_to_numpy(tensors[id(t)]) for t in outputs]


def variables_of(operation):
    own = getattr(operation, "variable", None)
    return getattr(operation, "variables", [] if own is None else [own])


def called(call, sizes, args, kwargs, values):
    operation = call.operation
    if not isinstance(operation, keras.Layer):
        with told(operation, call, sizes):
            return operation.call(*args, **kwargs)
    parameters = inspect.signature(operation.call).parameters
    kwargs.pop("training", None)
    if "training" in parameters:
        kwargs["training"] = call.training
    reduction = values.get(("reductions", id(operation)))
    weights = {} if reduction is None else reduction.weights
    if reduction is not None and "key_dim" in reduction.config:
        # A layer with narrower keys divides the scores by less.
        before = operation._inverse_sqrt_key_dim
        width = reduction.config["key_dim"]
        operation._inverse_sqrt_key_dim = width**-0.5
        try:
            return operation.call(*args, **kwargs)
        finally:
            operation._inverse_sqrt_key_dim = before
    with told(operation, call, sizes):
        if "bias" in weights and getattr(operation, "bias", 0) is None:
            # The bias that takes up constants has no variable yet.
            activation, operation.activation = operation.activation, None
            sums = operation.call(*args, **kwargs)
            operation.activation = activation
            shifted = sums + ops.cast(weights["bias"], sums.dtype)
            return shifted if activation is None else activation(shifted)
        if operation.quantization_mode:
            return operation.quantized_call(*args, **kwargs)
        return operation.call(*args, **kwargs)


@contextmanager
def told(operation, call, sizes):
    """The scope in which an operation is told other sizes."""
    if sizes is None:
        yield
        return
    names, counts = sizes
    name = next(n for n in names if hasattr(operation, n))
    before = getattr(operation, name)
    wanted = list(call.output_tensors[0].shape)
    for axis, count in counts.items():
        wanted[axis] = count
    is_layer = isinstance(operation, keras.Layer)
    setattr(operation, name, tuple(wanted[1:] if is_layer else wanted))
    try:
        yield
    finally:
        setattr(operation, name, before)
