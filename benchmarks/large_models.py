"""Time and memory of `kreg.compact` on models of about 100 M parameters.

Random weights, in which a quarter of the hidden units is zero, and a quarter of
the heads where attention is Keras's own. Each model is made smaller in a
process of its own, with all that belongs to it: the analysis, the rebuilding,
and the check that the smaller model computes the same, can be saved and loaded
and computes the same again. Memory is that of the process, before the call and
at its peak.

Run with:
    python benchmarks/large_models.py [--models gpt2 encoder vgg vit]
        [--profile]
"""

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.table import Table

import kreg

GIGABYTE_OF_KILOBYTES = 1e6


def gpt2():
    """GPT-2 of KerasHub, with the sizes of the smallest one."""
    import keras_hub

    return keras_hub.models.GPT2Backbone(50257, 12, 12, 768, 3072)


def encoder():
    """A functional transformer of the size of BERT."""
    tokens = keras.Input((128,), dtype="int32")
    x = layers.Embedding(30522, 768)(tokens)
    for _ in range(12):
        h = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(12, 64)(h, h)
        h = layers.LayerNormalization()(x)
        x = x + layers.Dense(768)(layers.Dense(3072, "gelu")(h))
    return keras.Model(tokens, layers.Dense(2)(x[:, 0]))


def vgg():
    """VGG16 of keras.applications, for images of 224 x 224."""
    return keras.applications.VGG16(weights=None)


def vit():
    """ViT-B/16 of KerasHub, for images of 224 x 224."""
    import keras_hub

    return keras_hub.models.ViTBackbone((224, 224, 3), 16, 12, 12, 768, 3072)


MODELS = {make.__name__: make for make in (gpt2, encoder, vgg, vit)}


def without_a_quarter(model):
    """Set a quarter of the hidden units and of the heads to zero."""
    for layer in model._flatten_layers():
        if type(layer) is layers.MultiHeadAttention:
            kernel = layer.output_dense.kernel
            axis = 0
        elif isinstance(layer, layers.Dense | layers.Conv2D):
            kernel = layer.kernel
            if kernel.shape[-1] < kernel.shape[-2]:
                continue  # back to the width of the network
            axis = -1
        else:
            continue
        values = np.moveaxis(np.array(kernel), axis, 0)
        values[: len(values) // 4] = 0.0
        kernel.assign(np.moveaxis(values, 0, axis))


def resident():
    """Memory of this process now, in kilobytes."""
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1])


def measured(name, profile):
    """Seconds, memory and parameters of one model, in this process."""
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    without_a_quarter(model)
    before = resident()
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    start, started = time.perf_counter(), time.process_time()
    small, compaction = kreg.compact(model, return_compaction=True)
    seconds = time.perf_counter() - start
    busy = time.process_time() - started
    profiler.disable()
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats(
            "cumulative"
        ).print_stats(60)
    return {
        "seconds": [seconds, busy],
        "before": before / GIGABYTE_OF_KILOBYTES,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / GIGABYTE_OF_KILOBYTES,
        "parameters": [model.count_params(), small.count_params()],
        "classes": [type(model).__name__, type(small).__name__],
        "notes": compaction.notes,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.profile)))
        return
    table = Table(title="kreg.compact, each in a process of its own")
    for heading in (
        *("model", "parameters", "class", "seconds", "of processors"),
        *("memory before", "peak"),
    ):
        table.add_column(heading, justify="right")
    for name in options.models:
        done = subprocess.run(
            [sys.executable, __file__, "--one", name]
            + ["--profile"] * options.profile,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        print(name, *found["notes"], file=sys.stderr, sep="\n  ")
        table.add_row(
            name,
            "{:,} -> {:,}".format(*found["parameters"]),
            "{} -> {}".format(*found["classes"]),
            *(f"{seconds:.0f}" for seconds in found["seconds"]),
            f"{found['before']:.1f} GB",
            f"{found['peak']:.1f} GB",
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
