"""Surgery while a distribution of Keras is set, on four devices of JAX."""

import json
import os
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="is about JAX"
)

PROGRAM = """
import json, sys, pathlib
import keras, numpy as np
import kreg

D = keras.distribution
mesh = D.DeviceMesh((2, 2), ["batch", "model"], D.list_devices())
layouts = D.LayoutMap(mesh)
layouts[".*kernel"] = (None, "model")
layouts[".*bias"] = ("model",)
layouts["both/kernel"] = ("batch", "model")
D.set_distribution(
    D.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    if sys.argv[1] == "ModelParallel"
    else D.DataParallel(devices=D.list_devices())
)
x = np.random.default_rng(0).normal(size=(8, 12)).astype("float32")
y = np.ones((8, 4), "float32")
model = keras.Sequential([
    keras.Input((12,)),
    keras.layers.Dense(8, activation="relu", name="hidden"),
    keras.layers.Dense(8, activation="relu", name="both"),
    keras.layers.Dense(4, name="last"),
], name="net")
kreg.attach(model, kreg.L1(1e-3))
model.compile(kreg.ProximalOptimizer(keras.optimizers.SGD(0.01)), "mse")
model.fit(x, y, epochs=2, verbose=0)
weights = model.get_weights()
weights[0][:, 1:] = 0.0
weights[1][1:] = 0.3
model.set_weights(weights)
result = {}
for round_to in (1, 2, 4):
    small = kreg.compact(model, round_to=round_to)
    result[round_to] = [list(v.shape) for v in small.weights]
    difference = model.predict(x, verbose=0) - small.predict(x, verbose=0)
    result["difference"] = float(abs(difference).max())
    small.compile("adam", "mse")
    small.fit(x, y, verbose=0)  # on the devices, as the model was
record = kreg.export(model, "net.keras", "keras", compact=True)
result["exported"] = record.largest_difference
kreg.export(model, "whole.keras", "keras")
kreg.freeze_support(model)
model.fit(x, y, verbose=0)
result["zeros"] = int((model.get_weights()[0] == 0).sum())
result["stripped"] = len(kreg.strip(model))
model.fit(x, y, verbose=0)
print(json.dumps(result))
"""


@pytest.mark.parametrize("kind", ["ModelParallel", "DataParallel"])
def test_surgery_under_a_distribution(kind, tmp_path):
    flags = "--xla_force_host_platform_device_count=4"
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "XLA_FLAGS": flags},
    ).stdout
    result = json.loads(printed.splitlines()[-1])
    for units in (1, 2, 4):
        assert result[str(units)][:3] == [[12, units], [units], [units, 8]]
    assert result["difference"] < 1e-5
    assert result["exported"] < 1e-5
    assert result["zeros"] >= 12 * 7
    assert result["stripped"] >= 5
