"""One instance of every class of results, with names that look like markup."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from heads import attention_model
from keras import layers

import kreg
from kreg.deployment import DeployReport, ExportRecord, Latency, ModelFigures
from kreg.selection import (
    CompareResult,
    CompareRow,
    Comparison,
    PathPoint,
    PathResult,
    StabilityResult,
)
from kreg.surgery import Compaction, LayerCompaction

ODD = "<b>x[bold]y"
"""A name that HTML and `rich` would take for markup."""


def network():
    """A model with odd names, nested, penalized under a wrong optimizer."""
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, kernel_regularizer=kreg.L1(0.1), name=ODD),
        ],
        name="block",
    )
    model = keras.Sequential(
        [keras.Input((4,)), inner, layers.Dense(2, name="last")], name="net"
    )
    model.compile("adam", "mse")
    return model


def point(strength):
    return PathPoint(
        strength=strength,
        fraction=0.5,
        sparsity=0.25,
        nonzeros=1234,
        dead_units=1,
        dead_inputs=0,
        selected_inputs=(0, 2),
        train={"data_loss": 1.5, ODD: 2.0},
        validation={"data_loss": strength, ODD: 3.0},
        epochs=10,
        steps=100,
        optimality=None,
        seconds=0.5,
        converged=True,
    )


def path_result():
    return PathResult(
        points=(point(0.2), point(0.1)),
        penalty=f"Own(name='{ODD}', {'much=1, ' * 50})",
        strength_max=0.4,
        start=point(0.0),
        weights=((np.ones((2, 3)), np.zeros(3)), (np.ones(2),)),
    )


def compare_row(penalty, strength):
    return CompareRow(
        penalty=penalty,
        strength=strength,
        mean=0.5,
        standard_error=0.1,
        scores=(0.4, 0.6),
        train_mean=0.4,
        sparsity=0.3,
        nonzeros=10.5,
        dead_units=0.0,
        epochs=3.0,
        seconds=1.0,
    )


def comparison():
    return Comparison(
        first=ODD,
        second="L2",
        difference=0.1,
        low=-0.1,
        high=0.3,
        level=0.95,
        p_value=0.2,
        adjusted_p_value=0.4,
        significant=False,
    )


def compare_result():
    return CompareResult(
        rows=(
            compare_row(ODD, 0.1),
            compare_row(ODD, 0.2),
            compare_row("L2", 0.1),
        ),
        penalties={ODD: "L1", "L2": "L2"},
        monitor="data_loss",
        select="best",
        folds=2,
        seeds=(0,),
        choices={ODD: 1, "L2": 2},
        chosen_penalty=ODD,
        comparisons=(comparison(),),
        verdict=f"{ODD} at strength 0.2.",
        test={"data_loss": 0.6},
        weights=(np.ones((2, 3)), np.zeros(3)),
    )


def stability_result():
    return StabilityResult(((0, 2), (2,), (2, 3), (0, 2)), 8, 2, 0.75)


def layer_compaction():
    return LayerCompaction(
        path=f"net/{ODD}",
        kind="Dense",
        units_before=8,
        units_after=4,
        parameters_before=1000,
        parameters_after=500,
        kept={f"`{ODD}` reads it": 2, "padding": 1},
    )


def compaction():
    return Compaction(
        layers=(layer_compaction(),),
        kept_inputs={ODD: np.array([0, 2, 3])},
        parameters_before=2000,
        parameters_after=1000,
    )


def model_figures(metrics=True):
    return ModelFigures(
        name=ODD,
        parameters=2000,
        nonzeros=1000,
        flops=4000,
        uncounted=(f"net/{ODD}",),
        raw_bytes=8000,
        gzip_bytes=4000,
        keras_bytes=None,
        litert_bytes=5000,
        latency=Latency(0.002, 0.001, 0.003),
        metrics={ODD: 0.9} if metrics else {},
    )


def deploy_report():
    return DeployReport(model_figures(), model_figures(), 1e-7, 1, 50)


def export_record():
    return ExportRecord(Path(f"folder/{ODD}.keras"), "keras", 1000, 0.0, 1.5)


def changes():
    return kreg.attach(network(), kreg.GroupLasso(0.1))


def reading():
    return kreg.statistics.read(network(), data_loss=1.0)


def tie_reading():
    model = attention_model()
    kreg.attach(model, kreg.GroupLasso(0.1, groups="heads"))
    return kreg.statistics.read(model).ties[0]


@dataclass(frozen=True)
class Shown:
    """A result and what its protocol offers.

    Args:
        result: makes it.
        rows: how many rows its table has; None for a row for each field.
        records: how many rows a data frame has; None where there is none.
        is_saved: whether it has `save` and `load`.
        has_name: whether an odd name is among what it tells.
    """

    result: Any
    rows: int | None
    records: int | None
    is_saved: bool
    has_name: bool = True


RESULTS = {
    "path": Shown(path_result, 2, 2, True),
    "point": Shown(lambda: point(0.1), None, None, True),
    "compare": Shown(compare_result, 2, 3, True),
    "compare row": Shown(lambda: compare_row(ODD, 0.1), None, None, True),
    "comparison": Shown(comparison, None, None, False),
    "stability": Shown(stability_result, 3, 3, True, has_name=False),
    "compaction": Shown(compaction, 1, 1, True),
    "layer compaction": Shown(layer_compaction, None, None, False),
    "deploy report": Shown(deploy_report, 12, 12, True),
    "model figures": Shown(model_figures, None, None, True),
    "latency": Shown(
        lambda: Latency(0.1, 0.05, 0.2), None, None, True, has_name=False
    ),
    "export record": Shown(export_record, None, None, True),
    "changes": Shown(changes, 2, 2, False),
    "change": Shown(lambda: changes()[0], None, None, False),
    "findings": Shown(lambda: kreg.check(network()), 1, 1, True),
    "finding": Shown(lambda: kreg.check(network())[0], None, None, False),
    "reading": Shown(reading, 4, 4, True),
    "layer reading": Shown(lambda: reading().layers[0], 2, 2, False),
    "weight reading": Shown(lambda: reading().weights[0], None, None, True),
    "tie reading": Shown(tie_reading, None, None, True, has_name=False),
    "penalties": Shown(lambda: kreg.penalties(network()), 1, 1, False),
}
