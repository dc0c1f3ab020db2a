"""Keras's own tests, run plainly and with kreg in every model.

`python tests/keras_suites/compare.py [SUITE ...]` prints for each suite how
many tests passed both ways, and each test whose outcome differs. It ends with
status 1 if a difference is not in `EXPLAINED`. `nox -s keras` runs it.
"""

import argparse
import fnmatch
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

SUITES = ["optimizers", "trainers", "callbacks", "saving", "models", "layers"]

# Tests that pass with Keras alone and not with kreg: a pattern of their names,
# and why. What is here is documented behaviour of kreg, or a private name.
_METRICS = "a bound model has the metrics of its loss's parts beside its own"
_LOGS = "a bound model logs the parts of its loss beside the loss"
_CLASS = "the optimizer's class is ProximalOptimizer"
_STEP = (
    "a bound model carries the step of its last evaluation on JAX, in no file"
)
EXPLAINED = {
    "csv_logger_test.CSVLoggerTest.test_CSVLogger": _LOGS,
    "tensorboard_test.TestTensorBoardV2.*": _LOGS,
    "*.test_ema_overwrite_frequency": "refused, because it undoes zeros",
    "*.TestTrainer.test_adds_loss_scaling_optimizer": _CLASS,
    "*.TestTrainer.test_multiple_compiles": _METRICS,
    "*.TestTrainer.test_nested_trainer_metrics*": _METRICS,
    "*.SavingTest.test_saved_module_paths_and_class_names": _CLASS,
}
if os.environ.get("KERAS_BACKEND") == "jax":
    EXPLAINED |= {
        "*.ModelTest.test_get_state_tree": _STEP,
        "*.SavingTest.test_compile_preserved_*": _STEP,
    }


def outcomes(suite: str, *options: str) -> dict[str, str]:
    """The outcome of each test of a suite, by its name.

    Args:
        suite: the name of a package in `keras.src`.
        options: more options of pytest.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        here = str(Path(__file__).parent)
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "--pyargs"),
                *(f"keras.src.{suite}", "-c", os.devnull, "-q"),
                *("-p", "no:cacheprovider", "-p", "no:warnings"),
                "--continue-on-collection-errors",
                *(f"--junitxml={report}", "--tb=short", *options),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": here},
            stdout=sys.stderr,
        )
        return {
            f"{case.get('classname')}.{case.get('name')}": outcome(case)
            for case in ElementTree.parse(report).iter("testcase")
        }


def outcome(case: ElementTree.Element) -> str:
    """`passed`, `skipped`, `failure` or `error`."""
    kinds = {"skipped", "failure", "error"}
    return next((e.tag for e in case if e.tag in kinds), "passed")


def reason(test: str) -> str | None:
    """Why the outcome of a test differs, if that is known."""
    return next(
        (why for name, why in EXPLAINED.items() if fnmatch.fnmatch(test, name)),
        None,
    )


def compare(suite: str, options: list[str]) -> int:
    """Print how a suite fares plain and with kreg.

    Returns:
        The number of differences that nobody has explained.
    """
    plain = outcomes(suite, *options)
    with_kreg = outcomes(suite, "-p", "with_kreg", *options)
    print(f"{suite}: plain {counts(plain)}; with kreg {counts(with_kreg)}")
    unexplained = 0
    for test in plain | with_kreg:
        before, after = plain.get(test), with_kreg.get(test)
        if before != after:
            why = reason(test)
            unexplained += why is None
            print(f"  {test}: {before} -> {after}: {why or 'NOT EXPLAINED'}")
    return unexplained


def counts(results: dict[str, str]) -> str:
    """The number of each outcome, in words."""
    return ", ".join(
        f"{number} {kind}"
        for kind, number in sorted(Counter(results.values()).items())
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE")
    parser.add_argument("-k", dest="keyword", help="as pytest's -k")
    options = parser.parse_args()
    keyword = ["-k", options.keyword] if options.keyword else []
    unexplained = sum(compare(suite, keyword) for suite in options.suites)
    print(f"{unexplained} differences are not explained")
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
