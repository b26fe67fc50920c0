"""The dashboard's process: static files, and one WebSocket for each page that is open."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from streamer.dashboard.fitter import Fit
from streamer.dashboard.hub import Hub
from streamer.dashboard.view import RunView

__all__ = ["STATIC", "application", "is_own", "serve"]

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
"""The page."""
_MOST_BYTES = 1 << 16
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
    """
    hub = Hub(view, fit)

    async def watch_over() -> None:
        if parent is not None:
            await _end_with(hub, view, parent, server)

    server = uvicorn.Server(
        uvicorn.Config(
            application(hub, watch_over),
            log_config=None,
            access_log=False,
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_max_size=_MOST_BYTES,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            headers=_HEADERS,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


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

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(go_on()) for go_on in (hub.run, *beside)]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        hub.close()

    async def attend(websocket: WebSocket) -> None:
        headers = websocket.headers
        if is_own(headers.get("origin"), headers.get("host")):
            await hub.attend(websocket)
        else:
            logger.warning("viewer refused: %s", headers.get("origin"))
            await websocket.close(1008)

    routes = [
        WebSocketRoute("/ws", attend),
        Mount("/", StaticFiles(directory=static, html=True)),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def is_own(origin: str | None, host: str | None) -> bool:
    """Tell whether a WebSocket is asked for by our own page, or by no page at all.

    Any page that a browser shows may open a WebSocket to any address. One of another site names
    that site as its origin; one whose name was made to mean our address names itself as the host,
    so nothing but addresses, ``localhost`` and this machine's name are accepted.
    """
    if origin is None:
        return True  # not a browser
    asked, own = urlsplit(origin).netloc.lower(), (host or "").lower()
    if asked != own:
        return False
    name = urlsplit(f"//{own}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in _own_names()
    return True


@cache
def _own_names() -> set[str]:
    return {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}


async def _end_with(hub: Hub, view: RunView, parent: int, server: uvicorn.Server) -> None:
    """End the server with the process that started it, or when the run is over."""
    while os.getppid() == parent and view.state.live:
        await asyncio.sleep(0.1)
    if not view.state.live:
        await hub.tell_the_end()
    server.should_exit = True
