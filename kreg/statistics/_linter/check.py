"""`kreg.check`: the linter for a model's regularization, and its findings."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kreg._arguments import (
    model_with_weights,
    positive_integer,
    real_number,
)
from kreg.results.result import Result, ResultWithRows, SavedResult
from kreg.results.table import Column, Table
from kreg.statistics._linter.model_facts import Fault, ModelFacts
from kreg.statistics._linter.rules import RULES, Rule

_SHOWN = 3  # the maximum number of paths or rules to list


@dataclass(frozen=True, repr=False)
class Finding(Result):
    """One mistake in how a model is regularized; `str` is one line.

    Args:
        rule: the name of the rule, such as `"no-exact-zeros"`.
        path: the path of the weight. If many weights have the same mistake, the
            paths of the first few, and the number of others.
        message: what is wrong.
        fix: what to do, with code in backticks.

    Example:

    >>> import kreg
    >>> print(kreg.statistics.Finding(
    ...     "some-rule", "net/last/kernel", "it is wrong", "mend it"))
    net/last/kernel: it is wrong. Mend it.
    """

    rule: str
    path: str
    message: str
    fix: str

    def headline(self) -> dict[str, Any]:
        """The rule and the weight."""
        return {"rule": self.rule, "path": self.path}

    def __str__(self) -> str:
        fix = self.fix[:1].upper() + self.fix[1:]
        return " ".join(f"{self.path}: {self.message}. {fix}.".split())


class Findings(ResultWithRows, SavedResult, tuple[Finding, ...]):
    """The result of `kreg.check`: a tuple of `Finding` that prints as a table.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(
    ...     1, kernel_regularizer=kreg.L1(0.1), name="last")], name="net")
    >>> model.compile("adam", "mse")
    >>> kreg.check(model)
    Findings(findings=1, rules=['no-exact-zeros'])
    >>> model.compile(kreg.ProximalOptimizer("adam"), "mse")
    >>> print(kreg.check(model))
    nothing is wrong
    """

    def headline(self) -> dict[str, Any]:
        """The number of findings, and their first rules."""
        rules = list(dict.fromkeys(finding.rule for finding in self))
        shown = rules[:_SHOWN] + ["..."] * (len(rules) > _SHOWN)
        return {"findings": len(self), "rules": shown}

    def table(self) -> Table:
        """A row for each finding."""
        columns = (
            Column("rule", "text", rank=1),
            Column("weight", "name"),
            Column("what is wrong", "text"),
            Column("what to do", "text"),
        )
        rows = [
            (
                finding.rule,
                finding.path.replace(", ", "\n").replace(" and ", "\nand "),
                finding.message,
                finding.fix,
            )
            for finding in self
        ]
        return Table(columns, rows, notes=[] if rows else ["nothing is wrong"])

    def records(self) -> list[dict[str, Any]]:
        """The fields of each finding."""
        return [finding.to_dict() for finding in self]

    def to_dict(self) -> dict[str, Any]:
        """The fields of each finding, ready for JSON."""
        return {"findings": self.records()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Findings":
        """The inverse of `to_dict`."""
        return cls(Finding(**finding) for finding in values["findings"])


def check(
    model: keras.Model,
    *,
    steps: int | None = None,
    data_loss: float | None = None,
) -> Findings:
    """Find mistakes in the regularization of a model.

    It finds penalties that act on nothing, on the wrong thing or twice, and
    exact zeros that will never appear or will be lost. It reports only what is
    certain from the present state of the model, so run it after `compile` and
    before `fit`. After the first epoch of `fit` it can also report which
    penalties a training step of your own leaves out. Nothing is printed and the
    model is not changed. Regularizers may be kreg's, Keras's or any callable.

    The rules, each with the mistake that it looks for:
    {rules}

    Args:
        model: a `keras.Model` with weights, compiled or not, bound or not.
            Rules about optimizers apply to weights whose optimizer is known.
        steps: int >= 1, the planned number of optimizer updates. Defaults to
            `None`: as many as each schedule needs to reach its end.
        data_loss: float, the loss without penalties, as `fit` logs it for a
            bound model. Defaults to `None`: unknown.

    Returns:
        `Findings`, a tuple of `Finding` that prints as a table; empty if
        nothing is wrong. Weights with the same mistake share one finding.

    Raises:
        TypeError: if `model` is not a `keras.Model`, `steps` is not an integer
            or `data_loss` is not a number.
        ValueError: if `model` has no weights yet, `steps` is below 1 or
            `data_loss` is not finite.

    Example:

    >>> import keras, kreg
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(
    ...     1, kernel_regularizer=kreg.L1(0.1), name="last")], name="net")
    >>> model.compile("adam", "mse")
    >>> for finding in kreg.check(model):
    ...     print(finding)  # doctest: +NORMALIZE_WHITESPACE
    net/last/kernel: L1 makes no exact zeros under Adam alone, only small
    weights. Compile with `kreg.ProximalOptimizer(model.optimizer)`, which
    takes its proximal step.
    >>> model.compile(kreg.ProximalOptimizer(model.optimizer), "mse")
    >>> len(kreg.check(model))
    0
    """
    model_with_weights(model)
    if steps is not None:
        steps = positive_integer("steps", steps)
    if data_loss is not None:
        data_loss = real_number("data_loss", data_loss)
    return findings_of(ModelFacts(model, steps, data_loss))


def findings_of(facts: ModelFacts) -> Findings:
    """The findings of all rules, with equal messages merged into one."""
    findings: list[Finding] = []
    for rule in RULES:
        faults_by_message: dict[str, list[Fault]] = {}
        for fault in rule.faults(facts):
            faults_by_message.setdefault(fault.message, []).append(fault)
        findings.extend(
            _finding(rule.name, faults) for faults in faults_by_message.values()
        )
    return Findings(findings)


def _rule_item(rule: Rule) -> str:
    """A rule as an item of the list in the docstring of `check`."""
    return textwrap.fill(
        f"- `{rule.name}`: {rule.summary}",
        width=79,
        initial_indent="    ",
        subsequent_indent="      ",
    )


check.__doc__ = (check.__doc__ or "").replace(
    "    {rules}", "\n".join(map(_rule_item, RULES))
)


def _finding(rule: str, faults: Sequence[Fault]) -> Finding:
    """One finding for all weights that have the same fault."""
    first, rest = faults[0], len(faults) - _SHOWN
    path = ", ".join(fault.path for fault in faults[:_SHOWN])
    if rest > 0:
        path = f"{path} and {rest:,} more"
    have_own_fixes = any(fault.fix != first.fix for fault in faults)
    fix = (
        f"{first.fix}; likewise for the others" if have_own_fixes else first.fix
    )
    return Finding(rule, path, first.message, fix)
