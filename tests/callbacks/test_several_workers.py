"""Only one of several workers writes."""

import json
import os
import socket
import subprocess
import sys

import pytest

WORKER = """
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras
from kreg.callbacks._regularization_monitor import is_chief
with strategy.scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
print("chief:", is_chief(model))
"""


def free_ports(number):
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("localhost", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.mark.tensorflow
@pytest.mark.slow
def test_first_of_two_workers_is_the_chief():
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        workers.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER],
                env={**os.environ, "TF_CONFIG": config},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
    try:
        answers = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [a.strip() for a in answers] == ["chief: True", "chief: False"]
