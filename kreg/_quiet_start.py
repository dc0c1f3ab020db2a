"""Imports Keras without messages where `python -m kreg` starts the command.

Python imports the package before it runs `kreg/__main__.py`, and Keras with it.
So this is what the package imports first.
"""

import sys

from kreg_command import import_quietly


def _is_command() -> bool:
    """Whether this process is `python -m kreg`, which is still importing."""
    if sys.argv[:1] != ["-m"]:
        return False
    words = sys.orig_argv
    return words[words.index("-m") + 1 : words.index("-m") + 2] == ["kreg"]


if _is_command():
    import_quietly("keras")
