"""The table of the linter's rules, in the order of the findings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kreg.statistics._linter.clipping_rules import clipped_in_train_step
from kreg.statistics._linter.model_facts import Fault, ModelFacts
from kreg.statistics._linter.placement_rules import (
    attribute_without_effect,
    frozen_weight,
    never_acts,
    not_restored,
    regularizer_not_saved,
)
from kreg.statistics._linter.strength_rules import (
    l2_and_weight_decay,
    l2_before_batch_norm,
    penalty_exceeds_loss,
    schedule_at_rest,
    zero_at_the_end,
)
from kreg.statistics._linter.zero_rules import (
    averages_undo_zeros,
    ftrl_first_step,
    no_exact_zeros,
)


@dataclass(frozen=True)
class Rule:
    """A mistake that `kreg.check` looks for.

    Args:
        name: the name of the rule in its findings.
        summary: a description of the mistake, for the docstring of
            `kreg.check`.
        faults: yields the faults in a model.
    """

    name: str
    summary: str
    faults: Callable[[ModelFacts], Iterator[Fault]]


RULES = (
    Rule(
        "attribute-without-effect",
        "`layer.kernel_regularizer` was set after the layer was built, so the "
        "kernel does not have it.",
        attribute_without_effect,
    ),
    Rule(
        "regularizer-not-saved",
        "`layer.kernel.regularizer` was set, but not the layer's attribute, "
        "which is what Keras saves.",
        regularizer_not_saved,
    ),
    Rule(
        "not-restored",
        "a regularizer in the model's file that `load_model` could not "
        "restore.",
        not_restored,
    ),
    Rule(
        "frozen-weight",
        "a regularizer on a weight that is not trained.",
        frozen_weight,
    ),
    Rule(
        "never-acts",
        "a penalty that the training steps so far have left out; known once "
        "`fit` has run on a bound model.",
        never_acts,
    ),
    Rule(
        "schedule-at-rest",
        "a schedule that follows an optimizer which makes no updates; known "
        "once `fit` has run on a bound model.",
        schedule_at_rest,
    ),
    Rule(
        "no-exact-zeros",
        "a penalty that makes zeros under an optimizer that makes none.",
        no_exact_zeros,
    ),
    Rule(
        "averages-undo-zeros",
        "`use_ema` replaces weights with exact zeros by moving averages.",
        averages_undo_zeros,
    ),
    Rule(
        "clipped-in-train-step",
        "gradients are clipped where a `ProximalOptimizer` cannot see it.",
        clipped_in_train_step,
    ),
    Rule(
        "l2-and-weight-decay",
        "both shrink the same weight.",
        l2_and_weight_decay,
    ),
    Rule(
        "l2-before-batch-norm",
        "L2 on a kernel whose scale a BatchNormalization cancels.",
        l2_before_batch_norm,
    ),
    Rule(
        "ftrl-first-step",
        "`Ftrl` is about to replace weights that are not 0.",
        ftrl_first_step,
    ),
    Rule(
        "zero-at-the-end",
        "a schedule or multiplier switches a penalty off.",
        zero_at_the_end,
    ),
    Rule(
        "penalty-exceeds-loss",
        "the penalties exceed `data_loss`.",
        penalty_exceeds_loss,
    ),
)
