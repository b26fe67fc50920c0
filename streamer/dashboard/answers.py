"""What one page alone asks for: cut out with the run at hand, written down in another thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from streamer.dashboard.fitter import PatchFitter
from streamer.dashboard.image.frames import PeakPatch
from streamer.dashboard.image.gallery import Key
from streamer.dashboard.image.regions import Region
from streamer.dashboard.image.stack import Kind
from streamer.dashboard.messages import encode
from streamer.dashboard.packing import Packed
from streamer.dashboard.requests import MaskOf, PatchOf, PointOf, Request, RoiOf, WholeOf
from streamer.dashboard.view import RunView
from streamer.dashboard.viewers import Viewer
from streamer.frames.display import PATCH_SIZE, Patch

__all__ = ["Answers"]

logger = logging.getLogger(__name__)

_ROI_S = 0.5
"""Sums in a rectangle are told anew no more often."""
Put = Callable[[Viewer, str, bytes], None]


class Answers:
    """Gives each page what it asked for.

    Parameters
    ----------
    view
        The run.
    fitter
        Fits patches, if anything does.
    put
        Hands a message to a page, from any thread.
    """

    def __init__(self, view: RunView, fitter: PatchFitter | None, put: Put) -> None:
        self._view = view
        self._fitter = fitter
        self._put = put
        self._packing = ThreadPoolExecutor(1, "pack")
        self._packed_for: set[Viewer] = set()

    def give(self, viewer: Viewer) -> None:
        """Answer what a page asked for once."""
        self._give_roi(viewer)
        for kind, request in list(viewer.asked.items()):
            if kind is WholeOf and viewer in self._packed_for:
                continue
            del viewer.asked[kind]
            self._answer(viewer, request)

    def give_region(self, viewer: Viewer, key: Key) -> None:
        """Send those pixels of a frame that a page is zoomed to, unless it has them.

        What is on its way to be written down comes first: who is slow gets fewer of them.
        """
        wanted = viewer.region
        version = (key, wanted)
        if not (wanted.rows and wanted.cols) or viewer.sent.get("region") == version:
            return
        if viewer not in self._packed_for:
            viewer.sent["region"] = version
            self._pack(viewer, "region", self._view.regions.cut(key, wanted))

    def gather(self, viewers: Iterable[Viewer]) -> None:
        """Go on with what needs many frames, and let no frame go that somebody looks at."""
        frames = self._view.frames
        paused = [one.show for one in viewers if one.show.frame is not None]
        frames.look_at(frames.key_of(one.series, one.frame or 0) for one in paused)
        wanted: list[RoiOf | Kind] = []
        for viewer in viewers:
            if not viewer.hold:
                wanted += [viewer.roi] if viewer.roi.rows and viewer.roi.cols else []
                wanted += [] if viewer.show.stack is None else [viewer.show.stack]
        self._view.gathering.work(wanted)

    def give_stack(self, viewer: Viewer, kind: Kind) -> None:
        """Show what many frames are together."""
        key, why = self._view.gathering.stack(kind)
        if key is None:
            if why and viewer.sent.get("image") != why:
                viewer.sent["image"] = why
                self._put(viewer, "problem", encode("problem", {"text": f"no {kind}: {why}"}))
            return
        self.give_region(viewer, key)
        if viewer.sent.get("image") != key:
            viewer.sent["image"] = key
            self._put(viewer, "image", self._view.frames.image(key, newest=False))

    def close(self) -> None:
        """Write nothing more."""
        self._packing.shutdown(cancel_futures=True)

    def _answer(self, viewer: Viewer, request: Request) -> None:
        view = self._view
        if isinstance(request, PatchOf):
            self._give_patch(viewer, view.frames.patch(request))
        elif isinstance(request, PointOf):
            key = view.frames.key_of(request.series, request.frame)
            self._put(viewer, "point", view.regions.point(key, request))
        elif isinstance(request, WholeOf | MaskOf):
            key = view.frames.key_of(request.series, request.frame)
            if isinstance(request, WholeOf):
                self._pack(viewer, "whole", view.whole(key))
            else:
                region = view.regions.whole(key)
                arrays = {"marks": Packed.of(region.marks)}
                self._put(viewer, "mask", encode("mask", region.header, arrays))

    def _give_roi(self, viewer: Viewer) -> None:
        if not (viewer.roi.rows and viewer.roi.cols):
            return
        roi = self._view.gathering.roi(viewer.roi)
        version = (viewer.roi, roi.version, roi.walk.why)
        is_due = time.monotonic() >= viewer.roi_due_s or "roi" not in viewer.sent
        if is_due and viewer.sent.get("roi") != version:
            viewer.sent["roi"] = version
            viewer.roi_due_s = time.monotonic() + _ROI_S
            self._put(viewer, "roi", roi.message(self._view.frames.places()[0]))

    def _pack(self, viewer: Viewer, kind: str, region: Region) -> None:
        self._packed_for.add(viewer)

        def pack() -> None:
            try:
                self._put(viewer, kind, region.message(kind))
            except Exception:
                logger.exception("pixels could not be written down")
            finally:
                self._packed_for.discard(viewer)

        self._packing.submit(pack)

    def _give_patch(self, viewer: Viewer, found: PeakPatch) -> None:
        """Send the pixels at once, and again with the fit, which may have to be compiled."""
        viewer.examined = found
        patch, fitter = found.patch, self._fitter
        if patch is None or fitter is None:
            self._put(viewer, "patch", _patch_message(found.header | {"fitted": True}, patch))
            return
        self._put(viewer, "patch", _patch_message(found.header | {"fitted": False}, patch))

        def done(fit: dict[str, float] | None) -> None:
            header = found.header | {"fitted": True, "fit": fit}
            self._put(viewer, "patch", _patch_message(header, patch))

        fitter.put(patch, lambda: viewer.examined is found, done)


def _patch_message(header: dict[str, Any], patch: Patch | None) -> bytes:
    none = np.full((PATCH_SIZE, PATCH_SIZE), np.nan, np.float32)
    return encode("patch", header, {"pixels": none if patch is None else patch.counts})
