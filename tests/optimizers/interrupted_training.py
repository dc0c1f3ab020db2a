"""A training that may be killed and started again, run as a program.

Run with: python interrupted_training.py BACKUP_FOLDER RESULT_FILE

Prints a line after each batch, then sleeps a little, so that whoever reads the
lines can kill it between two batches. Saves its weights at the end.
"""

import sys
import time

import keras
import numpy as np

import kreg

EPOCHS, BATCHES = 6, 8


class Report(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        print("begin", flush=True)

    def on_train_batch_end(self, batch, logs=None):
        print("batch", flush=True)
        time.sleep(0.02)


def main(backup, result):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16 * BATCHES, 12)).astype("float32")
    y = x[:, :3] @ rng.normal(size=(3, 2)).astype("float32")
    ramp = kreg.schedules.LinearRamp(0.0, 0.05, steps=EPOCHS * BATCHES - 10)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(
                8, activation="relu", kernel_regularizer=kreg.L1(ramp)
            ),
            keras.layers.Dense(
                2, kernel_regularizer=kreg.GroupLasso(ramp, "inputs")
            ),
        ]
    )
    model.compile(kreg.ProximalOptimizer(keras.optimizers.Adam(0.03)), "mse")
    kreg.bind(model)
    model.fit(
        x,
        y,
        batch_size=16,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.BackupAndRestore(backup, save_freq="epoch"),
            Report(),
        ],
    )
    np.savez(result, *model.get_weights())


if __name__ == "__main__":
    main(*sys.argv[1:])
