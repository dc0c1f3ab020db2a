"""Changing what a trained model is made of."""

from kreg.surgery._attach import attach
from kreg.surgery._changes import Change, Changes
from kreg.surgery._compact._compact import compact
from kreg.surgery._compact._compaction import Compaction, LayerCompaction
from kreg.surgery._freeze_support import freeze_support, unfreeze_support
from kreg.surgery._strip import strip

__all__ = [
    "Change",
    "Changes",
    "Compaction",
    "LayerCompaction",
    "attach",
    "compact",
    "freeze_support",
    "strip",
    "unfreeze_support",
]
