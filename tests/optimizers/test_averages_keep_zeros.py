"""Whatever puts averages or earlier values in the place of weights, zeros stay.

The zeros are compared with those of the same training without moving averages,
which are the exact zeros of the iterates.
"""

import keras
import numpy as np
import pytest
from thorough import few_of

import kreg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 10)).astype("float32")
Y = X[:, :1] - 0.5 * X[:, 1:2]
EPOCHS = 12
AVERAGES = {"use_ema": True, "ema_momentum": 0.9}
OPTIMIZERS = {
    "sgd": lambda **kw: keras.optimizers.SGD(0.1, **kw),
    "momentum": lambda **kw: keras.optimizers.SGD(0.02, momentum=0.9, **kw),
    "adam": lambda **kw: keras.optimizers.Adam(0.02, **kw),
    "rmsprop": lambda **kw: keras.optimizers.RMSprop(0.01, **kw),
    "accumulated": lambda **kw: keras.optimizers.SGD(
        0.1, gradient_accumulation_steps=2, **kw
    ),
}
PENALTIES = {
    "l1": lambda: kreg.L1(0.3),
    "group": lambda: kreg.GroupLasso(0.3, "inputs"),
    "mcp": lambda: kreg.MCP(0.3, gamma=5.0),
}


def network(penalty, optimizer, wrap=kreg.ProximalOptimizer):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(2, kernel_regularizer=penalty, name="last")
    model = keras.Sequential([keras.Input((10,)), layer])
    model.compile(wrap(optimizer), "mse")
    kreg.bind(model)
    return model


class Zeros(keras.callbacks.Callback):
    """Where the kernel is zero at the ends of epochs and in validation."""

    def __init__(self):
        super().__init__()
        self.epochs, self.tests = [], []

    def zeros(self):
        return self.model.get_weights()[0] == 0.0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.zeros())

    def on_test_begin(self, logs=None):
        self.tests.append(self.zeros())


def fit(model, *callbacks):
    seen = Zeros()
    model.fit(
        X,
        np.repeat(Y, 2, axis=1),
        batch_size=16,
        epochs=EPOCHS,
        shuffle=False,
        validation_data=(X, np.repeat(Y, 2, axis=1)),
        callbacks=[*callbacks, seen],
        verbose=0,
    )
    return seen, model.get_weights()[0] == 0.0


CALLBACKS = {
    "none": list,
    "in validation": lambda: [keras.callbacks.SwapEMAWeights()],
    "on epochs": lambda: [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
}


@pytest.mark.thorough
@pytest.mark.parametrize("callbacks", few_of(CALLBACKS, "on epochs"))
@pytest.mark.parametrize(
    ("optimizer", "penalty"),
    [
        ("sgd", "l1"),
        *(
            pytest.param(optimizer, penalty, marks=pytest.mark.thorough)
            for optimizer in OPTIMIZERS
            for penalty in PENALTIES
            if (optimizer, penalty) != ("sgd", "l1")
        ),
    ],
)
def test_averages_have_the_zeros_of_the_iterates(optimizer, penalty, callbacks):
    make, penalty = OPTIMIZERS[optimizer], PENALTIES[penalty]
    expected, final = fit(network(penalty(), make()))
    assert 0 < final.sum() < final.size
    seen, zeros = fit(
        network(penalty(), make(**AVERAGES)), *CALLBACKS[callbacks]()
    )
    np.testing.assert_array_equal(zeros, final)
    np.testing.assert_array_equal(seen.epochs, expected.epochs)
    np.testing.assert_array_equal(seen.tests, expected.tests)


def one_of_several(optimizer):
    """The optimizer updates the kernel, and a plain one the bias."""
    members = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1))
    members[".*kernel"] = optimizer
    return kreg.ProximalOptimizer(keras.optimizers.MultiOptimizer(members))


def with_scaled_loss(optimizer):
    return keras.optimizers.LossScaleOptimizer(
        kreg.ProximalOptimizer(optimizer), initial_scale=64.0
    )


@pytest.mark.thorough
@pytest.mark.parametrize("callbacks", few_of(CALLBACKS, "on epochs"))
@pytest.mark.parametrize(
    "wrap", few_of([one_of_several, with_scaled_loss], one_of_several)
)
def test_averages_inside_other_optimizers(wrap, callbacks):
    make = OPTIMIZERS["sgd"]
    expected, final = fit(network(kreg.L1(0.3), make(), wrap))
    model = network(kreg.L1(0.3), make(**AVERAGES), wrap)
    seen, zeros = fit(model, *CALLBACKS[callbacks]())
    np.testing.assert_array_equal(zeros, final)
    np.testing.assert_array_equal(seen.epochs, expected.epochs)
    np.testing.assert_array_equal(seen.tests, expected.tests)


