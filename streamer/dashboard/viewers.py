"""Who is looking, what each wants to see, and what waits to be sent to each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable

from starlette.websockets import WebSocket, WebSocketDisconnect

from streamer.dashboard.image.gallery import Key
from streamer.dashboard.messages import DriftWriter, Lines
from streamer.dashboard.requests import Hold, Preview, RegionOf, Request, RoiOf, Show, Watch

__all__ = ["Message", "Viewer"]

Message = bytes | Lines
"""Lines become a message when they go out: what is new of them depends on what has gone before."""

logger = logging.getLogger(__name__)


class Viewer:
    """One page.

    For each type of message there is one place: what has not gone out when the next is ready is
    replaced by it, so that a page that stopped reading costs no more than one of each.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.show = Show()
        self.watch: Watch | None = None
        self.region = RegionOf()
        self.roi = RoiOf()
        self.roi_due_s = 0.0
        self.has_picture = False
        """True once it was sent one, coarse as that may be."""
        self.asked: dict[type, Request] = {}
        """What it asked for once and has not got, by the kind of request."""
        self.examined: object = None
        """Patch that was sent last."""
        self.preview = Preview()
        self.shown: Key | None = None
        """Frame that was sent last."""
        self.hold = False
        self.sent: dict[str, Hashable] = {}
        """Version of what was sent last, by the type of message."""
        self.dropped = 0
        """Messages it was too slow for."""
        self.heard = time.monotonic()
        """When it last said something."""
        self._websocket = websocket
        self._drifts = DriftWriter()
        self._waiting: dict[str, Message] = {}
        self._filled = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """True when all has gone out."""
        return not self._waiting

    def put(self, kind: str, message: Message) -> None:
        """Send a message when there is room."""
        self.dropped += kind in self._waiting
        self._waiting[kind] = message
        self._filled.set()

    def take(self, request: Request) -> None:
        """Note what it wants."""
        if request in (self.show, Hold(hold=self.hold)):
            return  # as a page says when it comes: what it wants is on its way
        if isinstance(request, Show):
            self.show = request
            self.sent.pop("image", None)
        elif isinstance(request, Watch):
            self.watch = request
            self._drifts.forget()
            self.sent.pop("drift", None)
        elif isinstance(request, RegionOf):
            self.region = request
        elif isinstance(request, RoiOf):
            self.roi = request
            self.sent.pop("roi", None)
        elif isinstance(request, Preview):
            self.preview = request
            self.sent.pop("preview", None)
        elif isinstance(request, Hold):
            self.hold = request.hold
            self.sent.clear()
        else:
            self.asked[type(request)] = request

    def forget(self) -> None:
        """Want nothing but the newest."""
        self.show, self.watch = Show(), None
        self.region, self.roi = RegionOf(), RoiOf()
        self.asked.clear()
        self.preview = Preview()

    async def send(self) -> None:
        """Send what waits, until the page is gone."""
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._waiting:
                    message = self._waiting.pop(next(iter(self._waiting)))
                    if isinstance(message, Lines):
                        message = self._drifts.write(message)
                    await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, OSError, RuntimeError) as error:
            logger.debug("a viewer is gone: %r", error)
