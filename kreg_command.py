"""Starts the `kreg` command, without what TensorFlow says when it starts."""

import os
import tempfile
from collections.abc import Callable


def main() -> int:
    """Run the command.

    Returns:
        What `kreg.cli.main` returns; 130 after Ctrl-C while it is imported.
    """
    asked = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        run = _imported() if asked else _imported_quietly()
    except KeyboardInterrupt:
        return 130
    return run()


def _imported() -> Callable[[], int]:
    from kreg.cli import main as run

    return run


def _imported_quietly() -> Callable[[], int]:
    """Keep what is written on descriptor 2, and show it after an error."""
    with tempfile.TemporaryFile() as heard:
        shown = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            return _imported()
        except Exception:
            heard.seek(0)
            os.write(shown, heard.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
