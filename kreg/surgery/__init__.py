"""Changing what a trained model is made of."""

from kreg.surgery._freeze_support import freeze_support, unfreeze_support

__all__ = ["freeze_support", "unfreeze_support"]
