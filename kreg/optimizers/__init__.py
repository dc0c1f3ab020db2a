"""Optimizers that take proximal steps."""

import kreg.optimizers._keras_steps  # noqa: F401  (registers them)
from kreg.optimizers._effective_step import (
    EffectiveStep,
    register_effective_step,
)
from kreg.optimizers._proximal_optimizer import ProximalOptimizer

__all__ = ["EffectiveStep", "ProximalOptimizer", "register_effective_step"]
