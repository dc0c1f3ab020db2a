"""Errors for keywords of earlier versions, which name the new place."""

import reprlib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def _moved_to(cls: str, argument: str, *names: str) -> dict[str, str]:
    """A text for each argument that moved to a class of `kreg.selection`.

    Args:
        cls: the name of the class.
        argument: the argument that takes an object of the class.
        *names: the arguments that moved.
    """
    return {
        name: f"an argument of `kreg.selection.{cls}`: pass "
        f"`{argument}=kreg.selection.{cls}({name}=...)`"
        for name in names
    }


_TRAINING = _moved_to(
    "Training",
    "training",
    *("epochs", "batch_size", "tolerance", "patience", "monitor", "refit"),
)
_STRENGTHS = {
    **_moved_to("StrengthGrid", "strengths", "ratio", "direction"),
    "num_strengths": "`num` of `kreg.selection.StrengthGrid`: pass "
    "`strengths=kreg.selection.StrengthGrid(num=...)`",
}
_EXECUTION = _moved_to(
    "Execution", "execution", "executor", "directory", "verbose"
)
MOVED: Mapping[str, Mapping[str, str]] = {
    "path": {
        **_TRAINING,
        **_STRENGTHS,
        "validation_data": "`validation`: pass `validation=(x, y)`",
        "validation_split": "`validation`: pass a fraction, such as "
        "`validation=0.2`",
    },
    "compare": {
        **_TRAINING,
        **_STRENGTHS,
        **_EXECUTION,
        "log_dir": "a method of the result: call "
        "`kreg.compare(...).write_hparams(log_dir)`",
    },
    "stability_selection": {**_TRAINING, **_STRENGTHS, **_EXECUTION},
    "FeatureSelector": {
        "epochs": _TRAINING["epochs"],
        "path_options": "several arguments: pass `training`, `strengths`, "
        "`validation` and `directory`",
    },
    "StabilitySelector": {
        "epochs": _TRAINING["epochs"],
        "executor": _EXECUTION["executor"],
        "path_options": "several arguments: pass `training`, `strengths` and "
        "`execution`",
    },
}
"""For each function or class, the new places of its former arguments."""


def names_moved_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function raise for former keywords, naming their new places.

    Args:
        function: a function named in `MOVED`, or the `__init__` of a class
            named there.

    Returns:
        The function with the same signature. It raises a TypeError for a
        keyword in `MOVED`. Python itself refuses other unknown keywords.
    """
    name = function.__qualname__.removesuffix(".__init__")
    moved = MOVED[name]

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for keyword in kwargs:
            if keyword in moved:
                raise TypeError(
                    f"`{keyword}` of `{name}` is now {moved[keyword]}. "
                    f"Received: {keyword}={reprlib.repr(kwargs[keyword])}"
                )
        return function(*args, **kwargs)

    return called
