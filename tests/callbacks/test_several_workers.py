"""All of several workers read, and one of them writes."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from event_files import events

START = """
import json, pathlib, sys
import numpy as np
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras
import kreg

"""
CHIEF = """
from kreg.callbacks._regularization_monitor import is_chief

with strategy.scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
print(json.dumps(is_chief(model)))
"""
# On several workers Keras's `fit` fails where it builds a model that is built,
# and where it makes one number of the equal metrics of all replicas.
FIT = """
from keras.src.backend.tensorflow import trainer

keras.Sequential._maybe_symbolic_build = lambda model, **arguments: None
trainer.reduce_per_replica = lambda values, strategy, reduction: (
    tf.nest.map_structure(
        lambda one: strategy.experimental_local_results(one)[0], values
    )
)
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
with strategy.scope():
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(1, kernel_regularizer=kreg.L1(1e-3)),
    ])
    model.compile(kreg.ProximalOptimizer("sgd"), "mse")
data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(8)
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = (
    tf.data.experimental.AutoShardPolicy.DATA
)
monitor = kreg.RegularizationMonitor(
    sys.argv[1], 2, histogram_freq=1, add_to_logs=True, check=False
)
history = model.fit(
    data.with_options(options), epochs=2, verbose=0, callbacks=[monitor]
).history
print(json.dumps({name: list(map(float, history[name])) for name in history}))
"""


def free_ports(number):
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("localhost", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(code, *arguments):
    """What a program prints last on each of two workers, from JSON.

    Args:
        code: the program.
        arguments: for each worker, an argument of the program.
    """
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = []
    for index, argument in enumerate(arguments or ("", "")):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        workers.append(
            subprocess.Popen(
                [sys.executable, "-c", START + code, argument],
                env={**os.environ, "TF_CONFIG": config},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
    try:
        outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.mark.tensorflow
@pytest.mark.slow
def test_first_of_two_workers_is_the_chief():
    assert answers(CHIEF) == [True, False]


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_reading_within_an_epoch_is_of_all_workers(tmp_path):
    logs = [tmp_path / "first", tmp_path / "second"]
    first, second = answers(FIT, *map(str, logs))
    assert first == second
    assert not logs[1].exists()
    found = events(logs[0] / "train")
    assert [step for step, _ in found["kreg/sparsity"]] == [0, 2, 4, 6, 8]
    steps, losses = zip(*found["kreg/data_loss"], strict=True)
    assert steps == (2, 4, 6, 8)
    means = np.reshape(losses, (2, 2)).mean(axis=1)
    np.testing.assert_allclose(means, first["data_loss"], rtol=1e-5)
