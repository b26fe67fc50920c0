"""What each viewer of a run is told, and when; what several want is made once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.websockets import WebSocket

from streamer.dashboard.answers import Answers
from streamer.dashboard.common import COMMON
from streamer.dashboard.fitter import Fit, PatchFitter
from streamer.dashboard.image.gallery import Key
from streamer.dashboard.lattice import PARAMETERS
from streamer.dashboard.messages import Lines, encode
from streamer.dashboard.panels import PANELS, Panel
from streamer.dashboard.requests import read_request
from streamer.dashboard.view import RunView
from streamer.dashboard.viewers import Message, Viewer

__all__ = ["Hub"]

logger = logging.getLogger(__name__)

_TICK_S = 0.1
_IMAGE_S = 0.09
_HEALTH_S = 0.5
_TABLES_S = 1.0
_IMAGE_SHARE = 0.2
"""Most of the time that may go into making images."""
_DRIFT_SHARE = 0.1
"""Most of the time that may go into making drifts anew as they grow."""
_MOST_VIEWERS = 100
_LAST_S, _LAST_TURNS = 2.0, 2
"""Longest time for viewers to hear how a run ended, and the turns that are made until then."""
_ASKED_S = 10.0
"""Longest time in which a run is read before a question about it is answered."""
_CACHED = 64

_T = TypeVar("_T")

_FAILED = "failed"
"""In place of a version that could not be told."""


@dataclass(slots=True)
class _Next:
    """When what is made from time to time is made next, in seconds of the monotonic clock."""

    health: float = 0.0
    tables: float = 0.0
    image: float = 0.0
    drift: float = 0.0


class Hub:
    """Brings to each viewer what it wants; what several want is made once.

    All that touches the run is done by one thread, in turns.

    Parameters
    ----------
    view
        The run.
    fit
        Fits patches.
    panels
        What all are told alike.
    listed
        The run is one of a list that the page can be asked for.
    """

    def __init__(
        self,
        view: RunView,
        fit: Fit | None = None,
        panels: Sequence[Panel] = PANELS,
        *,
        listed: bool = False,
    ) -> None:
        self._view = view
        self._listed = listed
        self._answers = Answers(view, None if fit is None else PatchFitter(fit), self._put)
        self._panels = panels
        self._versions: dict[str, Hashable] = {}
        self._viewers: list[Viewer] = []
        self._attending: dict[Viewer, asyncio.Task[None]] = {}
        self._thread = ThreadPoolExecutor(1, "view")
        self._asked = asyncio.Event()
        self._made: dict[Hashable, bytes] = {}
        self._health: dict[str, Any] = {}
        self._next = _Next()
        self._newest: Key | None = None
        self._drift_version: Hashable = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = 0

    @property
    def n_viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    async def run(self) -> None:
        """Go round until cancelled."""
        self._loop = loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._thread, self._turn, tuple(self._viewers))
                self._turns += 1
            except Exception:
                logger.exception("a turn failed")
                self._tell_all("the dashboard could not read the run: see its log")
                await asyncio.sleep(1.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _TICK_S)
            self._asked.clear()

    async def attend(self, websocket: WebSocket) -> None:
        """Serve one page."""
        if len(self._viewers) >= _MOST_VIEWERS:
            # Who says nothing must not keep others out; a page that is turned away comes again.
            silent = min(self._viewers, key=lambda viewer: viewer.heard)
            self._viewers.remove(silent)
            self._attending.pop(silent).cancel()
            logger.warning("too many viewers: the one who was silent the longest is turned away")
        await websocket.accept()
        viewer = Viewer(websocket)
        self._viewers.append(viewer)
        if (task := asyncio.current_task()) is not None:
            self._attending[viewer] = task
        self._asked.set()
        sender = asyncio.create_task(viewer.send())
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                viewer.heard = time.monotonic()
                try:
                    viewer.take(read_request(message.get("text") or ""))
                except ValueError as error:
                    viewer.put("problem", _problem(str(error)))
                self._asked.set()
        except asyncio.CancelledError:
            if viewer in self._viewers:
                raise
        finally:
            if viewer in self._viewers:
                self._viewers.remove(viewer)
            self._attending.pop(viewer, None)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    @property
    def row(self) -> dict[str, Any]:
        """What a list of runs says of this one."""
        return {"name": self._view.name, **self._view.state.row()}

    async def ask(self, question: Callable[[RunView], _T]) -> _T:
        """Return the answer to a question about the run, of which all is read before."""

        def answer() -> _T:
            if not self._turns:
                self._turn(())
            self._view.catch_up(_ASKED_S)
            return question(self._view)

        return await asyncio.get_running_loop().run_in_executor(self._thread, answer)

    async def tell_the_end(self) -> None:
        """Let all viewers hear how the run ended, if they listen."""
        stop, turns = time.monotonic() + _LAST_S, self._turns
        while time.monotonic() < stop:
            await asyncio.sleep(0.1)
            if self._turns > turns + _LAST_TURNS and all(one.is_idle for one in self._viewers):
                return

    def close(self) -> None:
        """Release files and sockets, in the thread that used them."""
        self._thread.submit(self._view.close)
        self._thread.shutdown()
        self._answers.close()

    def _turn(self, viewers: tuple[Viewer, ...]) -> None:
        """Read what is new and put before each viewer what it has not got."""
        view, now = self._view, time.monotonic()
        is_time = now >= self._next.health
        if is_time:
            self._next.health = now + _HEALTH_S
            was_live = view.state.live
            view.state.refresh()
            # All is there, and may be the last that is shown.
            if was_live and not view.state.live:
                self._next.tables = self._next.drift = 0.0
        view.refresh(watched=bool(viewers))
        if now >= self._next.tables:
            self._next.tables = now + _TABLES_S
            view.refresh_tables()
            self._versions = {panel.name: self._version(panel) for panel in self._panels}
        if is_time:
            self._health = view.health()
            if now >= self._next.drift:
                self._drift_version = view.drift_version
        if not viewers:
            return
        if now >= self._next.image:
            self._newest = view.frames.newest()
            self._next.image = now + _IMAGE_S
        self._answers.gather(viewers)
        hello = view.hello() | {"listed": self._listed}
        known = str(hello | {"n_frames": 0})  # which alone is no news: other messages have it
        health = self._health | {"viewers": len(viewers)}
        for viewer in viewers:
            try:
                self._offer(viewer, "hello", known, lambda: encode("hello", hello))
                if is_time or "health" not in viewer.sent:
                    viewer.sent["health"] = True
                    message = encode("health", health | {"dropped": viewer.dropped})
                    self._put(viewer, "health", message)
                if not viewer.hold:
                    self._offer_all(viewer, now)
            except Exception:  # what one asked for must not be the end of all
                logger.exception("a viewer cannot be served")
                viewer.forget()
                self._put(viewer, "problem", _problem("that could not be shown: see the log"))

    def _offer_all(self, viewer: Viewer, now: float) -> None:
        view, watch = self._view, viewer.watch
        self._offer_image(viewer)
        self._offer_preview(viewer)
        for panel in self._panels:
            self._offer_panel(viewer, panel)
        if watch is not None and (watch.tracks or watch.quantity in (*COMMON, *PARAMETERS)):
            begin = time.monotonic()
            version = (watch, self._drift_version)
            if viewer.sent.get("drift") != version:
                message = view.drift(watch)
                is_whole = not isinstance(message, Lines) or message.is_whole
                viewer.sent["drift"] = version if is_whole else None
                self._put(viewer, "drift", message)
            took = time.monotonic() - begin
            self._next.drift = max(self._next.drift, now) + took / _DRIFT_SHARE
        self._answers.give(viewer)

    def _version(self, panel: Panel) -> Hashable:
        try:
            return panel.version(self._view)
        except Exception:
            if self._versions.get(panel.name) != _FAILED:
                logger.exception("no version of %s", panel.name)
            return _FAILED

    def _offer_panel(self, viewer: Viewer, panel: Panel) -> None:
        """Offer what a panel tells; what is wrong with one must not be the end of the others."""
        name, version = panel.name, self._versions.get(panel.name)
        if version is None or version == viewer.sent.get(name):
            return
        if version != _FAILED:
            try:
                self._offer(viewer, name, version, lambda: panel.message(self._view))
                return
            except Exception:
                logger.exception("no message of %s", name)
        viewer.sent[name] = version
        self._put(viewer, "problem", _problem(f"{name} cannot be shown: see the log"))

    def _offer_image(self, viewer: Viewer) -> None:
        view, show = self._view, viewer.show
        newest = show.frame is None
        if show.stack is not None:
            self._answers.give_stack(viewer, show.stack)
            return
        key = self._newest if show.frame is None else view.frames.key_of(show.series, show.frame)
        if key is None:
            return
        self._answers.give_region(viewer, key)
        version = (newest, view.frames.image_version(key))
        if viewer.sent.get("image") == version:
            return
        if not newest and not view.frames.is_known(key):
            viewer.sent["image"] = version
            name = f" of {key[0]}" if key[0] else ""
            self._put(viewer, "problem", _problem(f"there is no frame {key[1]}{name}, by now"))
            return
        viewer.shown = key
        now = time.monotonic()
        # Over a thin line the first picture is there sooner if it is a coarse one.
        if not viewer.has_picture:
            first = view.frames.coarse_image(key, newest=newest)
            if first is not None:
                viewer.has_picture = True
                self._put(viewer, "coarse", first)  # goes out before what is offered after it
        self._offer(viewer, "image", version, lambda: view.frames.image(key, newest=newest))
        took = time.monotonic() - now
        self._next.image = max(self._next.image, now + took / _IMAGE_SHARE)

    def _offer_preview(self, viewer: Viewer) -> None:
        """Offer the peaks that thresholds would give on the frame that was offered last."""
        preview, key, now = viewer.preview, viewer.shown, time.monotonic()
        if preview.minval is None or preview.minscore is None or key is None:
            return
        version = (key, preview)
        self._offer(viewer, "preview", version, lambda: self._view.preview(key, preview))
        took = time.monotonic() - now
        self._next.image = max(self._next.image, now + took / _IMAGE_SHARE)

    def _offer(
        self, viewer: Viewer, kind: str, version: Hashable, make: Callable[[], bytes]
    ) -> None:
        if viewer.sent.get(kind) == version:
            return
        message = self._made.get((kind, version))
        if message is None:
            message = make()
            self._made[kind, version] = message
            while len(self._made) > _CACHED:
                del self._made[next(iter(self._made))]
        viewer.sent[kind] = version
        self._put(viewer, kind, message)

    def _put(self, viewer: Viewer, kind: str, message: Message) -> None:
        """Hand a message to the thread that sends."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(viewer.put, kind, message)

    def _tell_all(self, text: str) -> None:
        for viewer in self._viewers:
            viewer.put("problem", _problem(text))


def _problem(text: str) -> bytes:
    return encode("problem", {"text": text})
