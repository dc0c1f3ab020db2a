"""The table of rules: a name for each, in the order of the findings."""

from collections.abc import Callable, Iterator
from types import MappingProxyType

from kreg.statistics._linter._rules._attributes import (
    attribute_without_effect,
    regularizer_not_saved,
)
from kreg.statistics._linter._rules._batch_norm import l2_before_batch_norm
from kreg.statistics._linter._rules._frozen import frozen_weight
from kreg.statistics._linter._rules._ftrl import ftrl_first_step
from kreg.statistics._linter._rules._schedule_end import zero_at_the_end
from kreg.statistics._linter._rules._shares import penalty_exceeds_loss
from kreg.statistics._linter._rules._weight_decay import l2_and_weight_decay
from kreg.statistics._linter._rules._zeros import (
    averages_undo_zeros,
    no_exact_zeros,
)
from kreg.statistics._linter._weight_facts import Fault, ModelFacts

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
