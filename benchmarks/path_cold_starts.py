"""The cold starts of `path.py`: a new network at each strength."""

import time

import keras
import numpy as np
import tensorflow as tf
from path_network import TRACES, build_model, group_lasso, part, warm_path
from rich.progress import track
from rich.table import Table

import kreg

LOOK, NEAR = 32, 1.01


class ColdStop(keras.callbacks.Callback):
    """Ends training at a residual and a validation loss; records both.

    It also ends training if no input is left at the residual.

    Args:
        residual: float, the residual to reach.
        loss: float, the validation loss to reach.
        validation: the arrays to validate on.
    """

    def __init__(self, residual, loss, validation):
        super().__init__()
        self._residual = residual
        self._loss = loss
        self._validation = validation
        self.at_residual = None
        self.at_loss = None

    def on_train_begin(self, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        steps, seconds = (epoch + 1) * LOOK, time.perf_counter() - self._start
        reading = kreg.statistics.read(self.model)
        if self.at_residual is None and reading.optimality > self._residual:
            return
        figures = self.model.evaluate(
            *self._validation, batch_size=4096, verbose=0, return_dict=True
        )
        loss = figures["data_loss"]
        if self.at_residual is None:
            kernel = self.model.get_layer("hidden").get_weights()[0]
            inputs = int(np.any(kernel, axis=1).sum())
            self.at_residual = steps, seconds, loss, inputs
            self.model.stop_training = not inputs
        if loss <= self._loss:
            self.at_loss = steps
            self.model.stop_training = True


def cold_start(data, seed, point, residual, epochs):
    """Train a new network at the strength of a point."""
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    model = build_model(
        data["x_train"].shape[1],
        kreg.ProximalOptimizer,
        steps_per_execution=LOOK,
    )
    kreg.attach(model, [("hidden", group_lasso(point.strength))])
    stop = ColdStop(
        residual, NEAR * point.validation["data_loss"], part(data, "val")
    )
    rows = tf.data.Dataset.from_tensors(part(data, "train")).repeat(LOOK)
    building = time.perf_counter() - start
    model.fit(
        rows,
        epochs=epochs // LOOK,
        verbose=0,
        callbacks=[stop],
        shuffle=False,
    )
    return stop, building


def against_cold_starts(console, data, seed, epochs, tolerance):
    """Every point of a path beside a network trained from scratch."""
    warm, steps, seconds = warm_path(data, seed, epochs, tolerance=tolerance)
    traces = dict(TRACES)
    residual = max(p.optimality for p in warm.points if p.converged)
    table = Table(title="A point of the path, and a cold start")
    for heading in (
        "fraction",
        "inputs",
        "validation loss",
        "accuracy",
        "steps",
        "cold: inputs",
        "validation loss",
        "steps to the residual",
        "and to the loss",
    ):
        table.add_column(heading, justify="right")
    cold_steps, near, cold_seconds, losses, cut = 0, [], 0.0, [], 0
    for point in track(warm.points, "cold starts"):
        stop, building = cold_start(data, seed, point, residual, epochs)
        at, at_seconds, loss, inputs = stop.at_residual or (
            epochs,
            0.0,
            np.nan,
            0,
        )
        cold_steps += at
        cold_seconds += building + at_seconds
        near.append((point.steps, stop.at_loss, epochs if inputs else at))
        losses.append(loss / point.validation["data_loss"])
        cut += stop.at_residual is None
        table.add_row(
            f"{point.fraction:.4f}",
            f"{len(point.selected_inputs)}",
            f"{point.validation['data_loss']:.4f}",
            f"{point.validation['accuracy']:.3f}",
            f"{point.steps}{'' if point.converged else ' (cut off)'}",
            f"{inputs}",
            f"{loss:.4f}",
            f"{at}{'' if stop.at_residual else ' (cut off)'}",
            f"{stop.at_loss or (f'{epochs} (cut off)' if inputs else 'never')}",
        )
    console.print(table)
    start = warm.start.steps
    reached = [(own, other) for own, other, _ in near if other]
    ours = sum(own for own, _ in reached) + start
    theirs = sum(other for _, other in reached)
    all_of_them = sum(other or spent for _, other, spent in near)
    low, middle, high = np.nanquantile(losses, (0.0, 0.5, 1.0))
    console.print(
        f"path: {steps} steps, {start} of them the dense start; "
        f"{seconds:.1f} s; traces of the train step: {traces['training']} "
        f"to train, {traces['gradients']} for gradients before\n"
        f"cold starts to the same residual: {cold_steps} steps, "
        f"{cold_steps / steps:.2f} times as many; {cold_seconds:.1f} s; "
        f"{cut} of {len(losses)} cut off\n"
        "    their validation loss over that of the path: "
        f"median {middle:.3f}, from {low:.3f} to {high:.3f}\n"
        f"cold starts to the same validation loss as well: {len(reached)} of "
        f"{len(near)} points get there, in {theirs} steps, "
        f"{theirs / ours:.2f} times the path's for these and its start; "
        f"all, with what the others used: {all_of_them} steps, "
        f"{all_of_them / steps:.2f} times as many",
        highlight=False,
    )
