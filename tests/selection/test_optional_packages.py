"""kreg is imported without the packages that only some features need."""

import subprocess
import sys

import keras
import pytest

PACKAGES = ["matplotlib", "sklearn"]
if keras.backend.backend() != "jax":  # which needs SciPy itself
    PACKAGES.append("scipy")


@pytest.mark.parametrize("package", PACKAGES)
def test_kreg_is_imported_where_a_package_is_absent(package):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import kreg; print(kreg.path.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout.strip() == "path", done.stderr[-800:]
