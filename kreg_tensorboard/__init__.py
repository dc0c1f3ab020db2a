"""kreg's tab in TensorBoard.

TensorBoard loads what is named in this file whenever it starts, whatever it
shows: an error here would keep it from starting. So this file imports nothing
that TensorBoard has not imported itself; whatever fails further in leaves out
the tab, and nothing else.
"""

import logging
from typing import Any

from tensorboard.plugins import base_plugin

__all__ = ["KregPlugin"]


class KregPlugin(base_plugin.TBLoader):
    """Loads kreg's tab, or leaves it out where that fails."""

    def load(self, context: Any) -> Any:
        try:
            from kreg_tensorboard._tab import KregTab

            return KregTab(context)
        except Exception:
            logging.getLogger(__name__).warning(
                "kreg's tab is left out: it could not be loaded.",
                exc_info=True,
            )
            return None
