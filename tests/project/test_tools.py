"""The same checks wherever they are run from, and a true picture of kreg."""

import configparser
import re
import shlex

import pytest
from project.house import BEGIN, CONTRIBUTING, END, ROOT, house, modules_of
from project.house import summary as first_line


def pins(text):
    return set(re.findall(r"\b(ruff|mypy)==([\d.]+)", text))


def test_pre_commit_has_the_tools_of_the_extra_dev():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert pins(hooks) == pins(setup["options.extras_require"]["dev"])
    assert len(pins(hooks)) == 2
    assert ".venv" not in hooks


TARGETS = re.findall(
    r"^@nox\.session.*\n(?:@.*\n)*def (\w+)\(",
    (ROOT / "noxfile.py").read_text(),
    re.M,
)


@pytest.mark.parametrize("name", ["slow", "torch", "jax", "lint", "types"])
def test_ci_runs_the_target(name):
    assert name in TARGETS
    (command,) = re.findall(
        r"bin/nox -s (.*)", (ROOT / ".ci" / "run").read_text()
    )
    # A target with parts is named as in "slow(surgery)".
    assert name in [word.split("(")[0] for word in shlex.split(command)]


@pytest.mark.parametrize("name", TARGETS)
def test_contributing_names_the_target(name):
    assert f"`{name}`" in CONTRIBUTING.read_text()


@pytest.mark.parametrize("name", modules_of(ROOT / "kreg"))
def test_every_file_says_what_it_is(name):
    assert first_line(modules_of(ROOT / "kreg")[name])


def test_the_listing_in_contributing_is_that_of_the_files():
    text = CONTRIBUTING.read_text()
    shown = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == house().strip(), "run `nox -s house`"
