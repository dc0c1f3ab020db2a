"""Models of KerasHub whose blocks have lost different units and heads."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from surgery.saved_models import HUB
from surgery.traced_execution import Analysis
from thorough import few_of

import kreg

pytest.importorskip("keras_hub")

LOADER = Path(__file__).with_name("load_saved_models.py")
# Their own code cannot be followed, or KerasHub cannot load their layers; or
# Keras cannot load a layer that a functional and a nested model share.
KEPT = {"deberta", "bert_int8", "gpt2_lm"}
NAMES = sorted(set(HUB) - KEPT - {"bert_lora"})
LARGE = few_of(NAMES, "gpt2", "llama", rest=pytest.mark.exhaustive)


def thinned(model):
    """Draws all weights; each block loses other units, and other heads."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if "float" in variable.dtype and "seed" not in variable.path:
            w = rng.normal(size=variable.shape) * 0.3
            variable.assign(1 + w if variable.path.endswith("gamma") else w)
    wide = heads = 0
    for layer in model._flatten_layers():
        if not isinstance(layer, layers.Dense | layers.EinsumDense):
            continue
        kernel = np.array(layer.kernel)
        if kernel.ndim == 2 and kernel.shape[1] == 16 and kernel.shape[0] > 16:
            wide += 1
            kernel[: 2 + 3 * wide] = 0
        elif kernel.ndim == 3 and kernel.shape[::2] == (4, 16):
            heads += 1  # the first two share the head of keys, where any does
            kernel[: 2 * (heads % 2)] = 0
        layer.kernel.assign(kernel)


@pytest.mark.slow
# KerasHub's layers warn of what they do not support.
@pytest.mark.filterwarnings("ignore::UserWarning:keras")
@pytest.mark.parametrize("name", LARGE)
def test_each_block_loses_its_own_units_and_heads(name, tmp_path, capsys):
    keras.backend.clear_session()
    model, x = HUB[name]()
    thinned(model)
    expected = [
        keras.ops.convert_to_numpy(y).astype("d")
        for y in keras.tree.flatten(model(x, training=False))
    ]
    shapes = Analysis(model).changed
    small, record = kreg.compact(
        model, sample=x, keep_class=False, return_compaction=True
    )
    gone = sum(
        int(np.prod(before) - np.prod(after))
        for before, after in shapes.values()
    )
    with capsys.disabled():
        print(
            f"\n{name:16} {record.parameters_before:>7,} -> "
            f"{record.parameters_after:>7,}  {record.kind_before} -> "
            f"{record.kind_after}"
        )
    assert gone > 0
    assert small.count_params() <= model.count_params() - 0.8 * gone
    small.save(tmp_path / "small.keras")
    path = tmp_path / "small.pickle"
    path.write_bytes(pickle.dumps((x, expected)))
    found = subprocess.run(
        [sys.executable, str(LOADER), str(tmp_path), "--hub"],
        env={**os.environ, "PYTHONPATH": str(LOADER.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert json.loads(found.stdout.splitlines()[-1])["small"] < 1e-5
