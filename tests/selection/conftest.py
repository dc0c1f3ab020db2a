"""A fixture for tests that start processes of their own."""

import os
import sys

import pytest


@pytest.fixture(scope="module")
def workers_find_the_tests():
    """Let workers import what pytest imported from the tests' folder."""
    before = os.environ.get("PYTHONPATH")
    tests = os.path.dirname(os.path.dirname(__file__))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [tests, before, *sys.path])
    )
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
