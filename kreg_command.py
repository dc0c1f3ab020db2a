"""Starts the `kreg` command without the messages of TensorFlow's start."""

import os
import tempfile
from importlib import import_module
from types import ModuleType


def main() -> int:
    """Run the command.

    Returns:
        The exit status of `kreg.cli.main`; 130 after Ctrl-C during imports.
    """
    try:
        command = import_quietly("kreg.cli")
    except KeyboardInterrupt:
        return 130
    status: int = command.main()
    return status


def import_quietly(name: str) -> ModuleType:
    """Import a module, and hold back what imports write on descriptor 2.

    TensorFlow's C++ code writes there, past `sys.stderr`. It is shown after an
    error, and where the user has set `TF_CPP_MIN_LOG_LEVEL`.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return import_module(name)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryFile() as captured:
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            return import_module(name)
        except Exception:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
