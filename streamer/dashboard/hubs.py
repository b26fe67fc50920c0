"""One page for a folder of runs: the newest or any other, each with a hub while it is looked at."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from streamer.dashboard.hub import Hub
from streamer.dashboard.messages import encode
from streamer.dashboard.runs import RunList
from streamer.dashboard.thresholds import RefusedError
from streamer.errors import UserError

__all__ = ["MOVED", "Hubs"]

logger = logging.getLogger(__name__)

MOVED = 4000
"""Code of a WebSocket that is closed because what it showed is not the newest run any more."""
_LOOK_S = 1.0
_IDLE_S = 60.0
"""So long a run that nobody looks at is kept open."""


@dataclass(slots=True)
class _Open:
    """A run that is looked at, or was lately."""

    hub: Hub
    task: asyncio.Task[None]
    identity: str
    seen: float = field(default_factory=time.monotonic)


class Hubs:
    """Brings pages and runs together.

    Parameters
    ----------
    folder
        Folder of the runs.
    make_hub
        Opens a run, given its folder; what it raises as a `UserError` is told to who asked.
    """

    def __init__(self, folder: Path, make_hub: Callable[[Path], Hub]) -> None:
        self.runs = RunList(folder)
        self.runs.refresh()
        self._folder = folder
        self._make_hub = make_hub
        self._open: dict[str, _Open] = {}
        self._opening = asyncio.Lock()
        self._followers: dict[WebSocket, str] = {}

    async def run(self) -> None:
        """Look for runs that come and go, until cancelled."""
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                try:
                    await asyncio.to_thread(self.runs.refresh)
                    await self._move_followers()
                    await self._close_idle()
                except Exception:
                    logger.exception("the folder of runs could not be looked at")
        finally:
            for name in list(self._open):
                await self._close(name)

    def rows(self) -> list[dict[str, Any]]:
        """Return what a list says of each run, the newest first."""
        return self.runs.rows()

    async def find(self, name: str) -> Hub:
        """Return the hub of a run.

        Raises
        ------
        RefusedError
            There is no such run, or it cannot be read.
        """
        if not self.runs.identity(name):
            raise RefusedError(404, f"no run {name} in {self._folder}")
        try:
            async with self._opening:
                opened = await self._opened(name)
        except UserError as error:
            raise RefusedError(404, str(error)) from None
        opened.seen = time.monotonic()
        return opened.hub

    async def listed(self, request: Request) -> JSONResponse:
        """Answer with all runs, the newest first."""
        return JSONResponse({"folder": str(self._folder), "runs": self.runs.rows()})

    async def attend_newest(self, websocket: WebSocket) -> None:
        """Serve a page that shows the newest run, until there is a newer one."""
        name = self.runs.newest
        self._followers[websocket] = "" if name is None else self._key(name)
        try:
            if name is not None:
                await self._attend(websocket, name)
            else:
                await self._tell_and_wait(websocket, f"no run in {self._folder} yet")
        finally:
            self._followers.pop(websocket, None)

    async def attend_named(self, websocket: WebSocket) -> None:
        """Serve a page of one run."""
        await self._attend(websocket, websocket.path_params["name"])

    async def _attend(self, websocket: WebSocket, name: str) -> None:
        if not self.runs.identity(name):
            await self._tell_and_wait(websocket, f"no run {name} in {self._folder}")
            return
        try:
            async with self._opening:
                opened = await self._opened(name)
        except UserError as error:
            await self._tell_and_wait(websocket, str(error))
            return
        try:
            await opened.hub.attend(websocket)
        finally:
            opened.seen = time.monotonic()

    async def _tell_and_wait(self, websocket: WebSocket, text: str) -> None:
        """Say why there is nothing to see, until the page is gone or is sent elsewhere."""
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await websocket.send_bytes(encode("problem", {"text": text}))
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass

    async def _opened(self, name: str) -> _Open:
        identity = self.runs.identity(name)
        opened = self._open.get(name)
        if opened is not None and opened.identity != identity:
            await self._close(name)
            opened = None
        if opened is None:
            hub = await asyncio.to_thread(self._make_hub, self._folder / name)
            opened = self._open[name] = _Open(hub, asyncio.create_task(hub.run()), identity)
        return opened

    def _key(self, name: str) -> str:
        return f"{name} {self.runs.identity(name)}"

    async def _move_followers(self) -> None:
        """Have pages that show what was the newest run ask again."""
        name = self.runs.newest
        newest = "" if name is None else self._key(name)
        for websocket in [one for one, shown in self._followers.items() if shown != newest]:
            with contextlib.suppress(RuntimeError):  # it is about to be gone
                await websocket.close(MOVED)

    async def _close_idle(self) -> None:
        async with self._opening:
            for name, opened in list(self._open.items()):
                if opened.hub.n_viewers:
                    opened.seen = time.monotonic()
                is_other = opened.identity != self.runs.identity(name)
                if time.monotonic() - opened.seen > _IDLE_S or (
                    is_other and not opened.hub.n_viewers
                ):
                    await self._close(name)

    async def _close(self, name: str) -> None:
        opened = self._open.pop(name)
        opened.task.cancel()
        await asyncio.gather(opened.task, return_exceptions=True)
        await asyncio.to_thread(opened.hub.close)
