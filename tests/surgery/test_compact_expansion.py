"""Layers of one's own that are written as layers and operations of Keras."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from surgery.composite_blocks import BLOCKS, SIZE, WIDTH, Block, thinned
from surgery.handmade import entry, kill, same, units, x_of, zero
from surgery.traced_execution import Analysis
from thorough import few_of

import kreg

# Their code cannot be followed, or their class has the name of an operation.
NOT_EXPANDED = {"Hidden", "Opaque", "Branching", "Einsum"}


def around(block, length=None, name="block"):
    x = keras.Input((length, WIDTH))
    return keras.Model(x, block(name=name)(x))


def of_open_length(name):
    """A model of a block; of a fixed length if its code needs one."""
    try:
        return around(BLOCKS[name])
    except (TypeError, ValueError):
        return around(BLOCKS[name], 9)


@pytest.mark.parametrize(
    "name",
    few_of(
        sorted(set(BLOCKS) - NOT_EXPANDED), "OwnWeights", "Fused", "Grouped"
    ),
)
def test_all_that_can_go_goes_without_the_class(name, tmp_path):
    model = of_open_length(name)
    thinned(model, np.random.default_rng(3))
    analysis = Analysis(model)
    small = kreg.compact(model)
    shapes = [
        analysis.values.get(id(v), v).shape for v in model.trainable_variables
    ]
    added = small.count_params() - sum(map(np.prod, shapes))
    assert 0 <= added <= sum(shape[-1] for shape in shapes)  # biases
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(
        tmp_path / "small.keras", custom_objects={name: BLOCKS[name]}
    )
    lengths = (9,) if model.input.shape[1] else (9, 4)
    for length in lengths:
        for made in (small, loaded):
            assert same(made, model, x_of(5, length, WIDTH))
    if any(s != v.shape for s, v in zip(shapes, model.weights, strict=False)):
        kinds = {type(layer).__module__ for layer in small.layers}
        assert all(kind.startswith("keras.src.layers") for kind in kinds)


class Mixer(Block):
    """Weights of its own around one layer, with every kind of attribute."""

    def build(self, shape):
        self.up = self.weight(WIDTH, 12, name="up")
        self.shift = self.add_weight(
            shape=(12,),
            name="shift",
            regularizer=keras.regularizers.L2(0.1),
            constraint="non_neg",
        )
        self.fixed = self.add_weight(
            shape=(WIDTH,), name="fixed", trainable=False, initializer="ones"
        )
        policy = self.dtype_policy
        down = layers.Dense(WIDTH, dtype=policy, name="down")
        self.down = self.part(down, 12)
        self.drop = layers.Dropout(0.5, seed=1, dtype=policy, name="drop")

    def call(self, x, training=None):
        hidden = ops.relu(x @ self.up + self.shift)
        return x + self.fixed * self.down(self.drop(hidden, training=training))


def mixers(*dead, cls=Mixer, **arguments):
    """Two mixers in a row, which have lost different units."""
    x = y = keras.Input((None, WIDTH))
    blocks = [cls(name=name, **arguments) for name in ("first", "second")]
    for block in blocks:
        y = block(y)
    model = keras.Model(x, layers.Dense(2, name="logits")(y))
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(np.abs(rng.normal(size=variable.shape)) * 0.3)
    for block, units_ in zip(blocks, dead, strict=True):
        zero(block.up, slice(None), units_)
        zero(block.shift, units_)
    return model


def test_each_layer_loses_its_own_units():
    model = mixers([0, 1, 2], [5])
    small, record = kreg.compact(model, return_compaction=True)
    assert [units(small, f"{n}_up") for n in ("first", "second")] == [
        WIDTH * 9,
        WIDTH * 11,
    ]
    assert entry(record, "first").parameters_after == 16 * 9 + 9 + 16
    assert entry(record, "first").way == "layers inside it"


def test_a_weight_keeps_what_it_was():
    small = kreg.compact(mixers([0, 1, 2], [5]))
    shift = small.get_layer("first_shift")
    assert isinstance(shift, layers.Embedding)
    assert isinstance(shift.embeddings.regularizer, keras.regularizers.L2)
    assert isinstance(shift.embeddings.constraint, keras.constraints.NonNeg)
    assert not small.get_layer("first_fixed").trainable_variables
    assert small.get_layer("first_drop").rate == 0.5


@pytest.mark.thorough
def test_it_trains_on_like_the_model():
    model = mixers([0, 1, 2], [5])
    model.get_layer("first").drop.rate = model.get_layer("second").drop.rate = 0
    small = kreg.compact(model)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 5, WIDTH)), rng.normal(size=(8, 5, 2))
    for each in (model, small):
        each.compile(keras.optimizers.SGD(0.01), "mse")
        each.fit(x, y, epochs=3, shuffle=False, verbose=0)
    assert same(small, model, x_of(3, 7, WIDTH))


def test_dropout_inside_still_drops_in_training():
    small = kreg.compact(mixers([0, 1, 2], [5]))
    x = x_of(3, 7, WIDTH)
    one, other = small(x, training=True), small(x, training=True)
    assert np.abs(np.subtract(*map(ops.convert_to_numpy, (one, other)))).max()


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_weights_stay_in_their_precision(dtype):
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no double precision by default")
    model = mixers([0, 1, 2], [5], dtype=dtype)
    small = kreg.compact(model)
    up = small.get_layer("first_up")
    before = model.get_layer("first")
    assert up.embeddings.dtype == before.up.dtype
    assert up.compute_dtype == before.compute_dtype


def test_a_frozen_layer_stays_frozen():
    model = mixers([0, 1, 2], [5])
    model.get_layer("first").trainable = False
    small = kreg.compact(model)
    assert not small.get_layer("first_up").trainable_variables
    assert not small.get_layer("first_down").trainable_variables
    assert small.get_layer("second_up").trainable_variables


class Noisy(Mixer):
    """The same, with noise in training."""

    def call(self, x, training=None):
        if training:
            x = x + keras.random.normal(ops.shape(x))
        return super().call(x)


@pytest.mark.parametrize(("cls", "differs"), [(Mixer, False), (Noisy, True)])
def test_the_record_tells_what_training_lacks(cls, differs):
    _, record = kreg.compact(mixers([0], [5], cls=cls), return_compaction=True)
    found = [note for note in record.notes if "in training alone" in note]
    assert bool(found) == differs


class Penalized(Mixer):
    """The same, with a loss."""

    def call(self, x):
        self.add_loss(ops.sum(x))
        return super().call(x)


class Unread(Mixer):
    """The same, with a weight that its outputs do not depend on."""

    def build(self, shape):
        super().build(shape)
        self.average = self.weight(3, name="average")


class Counted(Mixer):
    """The same, with a branch on the length."""

    def call(self, x):
        return super().call(x[:, ::-1] if (x.shape[1] or 0) > 100 else x)


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Penalized, "adds a loss"),
        (Unread, "average"),
        (Counted, "size"),
    ],
)
def test_what_no_graph_can_say_stays_with_its_reason(cls, reason):
    if cls is Counted and keras.backend.backend() == "jax":
        pytest.skip("JAX needs the length there")
    model = mixers([0, 1], [5], cls=cls)
    small, record = kreg.compact(model, return_compaction=True)
    assert type(small.get_layer("first")) is cls
    assert reason in entry(record, "first").stays.lower()
    assert not any(isinstance(y, keras.KerasTensor) for y in model.losses)
    assert same(small, model, x_of(3, 7, WIDTH))


class CalledForItsSize(layers.Layer):
    """Its hidden layer is called once more, for the size of its output."""

    def build(self, shape):
        self.hidden = layers.Dense(6, "relu", name="hidden")
        self.out = layers.Dense(4, name="out")
        self.hidden.build(shape)
        self.out.build((*shape[:-1], 6))

    def call(self, x):
        size = self.hidden(x).shape[-1]
        return self.out(self.hidden(x)) / size


class CalledInVain(CalledForItsSize):
    """Its outputs do not depend on the hidden layer."""

    def call(self, x):
        self.hidden(x)
        return self.out(x[..., :6])


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (CalledForItsSize, "do not depend on one call of `block/hidden`"),
        (CalledInVain, "do not depend on `block/hidden`"),
    ],
)
def test_the_reason_tells_a_call_in_vain_from_a_layer_in_vain(cls, reason):
    model = around(cls, 9)
    kill(model.layers[1].hidden, 2)
    small, record = kreg.compact(model, return_compaction=True)
    assert reason in entry(record, "hidden").reasons
    assert same(small, model, x_of(3, 9, WIDTH))


class TwoSizes(keras.Model):
    """Two layers that share a size in the config, and a `train_step`."""

    def __init__(self, hidden=12, **kwargs):
        x = keras.Input((6,))
        y = layers.Dense(hidden, "relu", name="first")(x)
        y = layers.Dense(hidden, "relu", name="second")(y)
        super().__init__(x, layers.Dense(2)(y), **kwargs)
        self.hidden = hidden

    def get_config(self):
        return {"hidden": self.hidden, "name": self.name}


class OwnStep(TwoSizes):
    """The same with a way of its own to train."""

    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)


@pytest.mark.parametrize(
    ("cls", "keep_class", "kept"),
    [
        (TwoSizes, None, False),
        (TwoSizes, True, True),
        (OwnStep, None, True),
        (OwnStep, False, False),
    ],
)
def test_the_class_or_more_units(cls, keep_class, kept):
    model = cls()
    kill(model.get_layer("first"), 0, 1, 2, 3)
    kill(model.get_layer("second"), 0, 1)
    small, record = kreg.compact(
        model, keep_class=keep_class, return_compaction=True
    )
    assert type(small) is cls if kept else type(small) is not cls
    left = [units(small, name) for name in ("first", "second")]
    assert left == ([10, 10] if kept else [8, 10])
    other = f"keep_class={not kept}"
    assert any(other in note for note in record.notes)


def test_heads_of_own_attention_go_one_in_one_block_three_in_another():
    x = y = keras.Input((None, WIDTH))
    blocks = [BLOCKS["Attention"](name=name) for name in ("one", "two")]
    for block in blocks:
        y = block(y)
    model = keras.Model(x, y)
    for block, heads in zip(blocks, (1, 3), strict=True):
        block.out.kernel.assign(
            np.r_[np.zeros((heads * SIZE, WIDTH)), np.ones((16, WIDTH))][:16]
        )
    small = kreg.compact(model)
    assert [layer.units for layer in small.layers if layer.weights] == [
        *(12, 12, 12, WIDTH),
        *(4, 4, 4, WIDTH),
    ]
    assert same(small, model, x_of(3, 7, WIDTH))
