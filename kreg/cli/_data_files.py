"""Arrays to train on, in a file."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from kreg.cli._errors import CommandError, in_one_line

_NAMES = ("x", "y", "sample_weight", "x_test", "y_test")


def read_data(path: Path) -> tuple[Any, Any]:
    """The data and the test data in an `.npz` file; None for no test data.

    Raises:
        CommandError: if there is no such file, or it does not hold what it
            must.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise CommandError(f"{path}: {_FORM}")
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if not path.is_file():
            raise CommandError(f"{path}: no such file") from error
        raise CommandError(f"{path}: {_FORM}; {in_one_line(error)}") from error
    unknown = sorted(set(arrays) - set(_NAMES))
    if unknown or not {"x", "y"} <= set(arrays):
        raise CommandError(
            f"{path}: {_FORM}; it has {', '.join(sorted(arrays)) or 'none'}"
        )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise CommandError(f"{path}: must hold both of x_test and y_test")
    data = tuple(arrays[name] for name in _NAMES[:3] if name in arrays)
    test = tuple(arrays[name] for name in _NAMES[3:] if name in arrays)
    return data, test or None


_FORM = (
    "must be an .npz file with arrays named x and y, and perhaps "
    "sample_weight, x_test and y_test, as "
    "`numpy.savez(path, x=x, y=y)` writes it"
)
