"""A warm-started path against cold starts, and against LassoNet.

The network has one hidden layer of 32 units. Its first kernel has a group
penalty, a group for each input. Its last kernel has a fixed L2 penalty, without
which the first could shrink and the last grow for ever. It is trained in full
batches by SGD with momentum. The strengths are the 30 that `kreg.path` chooses
itself: from `strength_max` of the dense network down to a thousandth of it.
Each point ends at an optimality residual of 1 % of the first gradient's norm.
The dense start counts as a part of the path.

Cold starts train a new network at each strength. Their steps are counted twice:
until the residual of the path is reached, and until the validation loss is also
at most 1 % above that of the path. (At the same residual a cold start is often
worse.) A cold start that does not get there is cut off at the cap and marked.
One that has lost all inputs will never get there and is given up.

LassoNet runs full batches, too, on the same splits, with its own stopping. It
runs once with steps of the strength by 1.2, which makes about as many points as
here, and once with its default of 1.02, which makes about ten times as many.
Runs take turns, and only the paths are timed, not the start of a process. Each
point of kreg with inputs left is compared in test accuracy with LassoNet's
point that has the nearest number of inputs; among several, the one with the
best validation loss. Pairs whose numbers differ by more than 2 do not count.

Run with:
    python benchmarks/path.py [--peer PYTHON] [--mnist MNIST_TRAIN.npz]
        [--seeds 0 1 2] [--threads 2]

on scikit-learn's digits, or on 10,000 rows of MNIST. PYTHON is the interpreter
of the peer's environment (see `lassonet_path.py`), which uses `--threads`
threads; with one it may be faster.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from path_cold_starts import against_cold_starts
from path_network import HIDDEN, build_model, part, split, warm_path
from peer import results_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

MULTIPLIERS = (1.2, 1.02)
APART = 2
OURS = "kreg.path"


def peer_paths(python, data, seed, threads):
    """LassoNet's paths, from a process in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "split.npz"
        np.savez(file, **data)
        job = {
            "split": str(file),
            "hidden": HIDDEN,
            "seed": seed,
            "threads": threads,
            "multipliers": MULTIPLIERS,
        }
        return results_of(python, "lassonet_path.py", job)


def test_points(result, data):
    """The number of inputs and the test accuracy of each point."""
    model = build_model(data["x_train"].shape[1])
    points = []
    for point, weights in zip(result.points, result.weights, strict=True):
        model.set_weights(weights)
        figures = model.evaluate(
            *part(data, "test"), batch_size=4096, verbose=0, return_dict=True
        )
        points.append((len(point.selected_inputs), figures["accuracy"]))
    return [(inputs, accuracy) for inputs, accuracy in points if inputs]


def beside(ours, theirs):
    """Points of kreg, each with LassoNet's of about as many inputs."""
    rows = []
    for inputs, accuracy in ours:
        nearest = min(
            theirs, key=lambda p: (abs(p["inputs"] - inputs), p["loss"])
        )
        if abs(nearest["inputs"] - inputs) <= APART:
            rows.append(
                (inputs, accuracy, nearest["inputs"], nearest["accuracy"])
            )
    return rows


def spread(values, digits):
    """The median and the range."""
    return (
        f"{np.median(values):.{digits}f} "
        f"({min(values):.{digits}f} to {max(values):.{digits}f})"
    )


def mean_interval(values):
    """Mean, and its 95 % interval by Student's distribution."""
    mean = np.mean(values)
    if len(values) < 2:
        return f"{mean:+.4f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})"


def against_lassonet(console, options):
    """Print seconds and test accuracies of all paths, over all splits."""
    runs = {}
    peers = [f"LassoNet, by {multiplier}" for multiplier in MULTIPLIERS]
    for seed in track(options.seeds, "paths"):
        data = split(options.mnist, seed)
        theirs = peer_paths(options.peer, data, seed, options.threads)
        for name, run in zip(peers, theirs, strict=True):
            points = run["points"]
            steps = sum(point["steps"] for point in points)
            runs.setdefault(name, []).append((run["seconds"], steps, points))
        result, steps, seconds = warm_path(
            data, seed, options.cap, tolerance=options.tolerance
        )
        points = test_points(result, data)
        runs.setdefault(OURS, []).append((seconds, steps, points))
    table = Table(title=f"Whole paths, {len(options.seeds)} splits")
    for heading in ("path", "points", "steps", "seconds"):
        table.add_column(heading, justify="right")
    for peer in peers:
        table.add_column(f"accuracy less {peer}", justify="right")
    for name, splits in runs.items():
        counts = [len(points) for _, _, points in splits]
        differences = [
            mean_interval(
                [
                    np.mean([row[1] - row[3] for row in beside(own, other)])
                    for (*_, own), (*_, other) in zip(
                        splits, runs[peer], strict=True
                    )
                ]
            )
            for peer in peers
            if name == OURS
        ]
        table.add_row(
            name,
            spread(counts, 0),
            spread([steps for _, steps, _ in splits], 0),
            spread([seconds for seconds, _, _ in splits], 2),
            *differences,
        )
    console.print(table)
    ours, default = runs[OURS][0][2], runs[peers[-1]][0][2]
    table = Table(title=f"Test accuracy, split {options.seeds[0]}")
    for heading in ("inputs", "kreg", "inputs", peers[-1]):
        table.add_column(heading, justify="right")
    for inputs, accuracy, near, other in beside(ours, default):
        table.add_row(f"{inputs}", f"{accuracy:.3f}", f"{near}", f"{other:.3f}")
    console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tolerance", type=float, default=1e-2)
    parser.add_argument("--cap", type=int, default=3200)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    console = Console(width=130)
    for seed in options.seeds:
        console.rule(f"split {seed}")
        data = split(options.mnist, seed)
        against_cold_starts(console, data, seed, options.cap, options.tolerance)
    if options.peer:
        against_lassonet(console, options)


if __name__ == "__main__":
    main()
