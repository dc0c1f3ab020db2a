"""The peer of `path.py`: a path of LassoNet, on PyTorch.

Runs in an environment of its own, in a process that `path.py` starts:

    python -m venv peer
    peer/bin/pip install torch lassonet

Reads a job as JSON from standard input and prints a result for each path as a
line of JSON that starts with `result: `. Only `path()` is timed, not the start
of the process.
"""

import json
import sys
import time
import warnings

import numpy as np
import torch
from lassonet import LassoNetClassifier


def run(job, data, multiplier):
    """A path with LassoNet's own stopping, with the accuracy of each point."""
    peer = LassoNetClassifier(
        hidden_dims=(job["hidden"],),
        path_multiplier=multiplier,
        verbose=0,
        torch_seed=job["seed"],
    )
    start = time.perf_counter()
    history = peer.path(
        data["x_train"],
        data["y_train"],
        X_val=data["x_val"],
        y_val=data["y_val"],
        return_state_dicts=True,
    )
    seconds = time.perf_counter() - start
    points = []
    for item in history:
        peer.load(item)
        right = peer.predict(data["x_test"]) == data["y_test"]
        points.append(
            {
                "inputs": int(item.selected.sum()),
                "loss": item.val_loss,
                "accuracy": float(np.mean(right)),
                "steps": item.n_iters,
            }
        )
    return {"multiplier": multiplier, "seconds": seconds, "points": points}


def main():
    job = json.load(sys.stdin)
    warnings.filterwarnings("ignore", message=".*might be too large")
    torch.set_num_threads(job["threads"])
    with np.load(job["split"]) as data:
        data = dict(data)
    for multiplier in job["multipliers"]:
        print("result: " + json.dumps(run(job, data, multiplier)), flush=True)


if __name__ == "__main__":
    main()
