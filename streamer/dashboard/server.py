"""The dashboard's process: static files, and one WebSocket for each page that is open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from streamer.dashboard.api.routes import api_routes
from streamer.dashboard.fitter import Fit
from streamer.dashboard.hub import Hub
from streamer.dashboard.hubs import Hubs
from streamer.dashboard.thresholds import RefusedError
from streamer.dashboard.view import RunView
from streamer.transport.guard import Guard
from streamer.transport.web import web_server

__all__ = ["STATIC", "application", "application_of_runs", "serve", "serve_runs"]

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
"""The page."""
_MOST_BYTES = 1 << 16
_COMMENT = re.compile(
    r"^[ \t]*(?:/\*\*(?:[^*]|\*(?!/))*\*/|//[^\n]*)[ \t]*\n|^[ \t]+", re.MULTILINE
)
"""Comments that have lines of their own, and what lines are moved to the right by."""
_HEADERS = [
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline';"
        " frame-ancestors 'none'",
    ),
]


def serve(
    view: RunView,
    listener: socket.socket,
    *,
    fit: Fit | None = None,
    parent: int | None = None,
    lasting: bool = False,
    token: str | None = None,
    host: str = "",
) -> None:
    """Serve a run's dashboard until SIGTERM or Ctrl-C.

    Parameters
    ----------
    view
        The run.
    listener
        Bound socket.
    fit
        Fits patches.
    parent
        Process with which this one ends, as with the run, shortly after that has ended.
    lasting
        It does not end with the run.
    token, host
        See `Guard`.
    """
    hub = Hub(view, fit)

    async def watch_over() -> None:
        if parent is not None:
            await _end_with(hub, view, parent, server, lasting=lasting)

    server = _server(application(hub, watch_over), token, host)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def serve_runs(hubs: Hubs, listener: socket.socket, *, token: str | None, host: str) -> None:
    """Serve the page of a folder of runs until SIGTERM or Ctrl-C.

    Parameters
    ----------
    hubs
        The runs.
    listener
        Bound socket.
    token, host
        See `Guard`.
    """
    with contextlib.suppress(KeyboardInterrupt):
        _server(application_of_runs(hubs), token, host).run(sockets=[listener])


def _server(app: Starlette, token: str | None, host: str) -> uvicorn.Server:
    return web_server(
        Guard(app, token, host),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=_MOST_BYTES,
        headers=_HEADERS,
    )


def application(
    hub: Hub, *beside: Callable[[], Coroutine[Any, Any, None]], static: Path = STATIC
) -> Starlette:
    """Return what is served: the page with its files, and the hub for each that is open.

    Parameters
    ----------
    hub
        It goes round as long as the application lives, and is closed with it.
    beside
        What else goes on meanwhile.
    static
        Folder of the page.
    """
    routes = [
        WebSocketRoute("/ws", hub.attend),
        *api_routes(_OneRun(hub)),
        Mount("/", _page(static)),
    ]
    return _application(routes, hub.run, *beside, closing=hub.close)


class _OneRun:
    """A run by itself, as programs ask for it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def rows(self) -> list[dict[str, Any]]:
        return [self._hub.row]

    async def find(self, name: str) -> Hub:
        if name != self._hub.row["name"]:
            raise RefusedError(404, f"no run {name} here: it is {self._hub.row['name']}")
        return self._hub


def application_of_runs(hubs: Hubs, *, static: Path = STATIC) -> Starlette:
    """Return what is served of a folder of runs.

    At ``/`` is the newest, at ``/runs/NAME/`` each, at ``/runs/`` the list of all.
    """
    page = _page(static)
    routes = [
        WebSocketRoute("/ws", hubs.attend_newest),
        WebSocketRoute("/runs/{name}/ws", hubs.attend_named),
        Route("/runs/runs.json", hubs.listed),
        *api_routes(hubs),
        Mount("/runs/{name}", page),
        Mount("/", page),
    ]
    return _application(routes, hubs.run)


def _page(static: Path) -> ASGIApp:
    """Return what serves the files of the page, in a third of their bytes."""
    return GZipMiddleware(_Files(directory=static, html=True))


class _Files(StaticFiles):
    """The files of the page; scripts without their comments, which are half of them."""

    def file_response(self, *about: Any, **more: Any) -> Response:
        response = super().file_response(*about, **more)
        if not isinstance(response, FileResponse) or not str(response.path).endswith(".js"):
            return response
        text = _COMMENT.sub("", Path(response.path).read_text(encoding="utf-8"))
        known = {name: response.headers[name] for name in ("etag", "last-modified")}
        return Response(text, headers=known, media_type=response.media_type)


def _application(
    routes: list[BaseRoute],
    *lasting: Callable[[], Coroutine[Any, Any, None]],
    closing: Callable[[], None] = lambda: None,
) -> Starlette:
    """Return an application beside which something goes on as long as it lives."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(go_on()) for go_on in lasting]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closing()

    return Starlette(routes=routes, lifespan=lifespan)


async def _end_with(
    hub: Hub, view: RunView, parent: int, server: uvicorn.Server, *, lasting: bool
) -> None:
    """End the server with the process that started it, or when the run is over."""
    while os.getppid() == parent and (lasting or view.state.live):
        await asyncio.sleep(0.1)
    if not view.state.live:
        await hub.tell_the_end()
    server.should_exit = True
