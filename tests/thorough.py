"""Tables of cases of which the fast tests take a few."""

import pytest


def few_of(cases, *always, rest=pytest.mark.thorough):
    """The cases as parameters; those not in `always` are marked as the rest."""
    return [
        case if case in always else pytest.param(case, marks=rest)
        for case in cases
    ]
