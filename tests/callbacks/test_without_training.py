"""Callbacks in a `fit` without any training, and in loops of the user's own."""

import itertools

import keras
import numpy as np
import pytest
from event_files import events

import kreg

X, Y = np.eye(8, 3, dtype="float32"), np.ones((8, 1), "float32")
MAKERS = {
    "monitor": lambda folder: kreg.RegularizationMonitor(folder, check=False),
    "scheduler": lambda folder: kreg.callbacks.StrengthScheduler(
        lambda epoch: 3.0
    ),
    "target": lambda folder: kreg.TargetSparsity(0.5),
}


def model_of(multiplier=3.0):
    penalty = kreg.L1(1e-3, multiplier=multiplier)
    layer = keras.layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(kreg.ProximalOptimizer("sgd"), "mse")
    kreg.bind(model)
    return model


def no_epoch(model, callback):
    model.fit(X, Y, epochs=0, verbose=0, callbacks=[callback])


def no_epoch_left(model, callback):
    model.fit(X, Y, epochs=3, initial_epoch=3, verbose=0, callbacks=[callback])


def no_batch(model, callback):
    callback.set_params({"epochs": 1, "steps": 0})
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {})
    callback.on_train_end()


WITHOUT_TRAINING = [no_epoch, no_epoch_left, no_batch]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("run", WITHOUT_TRAINING)
def test_nothing_is_said_or_changed_without_training(run, name, tmp_path):
    model = model_of()
    before = model.get_weights()
    run(model, MAKERS[name](tmp_path))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.layers[0].kernel_regularizer.multiplier == 3.0


@pytest.mark.filterwarnings("ignore:TargetSparsity", "ignore:`log_dir`")
@pytest.mark.parametrize("name", MAKERS)
def test_a_callback_serves_a_fit_after_one_that_failed(name, tmp_path):
    def broken():
        raise RuntimeError("no data")
        yield

    model, callback = model_of(), MAKERS[name](tmp_path)
    with pytest.raises(RuntimeError, match="no data"):
        model.fit(broken(), shuffle=False, verbose=0, callbacks=[callback])
    model.fit(X, Y, verbose=0, callbacks=[callback])
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 1


@pytest.mark.filterwarnings("ignore:TargetSparsity")
def test_a_training_too_short_for_a_strength_leaves_the_penalty_on():
    model = model_of()
    model.fit(X, Y, verbose=0, callbacks=[kreg.TargetSparsity(0.9)])
    assert model.layers[0].kernel_regularizer.multiplier == 3.0


EPOCHS, BATCHES = 2, 3
LENGTH = {"epochs": EPOCHS, "steps": BATCHES}


def alone(callback, model, params):
    if params:
        callback.set_params(params)
    callback.set_model(model)
    return callback


def listed(callback, model, params, add_history=False):
    return keras.callbacks.CallbackList(
        [callback], add_history=add_history, model=model, **params
    )


def listed_with_history(callback, model, params):
    return listed(callback, model, params, add_history=True)


def loop(callbacks, model):
    callbacks.on_train_begin()
    for epoch in range(EPOCHS):
        callbacks.on_epoch_begin(epoch)
        for batch in range(BATCHES):
            callbacks.on_train_batch_begin(batch)
            model.train_on_batch(X, Y)
            callbacks.on_train_batch_end(batch)
        callbacks.on_epoch_end(epoch)
    callbacks.on_train_end()


HOLDERS = [alone, listed, listed_with_history]
PARAMS = {"without params": {}, "with params": LENGTH}
LOOPS = list(itertools.product(HOLDERS, PARAMS))


def never_fitted(model):
    pass


def with_an_old_history(model):
    keras.callbacks.CallbackList([], add_history=True, model=model)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:Regularization")
@pytest.mark.parametrize("before", [never_fitted, with_an_old_history])
@pytest.mark.parametrize(("holder", "params"), LOOPS)
def test_the_monitor_logs_a_loop_to_its_end(holder, params, before, tmp_path):
    model = model_of()
    before(model)
    monitor = kreg.RegularizationMonitor(tmp_path, check=False)
    loop(holder(monitor, model, PARAMS[params]), model)
    points = events(tmp_path / "train")["kreg/l1_norm"]
    assert [step for step, _ in points] == [0, BATCHES, EPOCHS * BATCHES]


@pytest.mark.parametrize(("holder", "params"), LOOPS)
def test_the_scheduler_serves_a_loop(holder, params):
    model = model_of()
    scheduler = kreg.callbacks.StrengthScheduler(lambda epoch: epoch + 5.0)
    loop(holder(scheduler, model, PARAMS[params]), model)
    assert model.layers[0].kernel_regularizer.multiplier == EPOCHS + 4.0


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="on JAX, such a loop ends without the warning",
)
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_target_serves_a_loop_whose_length_it_knows(holder):
    model = model_of()
    target = kreg.TargetSparsity(0.9, stop_at_target=False)
    with pytest.warns(UserWarning, match="6 updates were too few"):
        loop(holder(target, model, LENGTH), model)


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_target_refuses_a_loop_of_unknown_length(holder):
    model = model_of()
    callbacks = holder(kreg.TargetSparsity(0.5), model, {})
    with pytest.raises(ValueError, match="`params` must hold the number of e"):
        loop(callbacks, model)


def test_a_loop_may_follow_one_that_failed_in_its_directory(tmp_path):
    model = model_of()
    model.fit(X, Y, verbose=0)
    failed = alone(kreg.RegularizationMonitor(tmp_path), model, {})
    failed.on_train_begin()
    monitor = kreg.RegularizationMonitor(tmp_path, check=False)
    loop(alone(monitor, model, {}), model)
    points = events(tmp_path / "train")["kreg/l1_norm"]
    assert points[-1][0] == 1 + EPOCHS * BATCHES
