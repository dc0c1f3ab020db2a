"""The regularization of a model as a page of text."""

from collections.abc import Sequence

from kreg.statistics import Reading


def summary_text(
    name: str, reading: Reading, findings: Sequence[object]
) -> str:
    """Every weight with its regularizer, as Markdown.

    Args:
        name: the name of the model.
        reading: a reading of it.
        findings: what is wrong with it, a line each.
    """
    lines = [
        f"### {_plain(name)} at step {reading.step:,}",
        "",
        f"{reading.size:,} weights, {reading.sparsity:.1%} of them zero, "
        f"penalty {reading.penalty:.4g}.",
        "",
        *(f"- {_plain(str(finding))}" for finding in findings),
        "",
        "| weight | shape | regularizer | strength | penalty | sparsity |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for weight in reading.weights:
        strengths = ", ".join(
            f"{name} {value:.4g}" for name, value in weight.strengths.items()
        )
        frozen = "" if weight.trainable else " (frozen)"
        cells = [
            _plain(weight.path) + frozen,
            " by ".join(map(str, weight.shape)),
            _plain(weight.regularizer or ""),
            strengths,
            f"{weight.penalty:.4g}" if weight.regularizer else "",
            f"{weight.sparsity:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """`text` without what Markdown would take for markup."""
    for sign in "\\`*_{}[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return text
