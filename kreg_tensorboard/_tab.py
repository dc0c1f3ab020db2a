"""`KregTab`: the page of the tab, and its data routes `/runs` and `/series`."""

from functools import partial
from pathlib import Path
from typing import Any

from tensorboard import context, errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from kreg_tensorboard._logs import Logs, is_kreg_tag

PAGE = Path(__file__).parent / "page"
CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}
MOST_POINTS = 10_000


class KregTab(base_plugin.TBPlugin):
    """kreg's tab, which TensorBoard shows if a run has kreg's marker.

    The files of the page are read in the constructor. So a damaged installation
    fails there, and not later in a tab that does not work.
    """

    plugin_name = "kreg"

    def __init__(self, tensorboard: Any) -> None:
        if tensorboard.data_provider is None:
            raise ValueError("TensorBoard runs without a data provider")
        self._provider = tensorboard.data_provider
        self._files: dict[str, Any] = {
            f"/{file.name}": partial(
                http_util.Respond,
                content=file.read_bytes(),
                content_type=CONTENT_TYPES[file.suffix],
            )
            for file in PAGE.iterdir()
            if file.suffix in CONTENT_TYPES
        }
        if "/index.js" not in self._files:
            raise FileNotFoundError(PAGE / "index.js")

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        return base_plugin.FrontendMetadata(
            es_module_path="/index.js", tab_name="kreg", disable_reload=True
        )

    def is_active(self) -> bool:
        logs = Logs(self._provider, context.RequestContext(), "")
        return bool(logs.marked_runs())

    def get_plugin_apps(self) -> dict[str, Any]:
        handlers: dict[str, Any] = {
            "/runs": self._runs,
            "/series": self._series,
            **self._files,
        }
        return {
            route: wrappers.Request.application(handler)
            for route, handler in handlers.items()
        }

    def _runs(self, request: wrappers.Request) -> Any:
        runs = self._logs(request).runs()
        return http_util.Respond(request, {"runs": runs}, "application/json")

    def _series(self, request: wrappers.Request) -> Any:
        series = self._logs(request).series(
            runs=_required(request, "run"),
            groups=_kreg_names(request, "group"),
            tags=_kreg_names(request, "tag"),
            points=_points(request),
        )
        return http_util.Respond(request, series, "application/json")

    def _logs(self, request: wrappers.Request) -> Logs:
        environ = request.environ
        return Logs(
            self._provider,
            plugin_util.context(environ),
            plugin_util.experiment_id(environ),
        )


def _required(request: wrappers.Request, name: str) -> list[str]:
    values = request.args.getlist(name)
    if not values:
        raise errors.InvalidArgumentError(f"`{name}` must be given")
    return values


def _kreg_names(request: wrappers.Request, name: str) -> list[str]:
    values = request.args.getlist(name)
    for value in values:
        if not is_kreg_tag(value):
            raise errors.InvalidArgumentError(
                f"`{name}` must be one of kreg's. Received: {value!r}"
            )
    return values


def _points(request: wrappers.Request) -> int | None:
    text = request.args.get("points")
    if text is None:
        return None
    digits = text.isascii() and text.isdigit() and len(text) <= 5
    points = int(text) if digits else 0
    if not 1 <= points <= MOST_POINTS:
        raise errors.InvalidArgumentError(
            f"`points` must be an integer from 1 to {MOST_POINTS}. "
            f"Received: {text!r}"
        )
    return points
