"""Choosing a penalty and its strength.

The folders import only from those above them in this list:

    data/        rows, folds and batches, checked once
    execution/   where paths run, in which folder, with what progress
    training/    training a model at one strength, and its metrics
    strengths/   which strengths to try; penalties with a variable strength
    paths/       training a model along a path of strengths, resumable
    comparison/  comparing penalties by cross-validation, and the verdict
    features/    which input features a model needs
    plots/       plots of the results
"""

from typing import TYPE_CHECKING

from kreg.selection.comparison.compare import compare
from kreg.selection.comparison.result import CompareResult, CompareRow
from kreg.selection.comparison.verdict import Comparison
from kreg.selection.data.rows import Arrays, TrainingData
from kreg.selection.execution.execution import Execution
from kreg.selection.execution.workers import LocalProcesses
from kreg.selection.extra import (
    selector_class as __getattr__,  # noqa: F401
)
from kreg.selection.features.entry_order import (
    FeatureEntry,
    entry_order,
    first_features,
)
from kreg.selection.features.stability import stability_selection
from kreg.selection.features.stability_result import (
    StabilityResult,
    stability_bound,
)
from kreg.selection.paths.path import path
from kreg.selection.paths.result import PathResult
from kreg.selection.plots.features import (
    plot_coefficients,
    plot_entry,
    plot_stability,
)
from kreg.selection.plots.validation import plot_sparsity, plot_validation
from kreg.selection.strengths.grid import StrengthGrid
from kreg.selection.strengths.strength_max import strength_max
from kreg.selection.strengths.tune_penalty import tune_penalty
from kreg.selection.training.inputs import input_lasso
from kreg.selection.training.point import PathPoint
from kreg.selection.training.training import Training

if TYPE_CHECKING:  # at run time they are imported on first access
    from kreg.selection.features.selectors import (
        FeatureSelector,
        StabilitySelector,
    )

__all__ = [
    "Arrays",
    "CompareResult",
    "CompareRow",
    "Comparison",
    "Execution",
    "FeatureEntry",
    "FeatureSelector",
    "LocalProcesses",
    "PathPoint",
    "PathResult",
    "StabilityResult",
    "StabilitySelector",
    "StrengthGrid",
    "Training",
    "TrainingData",
    "compare",
    "entry_order",
    "first_features",
    "input_lasso",
    "path",
    "plot_coefficients",
    "plot_entry",
    "plot_sparsity",
    "plot_stability",
    "plot_validation",
    "stability_bound",
    "stability_selection",
    "strength_max",
    "tune_penalty",
]
