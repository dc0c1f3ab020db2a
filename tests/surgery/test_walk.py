"""What can go inside of layers of one's own, and that outputs stay equal.

The graph itself is run with the smaller weights, in double precision where the
backend has it.
"""

import os

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from surgery.composite_blocks import BLOCKS, HEADS, SIZE, WIDTH, thinned
from surgery.traced_execution import Analysis
from thorough import few_of

# JAX computes in single precision, and torch in part.
IS_DOUBLE = keras.backend.backend() == "tensorflow"
TOLERANCE = 1e-10 if IS_DOUBLE else 1e-4


@pytest.fixture(autouse=True)
def double_precision():
    if not IS_DOUBLE:
        yield
        return
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


# Their code asks for the length when the model is made.
OF_FIXED_LENGTH = {"Causal", "OwnWeights", "Rotary"}


def model_of(*names, length=None):
    inputs = keras.Input((length, WIDTH))
    x = inputs
    for i, name in enumerate(names):
        # The first one has the name of its class.
        x = BLOCKS[name](name=name.lower() + f"_{i}" * (i > 0))(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


def random_weights(model):
    """The model with weights none of which is 0."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape) * 0.5)
    return model


def shapes(analysis):
    """The shapes that are left, by the end of the path of each weight."""
    return {
        path.split("/", 1)[-1]: after
        for path, (_, after) in analysis.changed.items()
    }


def check_equal(names, length, seed):
    model = model_of(*names, length=length)
    thinned(model, np.random.default_rng(seed))
    analysis = Analysis(model, drop_inputs=bool(seed % 2))
    assert analysis.worst < TOLERANCE


@pytest.mark.parametrize(
    "name", few_of(BLOCKS, "FeedForward", "OwnWeights", "Attention", "Stock")
)
@pytest.mark.parametrize("length", [None, 11])
def test_outputs_stay_equal(name, length):
    if length is None and name in OF_FIXED_LENGTH:
        pytest.skip("its code needs the length")
    check_equal([name], length, seed=0)


# `KREG_GRAPHS=2000 pytest -m slow tests/surgery/test_walk.py` draws 2,000, and
# others each time.
KREG_GRAPHS = os.environ.get("KREG_GRAPHS")
MANY = int(KREG_GRAPHS or 200)
graphs = st.tuples(
    st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=4),
    st.integers(0, 2**20),
)


@pytest.mark.thorough
@settings(max_examples=3, deadline=None, derandomize=True)
@given(graphs)
def test_outputs_of_random_models_stay_equal(graph):
    names, seed = graph
    check_equal(names, 11, seed)
    keras.backend.clear_session()


@pytest.mark.slow
@settings(max_examples=MANY, deadline=None, derandomize=not KREG_GRAPHS)
@given(graphs)
def test_outputs_of_many_random_models_stay_equal(graph):
    names, seed = graph
    open_ended = seed % 3 == 0 and not OF_FIXED_LENGTH & set(names)
    check_equal(names, None if open_ended else 11, seed)
    keras.backend.clear_session()


def part(model, block, attribute):
    return getattr(model.get_layer(block.lower()), attribute)


def zero(variable, *where):
    value = np.array(variable)
    value[where] = 0.0
    variable.assign(value)


def head(number):
    return slice(number * SIZE, (number + 1) * SIZE)


@pytest.mark.parametrize(
    "name", few_of(["Attention", "Causal", "Rotary"], "Attention")
)
@pytest.mark.parametrize("dead", ["values", "outputs"])
def test_a_head_goes_from_all_of_its_weights(name, dead):
    model = random_weights(model_of(name, length=11))
    if dead == "values":  # the bias of its values stays, and is folded
        zero(part(model, name, "value").kernel, slice(None), head(1))
    else:
        zero(part(model, name, "out").kernel, head(1))
    analysis = Analysis(model)
    assert analysis.worst < TOLERANCE
    left = (HEADS - 1) * SIZE
    for attribute in ("query", "key", "value"):
        projection = part(model, name, attribute)
        assert analysis.values[id(projection.kernel)].shape == (WIDTH, left)
        assert analysis.values[id(projection.bias)].shape == (left,)
    kernel = part(model, name, "out").kernel
    assert analysis.values[id(kernel)].shape == (left, WIDTH)


@pytest.mark.parametrize(
    "name", few_of(["Fused", "FiveAxes", "Picked"], "FiveAxes")
)
def test_a_head_goes_from_queries_keys_and_values_of_one_layer(name):
    model = random_weights(model_of(name, length=11))
    zero(part(model, name, "out").kernel, head(2))
    analysis = Analysis(model)
    assert analysis.worst < TOLERANCE
    kernel = part(model, name, "all").kernel
    left = 3 * (HEADS - 1) * SIZE
    assert analysis.values[id(kernel)].shape == (WIDTH, left)


@pytest.mark.parametrize("name", ["Grouped", "GroupedEinsum"])
@pytest.mark.parametrize("dead", [(2, 3), (2,)])
def test_heads_of_a_group_go_together(name, dead):
    model = random_weights(model_of(name, length=11))
    for number in dead:
        zero(part(model, name, "out").kernel, head(number))
    analysis = Analysis(model)
    assert analysis.worst < TOLERANCE
    key = part(model, name, "key").kernel
    left = analysis.values.get(id(key), key)
    groups = 1 if len(dead) == 2 else 2
    assert tuple(left.shape) == (WIDTH, groups * SIZE)


def test_own_weights_lose_dead_units():
    model = random_weights(model_of("OwnWeights", length=11))
    block = model.get_layer("ownweights")
    zero(block.scale, [0, 3])  # units 0 and 3 are 0
    zero(block.last, [5])  # nothing reads unit 5
    analysis = Analysis(model)
    assert analysis.worst < TOLERANCE
    assert shapes(analysis) == {
        "first": (WIDTH, 7),
        "shift": (7,),
        "scale": (7,),
        "last": (7, WIDTH),
    }


def test_a_constant_stays_where_no_bias_can_take_it_up():
    model = random_weights(model_of("NoBias", length=11))
    up = part(model, "NoBias", "up")
    zero(up.kernel, slice(None), [0, 1])
    up.bias.assign(np.where(np.arange(12) == 0, 2.0, -1.0))  # 2 and 0
    analysis = Analysis(model)
    assert analysis.worst < TOLERANCE
    assert analysis.values[id(up.kernel)].shape == (WIDTH, 11)


def test_code_that_branches_on_values_is_kept_with_its_reason():
    analysis = Analysis(random_weights(model_of("Opaque", "FeedForward")))
    (reason,) = analysis.walk.not_followed.values()
    assert "boolean" in reason
    assert not any("opaque" in path for path in analysis.changed)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX needs the length there"
)
def test_code_that_branches_on_the_length_is_kept_with_its_reason():
    """Both of its layers stay: the lengths that are tried differ by it."""

    class Short(BLOCKS["Branching"]):
        def call(self, x):
            return (self.short if (x.shape[1] or 0) < 6 else self.long)(x)

    inputs = keras.Input((None, WIDTH))
    model = keras.Model(inputs, layers.Dense(3)(Short(name="block")(inputs)))
    thinned(model, np.random.default_rng(0))
    analysis = Analysis(model)
    assert analysis.worst < TOLERANCE
    (reason,) = analysis.walk.not_followed.values()
    assert "size of its inputs" in reason


class Subclassed(keras.Model):
    """A loop over layers, and outputs in a dictionary."""

    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(WIDTH, "relu") for _ in range(3)]
        self.norm = layers.LayerNormalization()
        self.up, self.head = layers.Dense(12, "gelu"), layers.Dense(2)

    def call(self, x, training=False):
        for block in self.blocks:
            x = self.norm(x + block(x))
        return {"a": self.head(self.up(x)), "b": ops.mean(x, axis=1)}


@pytest.mark.parametrize(
    "sample",
    [
        np.zeros((4, 6, WIDTH)),
        keras.InputSpec(shape=(None, None, WIDTH), dtype=keras.config.floatx()),
    ],
    ids=["array", "spec"],
)
def test_a_subclassed_model_is_followed_on_a_sample(sample):
    model = Subclassed()
    model(np.zeros((4, 6, WIDTH)))
    random_weights(model)
    zero(model.up.kernel, slice(None), [1, 4])
    analysis = Analysis(model, sample)
    assert analysis.worst < TOLERANCE
    assert analysis.values[id(model.up.kernel)].shape == (WIDTH, 10)


def test_a_subclassed_model_needs_a_sample():
    model = Subclassed()
    model(np.zeros((4, 6, WIDTH)))
    with pytest.raises(ValueError, match="`sample` is needed"):
        Analysis(model)
