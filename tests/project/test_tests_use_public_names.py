"""Tests use what users use, but for a short list."""

import ast
import inspect

from project.house import ROOT, modules_of

import kreg
import kreg.cli

TESTS = ROOT / "tests"
MODULES = modules_of(ROOT / "kreg")
# The public names of each public module.
PUBLIC = {
    module.__name__: module.__all__
    for module in (kreg, kreg.cli, *map(kreg.__dict__.get, kreg.__all__))
    if inspect.ismodule(module)
}
# Other modules of kreg that tests may name, by the reason.
ALLOWED = {
    "Keras's private names: what the one file that has them promises": [
        "kreg._keras_private",
    ],
    "what other folders build on and users do not call": [
        "kreg.deployment.formats",
        "kreg.error_messages",
        "kreg.layers.weights",
        "kreg.layers.table",
        "kreg.optimizers.gradient_memory",
        "kreg.optimizers.table",
        "kreg.results.result",
        "kreg.results.table",
        "kreg.statistics.figures",
        "kreg.surgery.outputs",
        "kreg.surgery.stripped_copy",
        "kreg.surgery.support",
    ],
    "functions of numbers, whose edges no training reaches one by one": [
        "kreg.callbacks._target.controller",
        "kreg.callbacks._target.group_controller",
        "kreg.callbacks._target.group_norms",
        "kreg.callbacks._target.outcome",
        "kreg.callbacks._target.training_progress",
        "kreg.deployment._costs",
        "kreg.deployment._outputs",
        "kreg.surgery.sample",
        "kreg.selection.comparison.choice",
        "kreg.selection.comparison.figures",
        "kreg.selection.comparison.verdict",
        "kreg.selection.data.batches",
        "kreg.selection.data.folds",
        "kreg.selection.data.order",
        "kreg.selection.data.rows",
        "kreg.selection.features.stability",
        "kreg.selection.features.stability_result",
        "kreg.selection.moved_arguments",
        "kreg.tensorflow_messages",
        "kreg.selection.plots.axes",
        "kreg.selection.strengths.convex_combination",
        "kreg.selection.strengths.grid",
        "kreg.selection.strengths.minimum",
        "kreg.selection.strengths.slopes",
        "kreg.surgery._compact.config_search",
        "kreg.surgery._compact.new_values",
        "kreg.selection.training.gradient",
        "kreg.selection.training.models",
    ],
    "what goes, whose faults `compact` would hide by keeping more": [
        "kreg.surgery._compact.kept_channels",
        "kreg.surgery._compact.walk",
    ],
    "patched or called, to make happen what happens seldom": [
        "kreg.callbacks._monitor.log",
        "kreg.callbacks._regularization_monitor",
        "kreg.deployment._export",
        "kreg.selection.comparison.run",
        "kreg.selection.paths.checkpoints",
        "kreg.selection.paths.run",
        "kreg.selection.paths.task",
        "kreg.selection.execution.workers",
        "kreg.statistics.reader",
    ],
    "what the command offers, for a test of each": [
        "kreg.cli._demo",
    ],
}


def modules_named(file):
    """The modules of kreg that a test imports or names, public ones apart.

    A package's `__all__` is public; a module that is named in a string is one
    that the test patches.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (module_of(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield module_of(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Attribute):
            yield module_of(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield module_of(node.value)


def module_of(name):
    """The module that a dotted name leads to; kreg if what it names is public.

    `kreg.selection.path` is a public name of `kreg.selection`, whatever
    modules there are; `kreg.selection.paths.path` is not.
    """
    first, *rest = name.split(".")
    if first != "kreg" or not all(part.isidentifier() for part in rest):
        return "kreg"
    module = "kreg"
    for part in rest:
        is_public = part in PUBLIC[module] if module in PUBLIC else False
        if is_public and f"{module}.{part}" not in PUBLIC:
            return "kreg"
        if f"{module}.{part}" not in MODULES:
            break
        module = f"{module}.{part}"
    return "kreg" if module in PUBLIC else module


def test_other_modules_are_in_the_list():
    named = {}
    for file in sorted(TESTS.rglob("*.py")):
        # The tests in tests/project are of the layout.
        if file.parent.name != "project":
            for module in set(modules_named(file)) - {"kreg"}:
                named.setdefault(module, []).append(str(file))
    allowed = {m for modules in ALLOWED.values() for m in modules}
    strangers = {m: named[m] for m in named if m not in allowed}
    assert not strangers, "use a public name, or add a line to ALLOWED"
    gone = sorted(allowed - set(named))
    assert not gone, "take these lines out of ALLOWED"
