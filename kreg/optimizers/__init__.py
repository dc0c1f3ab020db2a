"""Optimizers that take proximal steps."""

import kreg.optimizers._keras_optimizers  # noqa: F401  (registers them)
from kreg.optimizers._proximal_optimizer import ProximalOptimizer
from kreg.optimizers.effective_step import (
    EffectiveStep,
    register_effective_step,
)

__all__ = ["EffectiveStep", "ProximalOptimizer", "register_effective_step"]
