"""A steered training that may be killed and started again, run as a program.

Run with: python interrupted_training.py BACKUP_FOLDER RESULT_FILE

Prints a line after each batch, then sleeps a little, so that whoever reads the
lines can kill it between two batches. Saves its weights and multipliers at the
end.
"""

import sys
import time

import keras
import numpy as np

import kreg

EPOCHS, BATCHES = 10, 8


class Report(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print("batch", flush=True)
        time.sleep(0.01)


def build():
    """A model with penalties on a ramp, for a scheduler, and for a target."""
    keras.utils.set_random_seed(0)
    ramp = kreg.schedules.LinearRamp(0.0, 0.01, steps=EPOCHS * BATCHES - 10)
    steered = kreg.L1(1e-3)
    layers = [
        keras.layers.Dense(
            8, activation="relu", name="target", kernel_regularizer=steered
        ),
        keras.layers.Dense(
            8, "relu", name="scheduler", kernel_regularizer=kreg.L1(1e-4)
        ),
        keras.layers.Dense(
            2, name="ramp", kernel_regularizer=kreg.GroupLasso(ramp, "inputs")
        ),
    ]
    model = keras.Sequential([keras.Input((12,)), *layers], name="net")
    adam = keras.optimizers.Adam(0.03, name="adam")
    model.compile(kreg.ProximalOptimizer(adam), "mse")
    return model


def callbacks_of(model):
    """The callbacks that steer the strengths of two of the three layers."""
    first, second, _ = model.layers
    return [
        kreg.TargetSparsity(0.7, [first], stop_at_target=False),
        kreg.callbacks.StrengthScheduler(
            lambda epoch, multiplier: 1.3 * multiplier, [second]
        ),
    ]


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16 * BATCHES, 12)).astype("float32")
    return x, x[:, :3] @ rng.normal(size=(3, 2)).astype("float32")


def main(backup, result):
    model = build()
    model.fit(
        *data(),
        batch_size=16,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.BackupAndRestore(backup, save_freq="epoch"),
            *callbacks_of(model),
            Report(),
        ],
    )
    multipliers = [v.kernel_regularizer.multiplier for v in model.layers]
    np.savez(result, *model.get_weights(), multipliers=multipliers)


if __name__ == "__main__":
    main(*sys.argv[1:])
