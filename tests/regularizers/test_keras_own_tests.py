"""Keras's own tests of its regularizers, with kreg's classes in their place."""

import unittest

import pytest
from keras.src import regularizers

import kreg

regularizers_test = pytest.importorskip(
    "keras.src.regularizers.regularizers_test",
    reason="this version of Keras ships no tests",
)


def test_kreg_passes_the_tests_of_keras(monkeypatch):
    for ours in (kreg.L1, kreg.L2, kreg.L1L2):
        name = ours.__name__
        monkeypatch.setattr(regularizers, name, ours)
        for identifier in (name, name.lower()):
            if identifier in regularizers.ALL_OBJECTS_DICT:
                monkeypatch.setitem(
                    regularizers.ALL_OBJECTS_DICT, identifier, ours
                )
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(
        regularizers_test.RegularizersTest
    )
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun >= 20
    if not result.wasSuccessful():
        pytest.fail("\n".join(t for _, t in result.failures + result.errors))
