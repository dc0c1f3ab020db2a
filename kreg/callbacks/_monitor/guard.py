"""`Guard`: a failure of the monitor becomes a warning, and training goes on."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from kreg.error_messages import one_line


class Guard:
    """Keeps a failure of the monitor from ending the training.

    Everything that a monitor computes, reads or writes during `fit` runs in a
    block of its guard. Only the first failure of each kind is warned of.
    """

    def __init__(self) -> None:
        self._kinds: set[str] = set()

    def begin(self) -> None:
        """Begin a training, in which each kind of failure warns once again."""
        self._kinds.clear()

    @contextmanager
    def __call__(self, kind: str, of: str = "") -> Iterator[None]:
        """Run a block; if it raises an `Exception`, leave it and warn.

        Args:
            kind: what the block does, such as `"read the weights"`.
            of: the object it does this to, if it is one of many. Only the
                first that fails is named.
        """
        try:
            yield
        except Warning:  # the user's filters turn warnings into errors
            raise
        except Exception as error:
            if kind not in self._kinds:
                self._kinds.add(kind)
                warnings.warn(
                    f"`RegularizationMonitor` could not {kind}"
                    f"{f' of {of}' if of else ''}: "
                    f"{one_line(error)}. Training goes on, and the log leaves "
                    "this out.",
                    stacklevel=2,
                )
