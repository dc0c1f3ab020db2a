"""Starts the `kreg` command without the messages of TensorFlow's start."""

import os
import tempfile
from collections.abc import Callable


def main() -> int:
    """Run the command.

    Returns:
        The exit status of `kreg.cli.main`; 130 after Ctrl-C during imports.
    """
    level_is_set = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        run = _import_main() if level_is_set else _import_main_quietly()
    except KeyboardInterrupt:
        return 130
    return run()


def _import_main() -> Callable[[], int]:
    from kreg.cli import main as run

    return run


def _import_main_quietly() -> Callable[[], int]:
    """Hold back what imports write on descriptor 2; show it after an error.

    TensorFlow's C++ code writes there, past `sys.stderr`.
    """
    with tempfile.TemporaryFile() as captured:
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            return _import_main()
        except Exception:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
