"""What stands where in kreg, read from its source.

Run with: python tests/project/house.py [--write]

It prints a line for each file, then numbers. `--write` puts the lines into
CONTRIBUTING.md. It imports the standard library alone, and nothing of kreg.
"""

import ast
import sys
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- house -->\n", "<!-- end of the house -->\n"
# Through which files something goes: the modules where it enters kreg, and
# those where it ends. The files between are found from the imports.
WAYS = {
    "a strength, from `L1(...)` to the loss": (
        ["kreg.regularizers._l1_l2", "kreg.binding.binding"],
        ["kreg.regularizers.strength"],
    ),
    "a weight, from the monitor to the event file": (
        ["kreg.callbacks._regularization_monitor"],
        ["kreg.statistics._weights_pass", "kreg.files.event_file"],
    ),
    "a data set, from `compare` to its batches": (
        ["kreg.selection.comparison.compare"],
        ["kreg.selection.data.batches"],
    ),
}


def modules_of(package):
    """The file of each module of a package, by its dotted name."""
    modules = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = file
    return modules


def imported_names(file):
    """(module, name) for each import in a file, inside functions too.

    The name is None in `import module`.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            yield from ((node.module, alias.name) for alias in node.names)


def imports_of(modules):
    """The modules that each module imports, apart from itself."""
    return {
        importer: sorted(
            {
                whole if (whole := f"{module}.{name}") in modules else module
                for module, name in imported_names(file)
            }
            - {importer}
        )
        for importer, file in modules.items()
    }


def definitions_used(modules):
    """As `imports_of`, with each name traced to the file that defines it.

    `from kreg.regularizers import Penalty` leads to
    `kreg.regularizers.penalty`, not to the `__init__` that passes it on.
    """
    passed_on = {
        (package, name): module
        for package, file in modules.items()
        if file.name == "__init__.py"
        for module, name in imported_names(file)
    }

    def source(module, name):
        if f"{module}.{name}" in modules:
            return f"{module}.{name}"
        while (module, name) in passed_on:
            module = passed_on[module, name]
        return module

    return {
        importer: {
            source(module, name) for module, name in imported_names(file)
        }
        for importer, file in modules.items()
        if file.name != "__init__.py"
    }


def reachable(starts, arrows):
    """The starts, and all that arrows lead to from there."""
    seen, left = set(), list(starts)
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += arrows.get(name, ())
    return seen


def files_on_the_way(modules, starts, ends):
    """The modules on any path of imports from a start to an end, with both."""
    unknown = [name for name in [*starts, *ends] if name not in modules]
    assert not unknown, f"WAYS names modules that are gone: {unknown}"
    forth = definitions_used(modules)
    back = {}
    for importer, imported in forth.items():
        for name in imported:
            back.setdefault(name, []).append(importer)
    return reachable(starts, forth) & reachable(ends, back)


def summary(file):
    """The first line of a file's docstring, without the period."""
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return docstring.split("\n")[0].removesuffix(".")


def listing(folder, indent=""):
    """A line for each file of a folder, then the folders inside it."""
    yield f"{indent}{folder.name}/  {summary(folder / '__init__.py')}"
    indent += "    "
    files = [f for f in sorted(folder.glob("*.py")) if f.stem != "__init__"]
    width = max((len(file.name) for file in files), default=0)
    for file in files:
        yield f"{indent}{file.name:{width}}  {summary(file)}"
    for inner in sorted(folder.glob("*/__init__.py")):
        yield from listing(inner.parent, indent)


def names_in(folder):
    """The files and folders that a folder lists."""
    files = [f for f in folder.glob("*.py") if f.name != "__init__.py"]
    return len(files) + len(list(folder.glob("*/__init__.py")))


def numbers(modules):
    """Sizes, and the number of files on each of the ways."""
    lines = [len(file.read_text().splitlines()) for file in modules.values()]
    folders = Counter({f.parent: names_in(f.parent) for f in modules.values()})
    ((largest, names),) = folders.most_common(1)
    yield f"{len(modules)} modules of {median(lines):.0f} lines (median)"
    yield f"{sum(lines)} lines"
    yield f"largest folder: {largest.relative_to(ROOT)}, {names} names"
    for way, (starts, ends) in WAYS.items():
        files = files_on_the_way(modules, starts, ends)
        yield f"{way}: {len(files)} files"


def house():
    """What CONTRIBUTING.md shows between its two marks."""
    return "```text\n" + "\n".join(listing(ROOT / "kreg")) + "\n```\n"


def write():
    before, _, rest = CONTRIBUTING.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    CONTRIBUTING.write_text(f"{before}{BEGIN}\n{house()}\n{END}{after}")


if __name__ == "__main__":
    print(house())
    print("\n".join(numbers(modules_of(ROOT / "kreg"))))
    if "--write" in sys.argv[1:]:
        write()
