"""A training that is resumed is the one that was never broken off, exactly.

With a ramp, a `StrengthScheduler` and a `TargetSparsity`.
"""

import keras
import numpy as np
import pytest
from callbacks.interrupted_training import (
    BATCHES,
    EPOCHS,
    build,
    callbacks_of,
    data,
)
from thorough import few_of

import kreg

BACKEND = keras.backend.backend()
X, Y = data()
pytestmark = pytest.mark.filterwarnings("ignore:TargetSparsity")


def steer(model, *callbacks, steered=None, **arguments):
    """Train with the callbacks that steer the model, and others before."""
    steered = steered or callbacks_of(model)
    arguments = {"x": X, "y": Y, "batch_size": 16, **arguments}
    return model.fit(
        **arguments,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks, *steered],
    ).history


def state_of(model):
    penalties = [layer.kernel_regularizer for layer in model.layers]
    return [*model.get_weights(), np.array([p.multiplier for p in penalties])]


def assert_same(model, state):
    for ours, theirs in zip(state_of(model), state, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module", name="unbroken")
def _unbroken():
    model = build()
    steer(model)
    return state_of(model)


def with_slots(model):
    model.optimizer.build(model.trainable_variables)
    return model


class SaveAfter(keras.callbacks.Callback):
    """Calls a function of the model at the end of an epoch."""

    def __init__(self, epochs, save):
        super().__init__()
        self.epochs, self.save = epochs, save

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epochs - 1:
            self.save(self.model)


def whole_model(folder):
    path = folder / "model.keras"
    return lambda model: model.save(path), lambda: keras.models.load_model(path)


def weights_alone(folder):
    path = folder / "model.weights.h5"

    def load():
        model = with_slots(build())
        model.load_weights(path)
        return model

    return lambda model: model.save_weights(path), load


def state_tree(folder):
    trees = []

    def load():
        model = with_slots(build())
        kreg.bind(model)
        model.set_state_tree(trees[0])
        return model

    return (
        lambda model: trees.append(
            model.get_state_tree(value_format="numpy_array")
        ),
        load,
    )


def tensorflow_checkpoint(folder):
    import tensorflow as tf

    path = folder / "checkpoint"

    def load():
        model = with_slots(build())
        tf.train.Checkpoint(model=model).read(path).expect_partial()
        return model

    return lambda model: tf.train.Checkpoint(model=model).write(path), load


WAYS = [whole_model, weights_alone, state_tree]
if BACKEND == "tensorflow":
    WAYS.append(tensorflow_checkpoint)


@pytest.mark.thorough
@pytest.mark.parametrize("epochs", few_of([1, 4, 7, EPOCHS - 1], 4))
@pytest.mark.parametrize("way", few_of(WAYS, whole_model))
def test_from_a_checkpoint(way, epochs, unbroken, tmp_path):
    save, load = way(tmp_path)
    model = build()
    steer(model, SaveAfter(epochs, save))
    assert_same(model, unbroken)
    model = load()
    steer(model, initial_epoch=epochs)
    assert_same(model, unbroken)


class Interrupt(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def resumed(folder, batches, make, order="first", **arguments):
    """A model that was interrupted after some batches, and trained on."""
    for stop in (batches, 10**6):
        model, steered = make()
        callbacks = [
            keras.callbacks.BackupAndRestore(folder / "backup"),
            *steered,
        ]
        if order == "last":
            callbacks.reverse()
        try:
            steer(model, steered=[*callbacks, Interrupt(stop)], **arguments)
        except KeyboardInterrupt:
            assert stop == batches
    return model


def standard():
    model = build()
    return model, callbacks_of(model)


@pytest.mark.parametrize("order", few_of(["first", "last"], "first"))
@pytest.mark.parametrize(
    "batches", few_of([BATCHES + 1, 5 * BATCHES + 3, 10 * BATCHES - 1], 43)
)
def test_with_backup_and_restore(batches, order, unbroken, tmp_path):
    assert_same(resumed(tmp_path, batches, standard, order), unbroken)


def layer_by_layer():
    model = build()
    return model, [kreg.TargetSparsity(0.6, per_layer=True)]


def dead_units():
    model = build()
    return model, [kreg.TargetSparsity(0.4, [model.layers[0]], units=True)]


def two_targets():
    model = build()
    first, second, _ = model.layers
    return model, [
        kreg.TargetSparsity(0.5, [first]),
        kreg.TargetSparsity(0.2, [second]),
    ]


def set_by_hand():
    """A multiplier that a callback sets once, in an early epoch."""
    model = build()
    kreg.bind(model)
    penalty = model.layers[1].kernel_regularizer

    def set_multiplier(epoch, logs):
        if epoch == 1:
            penalty.multiplier = 3.0

    return model, [
        keras.callbacks.LambdaCallback(on_epoch_begin=set_multiplier)
    ]


def started_late():
    """No proximal step acts before the ramp of the only steered layer."""
    model = build()
    return model, [kreg.TargetSparsity(0.5, [model.layers[2]])]


def groups():
    model = build()
    kreg.attach(model, {"target": kreg.GroupLasso(1e-3, "inputs")})
    return model, [kreg.TargetSparsity(0.5, [model.layers[0]])]


MAKERS = [
    layer_by_layer,
    dead_units,
    two_targets,
    set_by_hand,
    started_late,
    groups,
]


@pytest.mark.thorough
@pytest.mark.parametrize("make", few_of(MAKERS, layer_by_layer))
def test_steered_otherwise(make, tmp_path):
    model, steered = make()
    steer(model, steered=[*steered])
    expected = state_of(model)
    assert_same(resumed(tmp_path, 4 * BATCHES + 3, make), expected)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a tf.data.Dataset")
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("epochs", few_of([1, 4], 1))
def test_epochs_of_unknown_length(epochs, tmp_path):
    """The first epoch finds how many batches there are."""
    import tensorflow as tf

    whole = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    arguments = {"x": whole.filter(lambda x, y: True), "y": None}
    model, steered = standard()
    steer(model, steered=steered, batch_size=None, **arguments)
    expected = state_of(model)
    batches = epochs * BATCHES + 3
    model = resumed(tmp_path, batches, standard, batch_size=None, **arguments)
    assert_same(model, expected)


@pytest.mark.thorough
def test_next_training_of_a_finished_model_starts_anew():
    """As one of a model that was never steered, from the same state."""
    states = []
    model, _ = standard()
    steer(model)
    fresh = with_slots(build())
    fresh.set_weights(model.get_weights())
    fresh.optimizer.set_weights(
        [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    )
    for old, new in zip(model.layers, fresh.layers, strict=True):
        new.kernel_regularizer.multiplier = old.kernel_regularizer.multiplier
    for each in (model, fresh):
        target = kreg.TargetSparsity(0.7, [each.layers[0]])
        steer(each, steered=[target], initial_epoch=EPOCHS - 1)
        states.append(state_of(each))
    for ours, theirs in zip(*states, strict=True):
        np.testing.assert_array_equal(ours, theirs)
