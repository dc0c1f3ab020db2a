"""Tables of cases of which the fast tests take a few."""

import pytest


def few_of(cases, *always):
    """The cases as parameters; those not in `always` are marked `thorough`."""
    return [
        case
        if case in always
        else pytest.param(case, marks=pytest.mark.thorough)
        for case in cases
    ]
