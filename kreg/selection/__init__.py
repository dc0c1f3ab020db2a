"""Choosing a penalty and its strength."""

from kreg.selection._compare import compare
from kreg.selection._compare_result import CompareResult
from kreg.selection._compare_row import CompareRow
from kreg.selection._data import Arrays, TrainingData
from kreg.selection._features import (
    FeatureEntry,
    entry_order,
    first_features,
)
from kreg.selection._input_lasso import input_lasso
from kreg.selection._local_processes import LocalProcesses
from kreg.selection._path import path
from kreg.selection._path_point import PathPoint
from kreg.selection._path_result import PathResult
from kreg.selection._plots._coefficients import plot_coefficients
from kreg.selection._plots._entry import plot_entry
from kreg.selection._plots._sparsity import plot_sparsity
from kreg.selection._plots._stability import plot_stability
from kreg.selection._plots._validation import plot_validation
from kreg.selection._scikit_learn import (
    selector_class as __getattr__,  # noqa: F401
)
from kreg.selection._stability import stability_selection
from kreg.selection._stability_bound import stability_bound
from kreg.selection._stability_result import StabilityResult
from kreg.selection._strength_max import strength_max
from kreg.selection._tune_penalty import tune_penalty
from kreg.selection._verdict import Comparison

__all__ = [
    "Arrays",
    "CompareResult",
    "CompareRow",
    "Comparison",
    "FeatureEntry",
    "FeatureSelector",
    "LocalProcesses",
    "PathPoint",
    "PathResult",
    "StabilityResult",
    "StabilitySelector",
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
