"""The table of rules: a name for each, in the order of the findings."""

from collections.abc import Callable, Iterator
from types import MappingProxyType

from kreg.statistics._linter.attribute_rules import (
    attribute_without_effect,
    frozen_weight,
    regularizer_not_saved,
)
from kreg.statistics._linter.facts import Fault, ModelFacts
from kreg.statistics._linter.shrinkage_rules import (
    l2_and_weight_decay,
    l2_before_batch_norm,
)
from kreg.statistics._linter.strength_rules import (
    penalty_exceeds_loss,
    zero_at_the_end,
)
from kreg.statistics._linter.zero_rules import (
    averages_undo_zeros,
    ftrl_first_step,
    no_exact_zeros,
)

Rule = Callable[[ModelFacts], Iterator[Fault]]

RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "attribute-without-effect": attribute_without_effect,
        "regularizer-not-saved": regularizer_not_saved,
        "frozen-weight": frozen_weight,
        "no-exact-zeros": no_exact_zeros,
        "averages-undo-zeros": averages_undo_zeros,
        "l2-and-weight-decay": l2_and_weight_decay,
        "l2-before-batch-norm": l2_before_batch_norm,
        "ftrl-first-step": ftrl_first_step,
        "zero-at-the-end": zero_at_the_end,
        "penalty-exceeds-loss": penalty_exceeds_loss,
    }
)
