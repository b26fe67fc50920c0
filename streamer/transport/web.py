"""An HTTP server that nobody can keep others out of by being slow."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamer.transport.guard import App

__all__ = ["web_server"]

REQUEST_S = 10.0
"""For a whole request to come, from when the last was answered."""
RESPONSE_S = 60.0
"""For the answer to be taken."""
MOST_WAITING = 256
"""Connections whose request has not come; the oldest makes room for another."""


def web_server(app: App, **more: Any) -> uvicorn.Server:
    """Return a server of an ASGI application; `more` goes to ``uvicorn.Config``."""
    waiting: dict[_Connection, None] = {}
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        loop="asyncio",
        http=partial(_Connection, waiting=waiting),  # type: ignore[arg-type]
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        **more,
    )
    return uvicorn.Server(config)


class _Connection(H11Protocol):
    """A connection that is given up when it takes too long, or when too many are waiting."""

    def __init__(self, *words: Any, waiting: dict[_Connection, None], **more: Any) -> None:
        super().__init__(*words, **more)
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._leave()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Look whether a request has come."""
        super().handle_events()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave what is no HTTP any more to others."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._look()

    def give_up(self) -> None:
        """Close the connection, whatever it still had to say or to hear."""
        self._leave()
        self.transport.abort()

    def _look(self) -> None:
        """Wait for what is to come next, and not longer because a part of it has come."""
        if self._is_over or self.transport.is_closing():
            return
        awaits_request = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if self._timer is not None and awaits_request == (self in self._waiting):
            return
        self._stop()
        seconds = REQUEST_S if awaits_request else RESPONSE_S
        self._timer = self.loop.call_later(seconds, self.give_up)
        if awaits_request:
            if len(self._waiting) >= MOST_WAITING:
                oldest = next(iter(self._waiting))
                oldest.give_up()
            self._waiting[self] = None

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.pop(self, None)

    def _leave(self) -> None:
        self._is_over = True
        self._stop()
