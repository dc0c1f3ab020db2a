"""`ProximalOptimizer`, and the optimizers that it can wrap."""

from kreg.optimizers._proximal_optimizer import ProximalOptimizer
from kreg.optimizers.optimizer_row import EffectiveStep, GradientMemory
from kreg.optimizers.table import register_optimizer

__all__ = [
    "EffectiveStep",
    "GradientMemory",
    "ProximalOptimizer",
    "register_optimizer",
]
