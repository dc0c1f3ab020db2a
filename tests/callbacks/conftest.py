"""The warnings that a test expects, all of them and no others."""

import re
import warnings
from contextlib import contextmanager

import pytest


@pytest.fixture
def told():
    """A block whose warnings for users match these patterns, one each."""

    @contextmanager
    def block(*patterns):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        texts = [
            str(warning.message)
            for warning in caught
            if warning.category is UserWarning
            and "Gradients do not exist" not in str(warning.message)
        ]
        assert len(texts) == len(patterns), texts
        for pattern in patterns:
            assert any(re.search(pattern, text) for text in texts), texts

    return block
