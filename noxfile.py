"""What is run before a change is handed in; `.ci/run` runs all of it.

`nox -l` lists the targets, `nox -s lint types` runs two of them, and
`nox -s fast -- tests/surgery -k bias` hands the rest to pytest.

`fast`, `slow`, `exhaustive` and `docs` use the environment that nox itself is
in, where kreg is installed with its extra `test`. The others make their own.
"""

import configparser
import re
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["fast", "lint", "types", "docs"]

SETUP = configparser.ConfigParser()
SETUP.read(Path(__file__).with_name("setup.cfg"), encoding="utf-8")


def listed(section: str, option: str) -> list[str]:
    """The requirements that setup.cfg lists there, one a line."""
    return SETUP[section][option].split("\n")[1:]


def without_tensorflow(*extras: str) -> list[str]:
    """What kreg and these extras require, but for TensorFlow.

    pip cannot leave out one requirement of a package, so these are installed
    by name and kreg with `--no-deps`.
    """
    requirements = listed("options", "install_requires")
    for extra in extras:
        requirements += listed("options.extras_require", extra)
    for requirement in list(requirements):
        if inner := re.fullmatch(r"kreg\[(.*)\]", requirement):
            requirements.remove(requirement)
            for extra in inner[1].split(","):
                requirements += listed("options.extras_require", extra)
    return [r for r in requirements if not r.startswith("tensorflow")]


def pinned(tool: str) -> str:
    """The version of a tool that the extra `dev` pins."""
    (requirement,) = (
        requirement
        for requirement in listed("options.extras_require", "dev")
        if requirement.startswith(f"{tool}==")
    )
    return requirement


def pytest(session: nox.Session, *arguments: str) -> None:
    session.run(sys.executable, "-m", "pytest", *arguments, *session.posargs)


@nox.session(python=False)
def fast(session: nox.Session) -> None:
    """The tests that a change must pass; what plain `pytest` runs."""
    pytest(session)


SLOW_PARTS = "surgery", "callbacks", "optimizers", "selection"


@nox.session(python=False)
@nox.parametrize("part", [*SLOW_PARTS, "others"], ids=[*SLOW_PARTS, "others"])
def slow(session: nox.Session, part: str) -> None:
    """The tests that take longer: whole trainings, and more cases.

    In five runs one after another, because TensorFlow keeps a few
    megabytes of every model that was trained. `.ci/run` has time for two of
    them, "slow(surgery)" and "slow(others)"; run all before a release.
    """
    marked = "-m", "(slow or thorough) and not exhaustive"
    if session.posargs:
        if part != "others":
            session.skip("the tests are named")
        pytest(session, *marked)
        return
    tests = [f"tests/{part}"]
    if part == "others":
        tests = [f"--ignore=tests/{p}" for p in SLOW_PARTS]
    pytest(session, *marked, *tests)


@nox.session(python=False)
def exhaustive(session: nox.Session) -> None:
    """The rest of the tables of large models; before a release."""
    pytest(session, "-m", "exhaustive")


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """The examples of docstrings and of README.md, run as they stand."""
    pytest(
        session,
        "tests/project/test_public_names.py",
        "tests/project/test_readme.py",
    )


def on_backend(session: nox.Session, backend: str) -> None:
    """The fast tests that carry over; TensorFlow is not installed there.

    `nox -s torch -- -m "not slow"` runs those that are marked thorough, too.
    """
    session.install(*without_tensorflow(backend, "test-any-backend"))
    session.install("--no-deps", ".")
    session.run(
        *("pytest", *session.posargs),
        env={"KERAS_BACKEND": backend},
    )


@nox.session
def torch(session: nox.Session) -> None:
    """The fast tests, on the torch backend."""
    on_backend(session, "torch")


@nox.session
def jax(session: nox.Session) -> None:
    """The fast tests, on the JAX backend."""
    on_backend(session, "jax")


@nox.session
def keras(session: nox.Session) -> None:
    """Keras's own tests, plain and with kreg in every model; see the file."""
    session.install(".[test-any-backend,torch,jax]", "grain")
    for backend in ("tensorflow", "torch", "jax"):
        session.run(
            *("python", "tests/keras_suites/compare.py", *session.posargs),
            env={"KERAS_BACKEND": backend},
        )


@nox.session
def lint(session: nox.Session) -> None:
    """The linter and the formatter."""
    session.install(pinned("ruff"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """The type checker, beside the typed packages that kreg imports."""
    session.install(pinned("mypy"), *without_tensorflow("plot"))
    session.run("mypy")


@nox.session(python=False)
def house(session: nox.Session) -> None:
    """Write the listing of the tree in CONTRIBUTING.md; print its numbers."""
    session.run(sys.executable, "tests/project/house.py", "--write")
