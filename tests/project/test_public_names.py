"""Public names are listed and documented, and their examples are true."""

import doctest
import importlib
import inspect
import pkgutil

import keras
import pytest
from thorough import few_of

import kreg

MODULES = [
    module.name
    for module in pkgutil.walk_packages(kreg.__path__, "kreg.")
    if not module.name.endswith("__main__")
    and not module.name.split(".")[-1].startswith(("_tensorflow", "_jax"))
]
PACKAGES = [
    name
    for name in ["kreg", *MODULES]
    if hasattr(importlib.import_module(name), "__path__")
]


# They train several models, or measure one.
LONG = {
    "kreg.callbacks._target_sparsity",
    "kreg.deployment._deploy_report",
    "kreg.selection.comparison.compare",
    "kreg.selection.features.selectors",
    "kreg.selection.features.stability",
}


@pytest.mark.parametrize(
    "name", few_of(["kreg", *MODULES], *{"kreg", *MODULES} - LONG)
)
def test_doctests(name):
    keras.utils.set_random_seed(0)
    # Without the module's own names: an example imports what it uses.
    result = doctest.testmod(importlib.import_module(name), globs={})
    assert result.failed == 0


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_real(name):
    package = importlib.import_module(name)
    for public in package.__all__:
        assert hasattr(package, public)


def public_objects():
    seen = {}
    for package in PACKAGES:
        if package in ("kreg.cli", "kreg._keras_private"):
            continue
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.ismodule(value):
                seen[f"{package}.{name}"] = value
    return seen


PUBLIC = public_objects()
WITHOUT_EXAMPLE = {
    "kreg.binding.Binding",  # what `bind` returns; shown there
    "kreg.binding.BoundPenalty",  # made by `bind` alone
    "kreg.deployment.DeployReport",
    "kreg.deployment.ExportRecord",  # what `export` returns; shown there
    "kreg.deployment.Latency",
    "kreg.deployment.ModelFigures",
    "kreg.regularizers.Penalty",  # abstract
    "kreg.selection.Arrays",
    "kreg.selection.CompareResult",  # what `compare` returns; shown there
    "kreg.selection.CompareRow",
    "kreg.selection.Comparison",
    "kreg.selection.FeatureEntry",
    "kreg.selection.PathPoint",
    "kreg.selection.StabilityResult",
    "kreg.selection.TrainingData",
    "kreg.statistics.LayerReading",
    "kreg.statistics.Reading",  # what `read` returns; shown there
    "kreg.statistics.TieReading",
    "kreg.statistics.WeightReading",
    "kreg.surgery.Change",
    "kreg.surgery.Changes",  # what `attach` and `strip` return
    "kreg.surgery.Compaction",  # what `compact` returns
    "kreg.surgery.LayerCompaction",
}
COLLECTIONS = {  # built as a tuple and a dict are, by kreg alone
    "kreg.statistics.Findings",
    "kreg.statistics.Penalties",
}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring(name):
    doc = inspect.getdoc(PUBLIC[name])
    assert doc
    assert len(doc.splitlines()[0]) <= 80
    if name not in WITHOUT_EXAMPLE:
        assert ">>> " in doc, "has no example"


@pytest.mark.parametrize(
    "name", [n for n, v in PUBLIC.items() if inspect.isclass(v)]
)
def test_every_argument_is_documented(name):
    if name in WITHOUT_EXAMPLE | COLLECTIONS:
        pytest.skip("not for users to construct")
    doc = inspect.getdoc(PUBLIC[name])
    for parameter in inspect.signature(PUBLIC[name]).parameters:
        assert f"    {parameter}: " in doc
