"""Loads each model of a folder where kreg cannot be imported.

Prints a JSON object: for each file, max |difference| / max |output| between
what it predicts and the arrays saved beside it.
"""

import json
import sys
from pathlib import Path

sys.modules["kreg"] = None  # type: ignore[assignment]

import keras  # noqa: E402
import numpy as np  # noqa: E402
from surgery import compaction_graphs  # noqa: E402, F401 (custom layers)
from surgery.random_weights import (  # noqa: E402
    largest_difference,
    outputs,
    some_inputs,
)


def difference(file):
    model = keras.models.load_model(file)
    arrays = np.load(file.with_suffix(".npz"))
    x = [arrays[name] for name in arrays if name.startswith("x")]
    y = [arrays[name] for name in arrays if name.startswith("y")]
    x = keras.tree.pack_sequence_as(some_inputs(model), x)
    return float(largest_difference(outputs(model, x), y))


if __name__ == "__main__":
    files = sorted(Path(sys.argv[1]).glob("*.keras"))
    print(json.dumps({file.stem: difference(file) for file in files}))
