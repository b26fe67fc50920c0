"""An application that a thread serves on a port of its own, and ports for others to serve on."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette

__all__ = ["Served", "free_port"]


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Served:
    """Serves an application until it is left.

    Parameters
    ----------
    application
        What is served.
    port
        0: one that is free.
    options
        Of `uvicorn.Config`.
    """

    def __init__(self, application: Starlette, port: int = 0, **options: Any) -> None:
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        config = uvicorn.Config(
            application,
            log_config=None,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
            **options,
        )
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.socket.close()

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._server.serve(sockets=[self.socket]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.01)
        self._started.set()
        await serving
        # A page that is slow to go leaves its connection behind.
        while connections := list(self._server.server_state.connections):
            for connection in connections:
                connection.transport.abort()
            await asyncio.sleep(0.01)
