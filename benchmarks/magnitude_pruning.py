"""The peer of other benchmarks: magnitude pruning on Keras 2.

Runs in an environment of its own, in a process that `sparsity_accuracy.py` or
`compaction.py` starts:

    python -m venv peer
    peer/bin/pip install tensorflow tf_keras tensorflow-model-optimization

Reads a job as JSON from standard input and prints a result for each run as a
line of JSON that starts with `result: `. If the job names a file for `litert`,
with `{seed}` in it, the networks are written there. If it names a number of
`falling_rate_epochs`, the learning rate falls as a cosine in so many at the
end.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

prune = tfmot.sparsity.keras


def network():
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(300, activation="relu"),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that falls as a cosine in the last steps, after a constant."""

    def __init__(self, rate, start, steps):
        self._start = start
        self._fall = keras.optimizers.schedules.CosineDecay(rate, steps)

    def __call__(self, step):
        after = tf.maximum(tf.cast(step, tf.float32) - self._start, 0.0)
        return self._fall(after)


class EpochTimes(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def train(job, data, seed, target):
    """Accuracy, sparsity of the kernels and median seconds of an epoch."""
    keras.utils.set_random_seed(seed)
    steps = -(-len(data["x_train"]) // job["batch_size"])
    model, callbacks = network(), []
    if target:
        schedule = prune.PolynomialDecay(
            initial_sparsity=0.0,
            final_sparsity=target,
            begin_step=job["warm_epochs"] * steps,
            end_step=(job["warm_epochs"] + job["ramp_epochs"]) * steps,
            frequency=100,
        )
        model = prune.prune_low_magnitude(model, pruning_schedule=schedule)
        callbacks.append(prune.UpdatePruningStep())
    rate, falling = job["learning_rate"], job.get("falling_rate_epochs", 0)
    if falling:
        rate = Falling(rate, (job["epochs"] - falling) * steps, falling * steps)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    times = EpochTimes()
    model.fit(
        data["x_train"],
        data["y_train"],
        batch_size=job["batch_size"],
        epochs=job["epochs"],
        verbose=0,
        callbacks=[*callbacks, times],
    )
    if target:
        model = prune.strip_pruning(model)
    if "litert" in job:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        path = Path(job["litert"].format(seed=seed))
        path.write_bytes(converter.convert())
    logits = model.predict(data["x_test"], batch_size=1000, verbose=0)
    kernels = [w for w in model.get_weights() if w.ndim == 2]
    return {
        "accuracy": float(np.mean(logits.argmax(1) == data["y_test"])),
        "sparsity": sum(int((w == 0).sum()) for w in kernels)
        / sum(w.size for w in kernels),
        "epoch_seconds": float(np.median(times.seconds)),
    }


def main():
    job = json.load(sys.stdin)
    tf.get_logger().setLevel("ERROR")
    with np.load(job["split"]) as data:
        data = dict(data)
    for seed in job["seeds"]:
        for target in job["targets"]:
            result = train(job, data, seed, target)
            line = {"seed": seed, "target": target, **result}
            print("result: " + json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
