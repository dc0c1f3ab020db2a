"""Paths and comparisons are shown on TensorFlow so far."""

import keras

if keras.backend.backend() != "tensorflow":
    collect_ignore_glob = ["test_*.py"]
