"""Random graphs with random dead parts: the same outputs, to the last digits.

And chains of layers, whose live units NumPy counts on plain matrices: exactly
those stay.
"""

import os

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from keras import layers
from surgery.random_weights import every_layer, outputs, some_inputs

import kreg

# Only on TensorFlow does Keras compute in float64 throughout.
DOUBLE = keras.backend.backend() == "tensorflow"
DTYPE, TOLERANCE = ("float64", 1e-10) if DOUBLE else ("float32", 1e-4)
ACTIVATIONS = ["linear", "relu", "sigmoid", "tanh", "elu"]
JOINS = {
    "add": layers.Add,
    "subtract": layers.Subtract,
    "multiply": layers.Multiply,
    "average": layers.Average,
    "maximum": layers.Maximum,
    "minimum": layers.Minimum,
}
CONVOLUTIONS = (
    layers.Conv2D,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.SeparableConv2D,
)
TOLD = (
    *("units", "filters", "kernel_size", "strides", "padding", "axis"),
    *("activation", "use_bias", "pool_size", "target_shape", "dims"),
)
POOLS = (layers.MaxPooling2D, layers.AveragePooling2D)
widths = st.integers(1, 4)
activations = st.sampled_from(ACTIVATIONS)
paddings = st.sampled_from(["valid", "same"])
chances = st.sampled_from([0.0, 0.2, 0.5, 0.8])


def examples(number):
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def many_examples(test):
    """100 examples, or `KREG_GRAPHS`; others with another `KREG_SEED`."""
    number, start = (
        int(os.environ.get(name) or default)
        for name, default in (("KREG_GRAPHS", 100), ("KREG_SEED", 0))
    )
    return seed(start)(examples(number)(test))


def in_double_precision():
    keras.utils.clear_session(free_memory=False)
    keras.config.set_floatx(DTYPE)
    keras.config.set_dtype_policy(DTYPE)


