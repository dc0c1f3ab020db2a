"""kreg prints no line of TensorFlow's that plain Keras would not print."""

import os
import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

START = """
import sys, tempfile, warnings
import numpy as np
import keras

x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = x[:, :1]


def built(optimizer="adam", **regularized):
    keras.utils.clear_session(free_memory=False)
    model = keras.Sequential([
        keras.Input((8,)),
        keras.layers.Dense(200, activation="relu", **regularized),
        keras.layers.Dense(200, **regularized),
        keras.layers.Dense(1),
    ])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model
"""
PLAIN = """
for _ in range({models}):
    built().fit(x, y, epochs=2, verbose=0)
"""
KREG = """
import kreg


def sparse():
    return built(
        kreg.ProximalOptimizer("adam"), kernel_regularizer=kreg.L1(1e-3)
    )


for _ in range({models}):
    model = sparse()
    {body}
"""
# What is done with each of many models.
BODIES = {
    "train": "kreg.bind(model); model.fit(x, y, epochs=2, verbose=0)",
    "monitor": (
        "model.fit(x, y, epochs=2, verbose=0, callbacks=["
        "kreg.RegularizationMonitor(tempfile.mkdtemp(), 1, "
        "histogram_freq=1, image_freq=1, check=False)])"
    ),
    "TargetSparsity": (
        "warnings.simplefilter('ignore'); "
        "model.fit(x, y, epochs=2, verbose=0, callbacks=["
        "kreg.TargetSparsity(0.5)])"
    ),
    "summary": "a = [kreg.summary(model) for _ in range(3)]",
    "read": "a = [kreg.statistics.read(model) for _ in range(3)]",
    "check": "a = [kreg.check(model) for _ in range(3)]",
    "penalties": "a = [kreg.penalties(model) for _ in range(3)]",
    "strength_max": "kreg.strength_max(model, (x, y))",
    "deploy_report": "kreg.deployment.deploy_report(model, runs=2)",
    "deploy_report of data": (
        "kreg.deployment.deploy_report("
        "built(), model, (x, y), sample=x[:1], runs=2)"
    ),
    "export": "kreg.export(model, tempfile.mkdtemp() + '/model')",
    "export to LiteRT": (
        "kreg.export(model, tempfile.mkdtemp() + '/model.tflite', "
        "format='litert')"
    ),
    "compact": (
        "w = model.get_weights(); w[0][:, :9] = 0; w[1][:9] = 0; "
        "model.set_weights(w); kreg.compact(model)"
    ),
    "path": (
        "kreg.path(built, (x, y), kreg.L1, [1e-2, 1e-3], training="
        "kreg.selection.Training(epochs=2), verbose=0)"
    ),
}
# What TensorFlow tells when it starts differs from machine to machine, and
# process numbers are padded to one width.
NUMBERS = re.compile(r" *(0x[0-9a-f]+|\d+)")


def lines_of(code, interactive=False):
    """The lines that a program writes, without numbers, to either stream."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "TF_CPP_MIN_LOG_LEVEL"
    }
    # TensorFlow tells more in a session that has a prompt.
    prompt = "import sys; sys.ps1 = '>'" if interactive else ""
    done = subprocess.run(
        [sys.executable, "-c", prompt + START + code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return {NUMBERS.sub("0", line) for line in lines}


@pytest.fixture(scope="module")
def plain():
    return lines_of(PLAIN.format(models=10))


def is_own(name, line):
    """Whether a line is what the function is for."""
    return name == "summary" and not re.match(r"[IWEF]0|WARNING|INFO", line)


@pytest.mark.parametrize("name", BODIES)
def test_nothing_is_told_of_ten_models(name, plain):
    found = lines_of(KREG.format(models=10, body=BODIES[name]))
    assert not {line for line in found - plain if not is_own(name, line)}


@pytest.mark.parametrize("name", ["deploy_report", "export", "monitor"])
def test_nothing_is_told_in_an_interactive_session(name, plain):
    found = lines_of(KREG.format(models=2, body=BODIES[name]), True)
    assert not found - plain
