"""Silences the messages of importing Keras when `python -m kreg` starts.

Python imports the package, and with it Keras, before it runs
`kreg/__main__.py`. So the package imports this module first.
"""

import sys

from kreg_command import import_quietly


def _is_command() -> bool:
    """Whether this process is `python -m kreg`, still importing the package."""
    if sys.argv[:1] != ["-m"]:
        return False
    words = sys.orig_argv
    return words[words.index("-m") + 1 : words.index("-m") + 2] == ["kreg"]


if _is_command():
    import_quietly("keras")