class Graph:
    """Tensors made so far; each step makes one more of those there are."""

    def __init__(self, draw, shape):
        self.draw = draw
        self.inputs = keras.Input(shape)
        self.tensors = [self.inputs]
        self.unread = [0]
        self.mixers = []

    def step(self):
        number = self.draw(st.integers(0, len(self.tensors) - 1))
        x = self.tensors[number]
        kinds = [self.mixer] * 2 + [self.keeper, self.join, self.concat]
        kinds += [self.known_mixer] * any(self.fits(m, x) for m in self.mixers)
        make = self.draw(st.sampled_from(kinds))
        numbers = [number]
        if make in (self.join, self.concat):
            alike = [y.shape == x.shape for y in self.tensors]
            numbers += [self.draw(st.sampled_from(np.flatnonzero(alike)))]
        self.apply(make(x), *numbers)

    def apply(self, layer, *numbers):
        read = [self.tensors[i] for i in numbers]
        self.tensors.append(layer(read if len(read) > 1 else read[0]))
        told = {
            key: value
            for key, value in layer.get_config().items()
            if key in TOLD and value is not None
        }
        note(
            f"x{len(self.tensors) - 1} = {type(layer).__name__}({told})"
            f"({', '.join(f'x{i}' for i in numbers)})  # {layer.name}"
        )
        self.unread = [i for i in self.unread if i not in numbers]
        self.unread.append(len(self.tensors) - 1)

    @staticmethod
    def fits(layer, x):
        """Whether a layer may be called once more, on x."""
        before = layer.input.shape
        size = getattr(layer, "kernel_size", (1,))
        return (
            len(before) == len(x.shape)
            and before[-1] == x.shape[-1]
            and max(size) <= min(x.shape[1:3])
        )

    def known_mixer(self, x):
        fitting = [m for m in self.mixers if self.fits(m, x)]
        return self.draw(st.sampled_from(fitting))

    def mixer(self, x):
        width = self.draw(widths)
        arguments = {
            "activation": self.draw(activations),
            "use_bias": self.draw(st.booleans()),
        }
        if len(x.shape) == 2:
            layer = layers.Dense(width, **arguments)
        else:
            kind = self.draw(st.sampled_from(CONVOLUTIONS))
            size = self.draw(st.integers(1, min(3, *x.shape[1:3])))
            padding = self.draw(paddings)
            layer = kind(width, size, padding=padding, **arguments)
        self.mixers.append(layer)
        return layer

    def keeper(self, x):
        makers = [
            layers.BatchNormalization,
            lambda: layers.Activation(self.draw(activations)),
            layers.PReLU,
            layers.LayerNormalization,
            lambda: layers.Dropout(0.5),
        ]
        if len(x.shape) == 4:
            size = self.draw(st.integers(1, min(2, *x.shape[1:3])))
            padding = self.draw(paddings)
            makers += [
                *(lambda p=p: p(size, padding=padding) for p in POOLS),
                lambda: layers.DepthwiseConv2D(size, padding=padding),
                lambda: layers.ZeroPadding2D(1),
                lambda: layers.UpSampling2D(2),
                lambda: layers.Permute((2, 1, 3)),
                layers.Flatten,
                layers.GlobalAveragePooling2D,
            ]
        elif x.shape[1] % 2 == 0:
            makers += [lambda: layers.Reshape((1, 2, x.shape[1] // 2))]
        return self.draw(st.sampled_from(makers))()

    def join(self, x):
        return JOINS[self.draw(st.sampled_from(sorted(JOINS)))]()

    def concat(self, x):
        axis = self.draw(st.integers(1, len(x.shape) - 1))
        return layers.Concatenate(axis=axis if axis < len(x.shape) - 1 else -1)

    def model(self):
        """All that nothing reads, joined under two logits."""
        for i in list(self.unread):
            if len(self.tensors[i].shape) > 2:
                self.apply(layers.Flatten(), i)
        if len(self.unread) > 1:
            self.apply(layers.Concatenate(), *self.unread)
        logits = layers.Dense(2)(self.tensors[-1])
        if self.draw(st.booleans()):
            number = self.draw(st.integers(0, len(self.tensors) - 1))
            note(f"also an output: x{number}")
            logits = [logits, layers.Flatten()(self.tensors[number])]
        return keras.Model(self.inputs, logits)


def randomized(model, draw):
    """Random weights; units, inputs, biases and gammas die by chance."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    unit, row, bias, gamma = (draw(chances) for _ in range(4))
    for variable in {id(v): v for v in model.weights}.values():
        name, shape = variable.path.rsplit("/")[-1], tuple(variable.shape)
        if "seed" in name:
            continue
        w = rng.normal(size=shape)
        if name == "moving_variance":
            w = rng.uniform(0.5, 2.0, shape)
        elif name == "depthwise_kernel":
            w = w * (rng.uniform(size=(shape[-2], 1)) >= row)
        elif name in ("kernel", "pointwise_kernel"):
            w = w * (rng.uniform(size=shape[-1]) >= unit)
            w = w * (rng.uniform(size=(shape[-2], 1)) >= row)
        elif name in ("bias", "gamma"):
            chance = bias if name == "bias" else gamma
            w = w * (rng.uniform(size=shape) >= chance)
        variable.assign(w)
    return model


def assert_same_outputs(small, model, x, tolerance=TOLERANCE):
    for found, expected in zip(
        outputs(small, x), outputs(model, x), strict=True
    ):
        size = max(1.0, np.abs(expected).max())
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= tolerance * size


@pytest.mark.thorough  # after the table of test_compact.py
@examples(120)
@given(st.data(), st.sampled_from([(4,), (4, 4, 2)]), st.integers(2, 8))
def test_outputs_of_random_graphs_are_the_same(data, shape, steps):
    in_double_precision()
    graph = Graph(data.draw, shape)
    for _ in range(steps):
        graph.step()
    model = randomized(graph.model(), data.draw)
    round_to = data.draw(st.sampled_from([1, 1, 2]))
    small = kreg.compact(model, round_to=round_to)
    assert small.count_params() <= model.count_params() + sum(
        layer.units
        if isinstance(layer, layers.Dense)
        else getattr(layer, "filters", 0) or 0
        for layer in every_layer(model)
        if not getattr(layer, "use_bias", True)
    )
    assert_same_outputs(small, model, some_inputs(model))


@pytest.mark.thorough
@examples(25)
@given(st.data(), st.sampled_from([(6,), (3, 3, 4)]), st.integers(1, 5))
def test_dropped_inputs_of_random_graphs_do_not_matter(data, shape, steps):
    in_double_precision()
    graph = Graph(data.draw, shape)
    for _ in range(steps):
        graph.step()
    model = randomized(graph.model(), data.draw)
    small, compaction = kreg.compact(
        model, drop_inputs=True, return_compaction=True
    )
    kept = compaction.kept_inputs[model.inputs[0].name]
    x = some_inputs(model)
    dropped = np.setdiff1d(np.arange(shape[-1]), kept)
    other = x.copy()
    other[..., dropped] = 100.0
    assert small.inputs[0].shape[-1] == len(kept)
    for found, expected in zip(
        outputs(small, x[..., kept]), outputs(model, other), strict=True
    ):
        size = max(1.0, np.abs(expected).max())
        assert np.abs(found - expected).max() <= TOLERANCE * size


def live_widths(reads, moving):
    """How many units of each layer of a chain the outputs depend on.

    Args:
        reads: for each layer a matrix: does unit j read unit i of the layer
            before?
        moving: for each layer, whether a unit can vary at all.
    """
    varies = [np.ones(len(reads[0]), bool)]
    for read, may in zip(reads, moving, strict=True):
        varies.append((read & varies[-1][:, None]).any(axis=0) & may)
    wanted = [np.ones(reads[-1].shape[1], bool)]
    for read, unit in zip(reads[::-1], varies[:0:-1], strict=True):
        wanted.insert(0, (read & (wanted[0] & unit)[None, :]).any(axis=1))
    return [
        int((v & w).sum())
        for v, w in zip(varies[:-1], wanted[:-1], strict=True)
    ]


def chain(draw, kind):
    """A chain of mixing layers, each with or without a normalization."""
    convolutional = kind == "convolutions"
    inputs = keras.Input((6, 6, 3) if convolutional else (4,))
    x, normalized = inputs, []
    for _ in range(draw(st.integers(1, 4))):
        width = draw(st.integers(3, 9))
        x = (
            layers.Conv2D(width, draw(st.integers(1, 2)))
            if convolutional
            else layers.Dense(width)
        )(x)
        normalized.append(draw(st.booleans()))
        if normalized[-1]:
            x = layers.BatchNormalization()(x)
        x = layers.Activation(draw(activations))(x)
    if convolutional:
        x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    return randomized(model, draw)


def counted(model, drop_inputs):
    """The live units of each layer, and the parameters of these alone."""
    mixers = [y for y in model.layers if hasattr(y, "kernel")]
    kernels = [keras.ops.convert_to_numpy(y.kernel) for y in mixers]
    gammas = {}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            last = layer
        elif hasattr(layer, "gamma"):
            gammas[last.name] = keras.ops.convert_to_numpy(layer.gamma)
    reads = [(k != 0.0).reshape(-1, *k.shape[-2:]).any(axis=0) for k in kernels]
    moving = [gammas.get(y.name, np.ones(1)) != 0.0 for y in mixers]
    live = live_widths(reads, moving)
    widths_left = [max(1, n) for n in (*live, kernels[-1].shape[-1])]
    if not drop_inputs:
        widths_left[0] = kernels[0].shape[-2]
    return live, sum(
        n * m * k[..., 0, 0].size + m + 4 * m * (y.name in gammas)
        for n, m, k, y in zip(
            widths_left, widths_left[1:], kernels, mixers, strict=False
        )
    )


@pytest.mark.thorough
@examples(15)
@given(st.data(), st.sampled_from(["dense", "convolutions"]), st.booleans())
def test_exactly_the_live_units_of_a_chain_stay(data, kind, drop_inputs):
    in_double_precision()
    model = chain(data.draw, kind)
    small = kreg.compact(model, drop_inputs=drop_inputs)
    live, parameters = counted(model, drop_inputs)
    if all(live):
        assert small.count_params() == parameters
    else:  # the unit that an empty layer keeps may hold up some before it
        assert parameters <= small.count_params() <= model.count_params()
