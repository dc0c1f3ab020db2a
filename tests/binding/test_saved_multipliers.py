"""Multipliers are in all that Keras saves, and come back from it."""

import warnings

import keras
import numpy as np
import pytest
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
X, Y = np.ones((8, 4), "float32"), np.zeros((8, 1), "float32")
VALUES = (3.375, 1 / 3)


class Penalized(keras.layers.Layer):
    """A layer that keeps its regularizer in no attribute."""

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(4, 3), regularizer=kreg.L1(0.1), name="w"
        )

    def call(self, x):
        return x @ self.w


def dense(units, **arguments):
    return keras.layers.Dense(units, name=f"dense_{units}", **arguments)


def sequential():
    first = dense(3, kernel_regularizer=kreg.L1(0.1))
    last = dense(1, bias_regularizer=kreg.L2(0.1))
    model = keras.Sequential([keras.Input((4,)), first, last], name="net")
    return model, [first.kernel_regularizer, last.bias_regularizer]


def shared():
    penalty = kreg.L1(0.1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            dense(3, kernel_regularizer=penalty),
            dense(1, kernel_regularizer=penalty),
        ],
        name="net",
    )
    return model, [penalty]


def nested():
    inner, (first, second) = sequential()
    inputs = keras.Input((4,))
    outputs = dense(2, kernel_regularizer=second)(inner(inputs))
    return keras.Model(inputs, outputs, name="outer"), [first, second]


def on_activities():
    penalty = kreg.L2(0.1)
    layer = dense(1, activity_regularizer=penalty)
    return keras.Sequential([keras.Input((4,)), layer], name="net"), [penalty]


def in_no_attribute():
    layer = Penalized(name="penalized")
    model = keras.Sequential([keras.Input((4,)), layer], name="net")
    return model, [layer.w.regularizer]


MODELS = {
    make.__name__: make
    for make in (sequential, shared, nested, on_activities, in_no_attribute)
}
OPTIMIZERS = {
    "proximal": lambda: kreg.ProximalOptimizer(keras.optimizers.Adam()),
    "plain": lambda: keras.optimizers.Adam(),
}


def built(make, optimizer="proximal", bound=True):
    model, penalties = make()
    model.compile(OPTIMIZERS[optimizer](), "mse")
    model.optimizer.build(model.trainable_variables)
    if bound:
        kreg.bind(model)
    return model, penalties


def weights_file(model, folder):
    path = folder / "model.weights.h5"
    model.save_weights(path)
    return lambda other: other.load_weights(path)


def weights_in_shards(model, folder):
    path = folder / "model.weights.json"
    model.save_weights(path, max_shard_size=1)
    return lambda other: other.load_weights(path)


def weights_of_a_whole_file(model, folder):
    model.save(folder / "model.keras")
    return lambda other: other.load_weights(folder / "model.keras")


def state_tree(model, folder):
    """What `keras.callbacks.OrbaxCheckpoint` saves."""
    tree = model.get_state_tree(value_format="numpy_array")
    return lambda other: other.set_state_tree(tree)


def tensorflow_checkpoint(model, folder):
    import tensorflow as tf

    path = tf.train.Checkpoint(model=model).save(folder / "checkpoint")

    def restore(other):
        status = tf.train.Checkpoint(model=other).restore(path)
        status.expect_partial()

    return restore


FILES = [weights_file, weights_in_shards, weights_of_a_whole_file]
VARIABLES = [state_tree]
if BACKEND == "tensorflow":
    VARIABLES.append(tensorflow_checkpoint)


def set_multipliers(penalties):
    for penalty, value in zip(penalties, VALUES, strict=False):
        penalty.multiplier = value


def assert_restored(penalties):
    found = [penalty.multiplier for penalty in penalties]
    assert found == list(VALUES[: len(found)])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(
    "save", few_of([*FILES, *VARIABLES], weights_file, state_tree)
)
def test_restored_exactly_into_a_bound_model(save, make, optimizer, tmp_path):
    model, penalties = built(make, optimizer)
    set_multipliers(penalties)
    restore = save(model, tmp_path)
    other, penalties = built(make, optimizer)
    restore(other)
    assert_restored(penalties)


@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
@pytest.mark.parametrize("make", [sequential, shared, nested])
@pytest.mark.parametrize("save", few_of(FILES, weights_file))
def test_restored_before_bind_where_a_layer_holds_it(
    save, make, bound, tmp_path
):
    """Whether the model that saved it was bound makes no difference."""
    model, penalties = built(make, bound=bound)
    set_multipliers(penalties)
    restore = save(model, tmp_path)
    other, penalties = built(make, bound=False)
    restore(other)
    assert_restored(penalties)
    kreg.bind(other)
    assert_restored(penalties)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a TensorFlow checkpoint")
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_checkpoint_restored_before_bind(make, tmp_path):
    model, penalties = built(make)
    set_multipliers(penalties)
    restore = tensorflow_checkpoint(model, tmp_path)
    other, penalties = built(make, bound=False)
    restore(other)
    kreg.bind(other)
    assert_restored(penalties)


