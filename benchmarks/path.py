"""A warm-started path against cold starts, and against LassoNet if installed.

All of it on one split of scikit-learn's digits. The network has one hidden
layer; its first kernel has a group penalty for each input. Cold starts train
a new network at each strength until the optimality residual at which the path
stopped there, in full batches, or for as many passes as the path may make.

    python benchmarks/path.py
"""

import argparse
import time

import keras
import numpy as np
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kreg
from kreg.selection import PathResult, path

HIDDEN = 32


def split(seed):
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32")
    x, x_test, y, y_test = train_test_split(
        x, y, test_size=0.3, random_state=seed, stratify=y
    )
    x, x_val, y, y_val = train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=y
    )
    return (x, y), (x_val, y_val), (x_test, y_test)


def build_model():
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(HIDDEN, "relu", name="hidden"),
            keras.layers.Dense(10, "softmax", name="last"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def group_lasso(strength):
    return kreg.GroupLasso(strength, "inputs")


def run(train, validation, strengths, epochs, **arguments) -> PathResult:
    return path(
        build_model,
        train,
        (group_lasso, "hidden"),
        strengths,
        epochs=epochs,
        batch_size=None,
        validation_data=validation,
        verbose=0,
        **arguments,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=2000)
    parser.add_argument("--tolerance", type=float, default=3e-2)
    parser.add_argument("--cold", type=int, default=10)
    options = parser.parse_args()
    say = Console().print
    train, validation, test = split(0)
    start = time.perf_counter()
    strengths = np.geomspace(1e-4, 5e-3, options.points)
    warm = run(
        train,
        validation,
        strengths,
        options.epochs,
        tolerance=options.tolerance,
    )
    warm_seconds = time.perf_counter() - start
    every = max(1, options.points // options.cold)
    chosen = warm.points[::every]
    start = time.perf_counter()
    cold = [
        run(
            train,
            validation,
            [point.strength],
            options.epochs,
            tolerance=options.tolerance,
        ).points[0]
        for point in chosen
    ]
    cold_seconds = time.perf_counter() - start
    say("strength  inputs warm/cold  val. loss warm/cold  steps warm/cold")
    for ours, theirs in zip(chosen, cold, strict=True):
        say(
            f"{ours.strength:8.2g}  {len(ours.selected_inputs):6d}/"
            f"{len(theirs.selected_inputs):<4d}   "
            f"{ours.validation['data_loss']:10.4f}/"
            f"{theirs.validation['data_loss']:<8.4f}  "
            f"{ours.steps:6d}/{theirs.steps}"
            f"{'' if ours.converged and theirs.converged else '  (cut off)'}"
        )
    share = options.points / len(chosen)
    own = sum(point.steps for point in warm.points)
    others = share * sum(point.steps for point in cold)
    say(f"path: {own} steps, {warm_seconds:.1f} s")
    say(
        f"cold starts: {others:.0f} steps, {share * cold_seconds:.1f} s, "
        f"{options.points} points by {len(chosen)} of them"
    )
    say(f"ratio of steps: {others / own:.2f}")
    against_lassonet(say, train, validation, test, warm, warm_seconds)


def against_lassonet(say, train, validation, test, warm, seconds):
    """Test accuracy at the same numbers of inputs; LassoNet needs torch."""
    try:
        from lassonet import LassoNetClassifier
    except ImportError:
        say("LassoNet is not installed: pip install lassonet")
        return
    peer = LassoNetClassifier(
        hidden_dims=(HIDDEN,), path_multiplier=1.2, verbose=0, random_state=0
    )
    start = time.perf_counter()
    states = peer.path(*train, X_val=validation[0], y_val=validation[1])
    say(f"LassoNet: {len(states)} points, {time.perf_counter() - start:.1f} s")
    model = build_model()
    for point, weights in zip(warm.points, warm.weights, strict=True):
        number = len(point.selected_inputs)
        nearest = min(states, key=lambda s: abs(int(s.selected.sum()) - number))
        peer.load(nearest.state_dict)
        theirs = float(np.mean(peer.predict(test[0]) == test[1]))
        model.set_weights(weights)
        ours = model.evaluate(*test, verbose=0, return_dict=True)["accuracy"]
        say(
            f"{number:3d} inputs: {ours:.3f}; LassoNet "
            f"{int(nearest.selected.sum()):3d} inputs: {theirs:.3f}"
        )
    say(f"seconds: {seconds:.1f}")


if __name__ == "__main__":
    main()