def masked_average(values, momentum):
    """The average of `values`, which starts anew where a value is zero."""
    average = values[0]
    for value in values[1:]:
        average = momentum * average + (1 - momentum) * value
        average = np.where(value == 0.0, 0.0, average)
    return average


class Weights(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(self.model.get_weights()[0].astype("float64"))


@pytest.mark.thorough
@pytest.mark.parametrize("swap", [False, True])
def test_average_is_that_of_the_iterates_since_their_last_zero(swap):
    weights = Weights()
    callbacks = [weights]
    if swap:
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    model = network(kreg.L1(0.3), OPTIMIZERS["sgd"](**AVERAGES))
    fit(model, *callbacks)
    np.testing.assert_allclose(
        model.get_weights()[0],
        masked_average(weights.values, 0.9),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.thorough
@pytest.mark.parametrize("callbacks", few_of(CALLBACKS, "on epochs"))
def test_averages_have_the_zeros_of_a_frozen_support(callbacks):
    model = network(kreg.L1(0.3), OPTIMIZERS["adam"](**AVERAGES))
    kernel, bias = model.get_weights()
    kernel[::2] = 0.0
    model.set_weights([kernel, bias])
    kreg.freeze_support(model)
    seen, zeros = fit(model, *CALLBACKS[callbacks]())
    for found in (zeros, *seen.epochs, *seen.tests):
        np.testing.assert_array_equal(found, kernel == 0.0)


@pytest.mark.thorough
@pytest.mark.parametrize("swap", few_of([False, True], True))
def test_checkpoints_of_averages_hold_the_zeros(swap, tmp_path):
    path = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.SwapEMAWeights(swap_on_epoch=swap),
        keras.callbacks.ModelCheckpoint(path),
    ]
    model = network(kreg.L1(0.3), OPTIMIZERS["sgd"](**AVERAGES))
    seen, _ = fit(model, *callbacks)
    loaded = keras.models.load_model(path).get_weights()[0]
    np.testing.assert_array_equal(loaded == 0.0, seen.epochs[-1])
    assert (loaded == 0.0).any()


class SetWeights(keras.callbacks.Callback):
    """Puts other weights in the place of the model's, in a middle epoch."""

    def __init__(self, weights, epoch):
        super().__init__()
        self.weights, self.epoch = weights, epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.set_weights(self.weights)


@pytest.mark.thorough
@pytest.mark.parametrize("epoch", few_of([3, EPOCHS - 1], 3))
@pytest.mark.parametrize("averaged", [False, True])
def test_weights_that_a_callback_sets_keep_their_zeros(epoch, averaged):
    kernel = RNG.normal(size=(10, 2)).astype("float32")
    kernel[::2] = 0.0
    arguments = AVERAGES if averaged else {}
    model = network(kreg.L1(0.3), OPTIMIZERS["sgd"](**arguments))
    seen, zeros = fit(model, SetWeights([kernel, np.zeros(2)], epoch))
    np.testing.assert_array_equal(seen.epochs[epoch], kernel == 0.0)
    # Those of the last epoch stay; those of an earlier one train on.
    assert zeros[kernel == 0.0].all() or epoch < EPOCHS - 1
    assert zeros.sum() > 0


@pytest.mark.parametrize("averaged", few_of([False, True], True))
@pytest.mark.parametrize("restored", few_of([1, 5, EPOCHS - 1], 5))
def test_restored_best_weights_have_the_zeros_of_their_epoch(
    restored, averaged
):
    class Best(keras.callbacks.Callback):
        """Makes an epoch the best."""

        def on_epoch_end(self, epoch, logs=None):
            logs["figure"] = abs(epoch - restored)

    arguments = AVERAGES if averaged else {}
    model = network(kreg.L1(0.3), OPTIMIZERS["sgd"](**arguments))
    stopping = keras.callbacks.EarlyStopping(
        "figure", mode="min", patience=EPOCHS, restore_best_weights=True
    )
    seen, zeros = fit(model, Best(), stopping)
    np.testing.assert_array_equal(zeros, seen.epochs[restored])


@pytest.mark.thorough
def test_checkpoint_loaded_in_the_middle_brings_its_zeros(tmp_path):
    path = tmp_path / "model.weights.h5"

    def save_and_load(epoch, logs):
        if epoch == 5:
            model.save_weights(path)
        if epoch == 8:
            model.load_weights(path)

    model = network(kreg.L1(0.3), OPTIMIZERS["sgd"](**AVERAGES))
    callback = keras.callbacks.LambdaCallback(on_epoch_end=save_and_load)
    seen, zeros = fit(model, callback)
    np.testing.assert_array_equal(seen.epochs[8], seen.epochs[5])
    # It has trained for three epochs less.
    np.testing.assert_array_equal(zeros, seen.epochs[EPOCHS - 1])
    np.testing.assert_array_equal(seen.epochs[-1], seen.epochs[-1 - 3])
