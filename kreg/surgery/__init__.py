"""Changing built models: attach, strip, compact, and freezing supports."""

from kreg.surgery._attach import attach
from kreg.surgery._changes import Change, Changes
from kreg.surgery._compact.compact import compact
from kreg.surgery._compact.compaction import Compaction, LayerCompaction
from kreg.surgery._strip import strip
from kreg.surgery.support import freeze_support, unfreeze_support

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
