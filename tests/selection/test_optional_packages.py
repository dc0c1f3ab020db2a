"""kreg is imported without the packages that only some features need."""

import subprocess
import sys

import keras
import pytest
from thorough import few_of

PACKAGES = ["matplotlib", "sklearn"]
if keras.backend.backend() != "jax":  # which needs SciPy itself
    PACKAGES.append("scipy")


@pytest.mark.thorough
@pytest.mark.parametrize("package", few_of(PACKAGES, "sklearn"))
def test_kreg_is_imported_where_a_package_is_absent(package):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import kreg; print(kreg.path.__name__)"
    )
    assert output_of(code) == "path"


def output_of(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout.strip()


@pytest.mark.thorough
def test_all_names_are_imported_and_selectors_name_the_extra():
    found = output_of(
        "import sys; sys.modules['sklearn'] = None\n"
        "from kreg.selection import *\n"
        "print(path.__name__)\n"
        "for selector in (FeatureSelector, StabilitySelector):\n"
        "    try:\n"
        "        selector(print)\n"
        "    except ImportError as error:\n"
        "        print(error)"
    )
    name, *errors = found.splitlines()
    assert name == "path"
    assert len(errors) == 2
    for error in errors:
        assert 'pip install "kreg[selection]"' in error
