"""Loads the models of a folder in a process that cannot import kreg.

Prints a JSON object: for each, max |difference| / max |output| between what it
predicts and the outputs saved beside it.
"""

import json
import pickle
import sys
from pathlib import Path

sys.modules["kreg"] = None  # type: ignore[assignment]

import keras  # noqa: E402
import numpy as np  # noqa: E402
from surgery import saved_models  # noqa: E402, F401 (custom layers)

if "--hub" in sys.argv:
    import keras_hub  # noqa: F401 (its layers)


def difference(file):
    model = keras.saving.load_model(file)
    x, expected = pickle.loads(file.with_suffix(".pickle").read_bytes())
    found = map(
        keras.ops.convert_to_numpy,
        keras.tree.flatten(model(x, training=False)),
    )
    return max(
        float(np.abs(a.astype("d") - b).max() / (np.abs(b).max() or 1))
        for a, b in zip(found, expected, strict=True)
    )


if __name__ == "__main__":
    files = sorted(Path(sys.argv[1]).glob("*.keras"))
    print(json.dumps({file.stem: difference(file) for file in files}))
