"""kreg's tab in TensorBoard: the entry point that loads it.

TensorBoard imports this file whenever it starts, so an error here would keep it
from starting. This file therefore imports only modules that TensorBoard has
imported already. An error in the other files only hides the tab.
"""

import logging
from typing import Any

from tensorboard.plugins import base_plugin

__all__ = ["KregPlugin"]


class KregPlugin(base_plugin.TBLoader):
    """Loads kreg's tab; if that fails, TensorBoard starts without it."""

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