@pytest.mark.parametrize("save", [weights_file, *VARIABLES])
def test_compiled_step_reads_what_was_restored(save, tmp_path):
    model, penalties = built(sequential)
    set_multipliers(penalties)
    restore = save(model, tmp_path)
    other, _ = built(sequential)
    other.evaluate(X, Y, verbose=0)
    restore(other)
    norm = np.abs(other.get_weights()[0]).sum()
    logs = other.evaluate(X, Y, verbose=0, return_dict=True)
    assert logs["penalty"] == pytest.approx(0.1 * VALUES[0] * norm, rel=1e-5)


@pytest.mark.parametrize("save", VARIABLES)
def test_setting_one_multiplier_leaves_the_others_restored(save, tmp_path):
    model, penalties = built(sequential)
    set_multipliers(penalties)
    restore = save(model, tmp_path)
    other, (first, second) = built(sequential)
    restore(other)
    first.multiplier = 7.0
    assert (first.multiplier, second.multiplier) == (7.0, VALUES[1])


def test_state_trees_of_nested_bound_models_have_a_path_for_each_variable():
    model, _ = built(nested)
    kreg.bind(model.layers[1])
    restore = state_tree(model, None)
    restore(model)


def test_two_models_with_one_penalty_both_follow(tmp_path):
    model, penalties = built(sequential)
    set_multipliers(penalties)
    restore = weights_file(model, tmp_path)
    one, (penalty, _) = built(sequential)
    two = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(1, kernel_regularizer=penalty)]
    )
    two.compile("sgd", "mse")
    kreg.bind(two)
    restore(one)
    logs = two.evaluate(X, Y, verbose=0, return_dict=True)
    norm = np.abs(two.get_weights()[0]).sum()
    assert logs["penalty"] == pytest.approx(0.1 * VALUES[0] * norm, rel=1e-5)


class SetAt(keras.callbacks.Callback):
    """Sets a multiplier after a batch, without looking at its model."""

    def __init__(self, penalty, batch, value):
        super().__init__()
        self.penalty, self.batch, self.value = penalty, batch, value

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            self.penalty.multiplier = self.value


def test_set_in_the_middle_of_an_epoch_it_acts_from_the_next_batch():
    penalty = kreg.L1(1.0)
    layer = keras.layers.Dense(
        1, kernel_initializer="ones", kernel_regularizer=penalty
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kreg.bind(model)
    callback = SetAt(penalty, 1, 3.0)
    history = model.fit(X, Y, batch_size=2, callbacks=[callback], verbose=0)
    # Two batches at strength 1 and two at strength 3, with a norm of 4.
    assert history.history["penalty"] == [pytest.approx(8.0)]
    assert penalty.multiplier == 3.0


@pytest.mark.parametrize("save", FILES[:2])
def test_files_go_to_models_without_kreg_and_back(save, tmp_path):
    """With the state of the optimizer."""
    model, penalties = built(sequential)
    model.fit(X, Y, verbose=0)
    set_multipliers(penalties)
    plain = keras.Sequential([keras.Input((4,)), dense(3), dense(1)])
    plain.compile("adam", "mse")
    plain.optimizer.build(plain.trainable_variables)
    save(model, tmp_path)(plain)
    for ours, theirs in zip(
        model.optimizer.variables, plain.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours),
            keras.ops.convert_to_numpy(theirs),
        )
    plain.set_weights([w + 1.0 for w in plain.get_weights()])
    (tmp_path / "plain").mkdir()
    restore = save(plain, tmp_path / "plain")
    with warnings.catch_warnings():
        # Keras looks for the inner optimizer a second time, in vain.
        warnings.filterwarnings("ignore", "Skipping variable loading")
        restore(model)
    for ours, theirs in zip(
        model.get_weights(), plain.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert_restored(penalties)


def test_another_penalty_keeps_its_own_multiplier(tmp_path):
    """The multiplier of an L1 says nothing of an L2."""
    model, penalties = built(sequential)
    set_multipliers(penalties)
    restore = weights_file(model, tmp_path)
    layer = dense(3, kernel_regularizer=kreg.L2(0.1))
    other = keras.Sequential([keras.Input((4,)), layer, dense(1)], name="net")
    restore(other)
    assert layer.kernel_regularizer.multiplier == 1.0


def test_weights_do_not_hold_multipliers():
    """`get_weights` and the counts of weights are those of a plain model."""
    model, _ = built(sequential, bound=False)
    weights, count = len(model.get_weights()), model.count_params()
    kreg.bind(model)
    assert (len(model.get_weights()), model.count_params()) == (weights, count)
