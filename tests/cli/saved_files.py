"""Models in files, and runs of the command in this process."""

import io
import re
import sys
from contextlib import redirect_stdout, suppress

import keras
import numpy as np
from keras import layers

import kreg
from kreg.cli import main

RNG = np.random.default_rng(0)


def network(width=16):
    """A small network under kreg's penalties; every second unit is dead."""
    model = keras.Sequential(
        [
            keras.Input((8,), name="features"),
            layers.Dense(
                width,
                activation="relu",
                kernel_regularizer=kreg.GroupLasso(1e-3),
                name="hidden",
            ),
            layers.Dense(3, kernel_regularizer=kreg.L1(1e-3), name="last"),
        ],
        name="net",
    )
    model.layers[0].bias.assign(RNG.normal(size=width))
    return kill(model)


def kill(model):
    kernel = model.layers[0].kernel
    values = RNG.normal(size=kernel.shape)
    values[:, ::2] = 0.0
    kernel.assign(values)
    return model


def trained(width=16):
    """The small network with an optimizer that has a state."""
    model = network(width)
    model.compile(kreg.ProximalOptimizer("adam"), "mse")
    kreg.bind(model)
    model.fit(RNG.normal(size=(8, 8)), RNG.normal(size=(8, 3)), verbose=0)
    return kill(model)


def run(capsys, *arguments):
    """The exit status, standard output and standard error of a command."""
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def help_of(*words):
    """The help that `kreg ... --help` prints."""
    with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
        main([*words, "--help"])
    return out.getvalue()


COMMANDS = re.findall(r"^    ([a-z]+) ", help_of(), re.MULTILINE)
"""The names of all commands."""


def files_in(folder):
    """Every file below a folder, hidden ones too, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def process(*arguments):
    """The words that run the command in a process of its own."""
    return [sys.executable, "-m", "kreg", *map(str, arguments)]
