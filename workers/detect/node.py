"""The detector worker: decodes frames, finds their peaks, cuts patches."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.config import Config
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Series
from streamer.frames.peaks import PEAK
from streamer.transport.acks import AckListener
from streamer.transport.counts import Counts
from streamer.transport.messages import (
    FramePeaks,
    Frames,
    MessageError,
    Thresholds,
    pack,
    unpack,
)
from streamer.transport.messages import Patches as PatchesHeader
from streamer.transport.metrics import Metrics
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS, GPUS
from streamer.transport.subscriber import Subscriber
from workers.detect.adaptive import AdaptivePeaks
from workers.detect.base import Finder, Peaks, found_by, lowest_of
from workers.detect.bright import Bright, BrightReader, Reader
from workers.detect.correction import Correction
from workers.detect.findings import Findings
from workers.detect.image import Image, Saturation
from workers.detect.live import LiveFinders
from workers.detect.noise import PHOTON_COUNTER, REACH, Detector, full_pixels
from workers.detect.patches import Patches, cut_patches

__all__ = ["DetectorWorker", "PeakTable", "find_in_frame"]

logger = logging.getLogger(__name__)

_PATCH_BYTES = 256 << 20
"""Patches that one GPU worker may have before it: noise can be thousands of peaks on each frame."""

PeakTable = tuple[NDArray[np.void], Patches]
Note = Callable[[Peaks, NDArray[np.int32], Image], None]
"""Is told what was found on a frame: peaks, flags, counts."""


def find_in_frame(
    frame: NDArray[np.generic],
    correction: Correction,
    finder: Finder,
    patch_size: int,
    detector: Detector = PHOTON_COUNTER,
    note: Note | None = None,
    bright: Bright | None = None,
) -> PeakTable:
    """Find the peaks of a decoded frame and cut their patches.

    Where nobody says from which counts pixels are saturated, a pile of them at the same highest
    value does. With `bright`, whose pixels `frame` are, no others are looked at.

    Returns
    -------
    peaks, patches
        A table of `streamer.frames.peaks.PEAK` with positions in detector pixels, and the
        patches in the same order.
    """
    image, saturation = correction(frame)
    found = found_by(finder, image, bright)
    at = found.row, found.col
    if bright is not None:
        bright.know(*at, max(patch_size // 2, REACH))
    if correction.saturation == np.inf and correction.binning == 1:
        saturation = Saturation(image.pixels, full_pixels(image, *at))
    patches = cut_patches(image, saturation, *at, patch_size)
    background = None
    if isinstance(found, AdaptivePeaks):
        background = found.background
    patches = detector.restored(patches, image, correction, *at, background)
    if note is not None:
        note(found, patches.flags, image)
    peaks = np.empty(len(found.row), PEAK)
    n = correction.binning
    # The middle of a block of n pixels, rounded down to a pixel.
    peaks["row"], peaks["col"] = found.row * n + (n - 1) // 2, found.col * n + (n - 1) // 2
    peaks["score"], peaks["intensity"] = found.score, patches.intensity
    peaks["flags"] = patches.flags
    return peaks, patches


class DetectorWorker:
    """Takes frames and passes on their peaks; holds nothing that a restart would lose.

    Parameters
    ----------
    frames_address
        The ingest node's publisher.
    patches_address
        Where to publish peaks and patches.
    patch_size
        Pixels along each axis of the patches that the position method wants.
    mask, dark
        The user's, each of a frame's shape.
    reader
        Reads coded frames; default: one on the CPU.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        metrics: Metrics,
        finder: Finder,
        *,
        name: str,
        frames_address: str,
        patches_address: str,
        acks_address: str,
        patch_size: int,
        mask: NDArray[np.bool_] | None = None,
        dark: NDArray[np.float32] | None = None,
        reader: Reader | None = None,
    ) -> None:
        self._detect = config.detect
        self._detector = Detector(config.positions.gain, config.positions.read_noise)
        self._findings = Findings()
        self._bright = reader or BrightReader()
        self._counts = Counts()
        self._metrics = metrics
        metrics.stages.expect("detect", "decode")
        self._finders = LiveFinders(config.detect, finder)
        self._patch_size = patch_size
        self._mask, self._dark = mask, dark
        self._corrections: dict[str, Correction | str] = {}
        self._begun: dict[str, int] = {}
        self._publisher = Publisher(
            context,
            patches_address,
            prefetch_bytes=_PATCH_BYTES,
            on_failed=self._on_failed,
            stays_near=True,
        )
        self._acks = AckListener(context, acks_address, self._publisher)
        self._subscriber: Subscriber | None = None
        self._subscribe = partial(Subscriber, context, [frames_address], DETECTORS, name)
        self._stopping = False

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets to wake up for."""
        sockets = [self._publisher.socket, self._acks.socket]
        if self._subscriber is not None and self._has_room:
            sockets.append(self._subscriber.socket)
        return sockets

    @property
    def finished(self) -> bool:
        """True once asked to stop and all that was found is on disk."""
        return self._stopping and self._publisher.outstanding == 0

    def step(self) -> float:
        """Work on one message, if there is one."""
        self._acks.listen()
        self._acks.commit()
        self._publisher.pump()
        if self._subscriber is None and not self._stopping and self._publisher.members(GPUS):
            # Only now: frames are better off with a worker that can pass on what it finds.
            self._subscriber = self._subscribe()
        takes = self._subscriber is not None and self._has_room and not self._stopping
        parts = self._subscriber.receive() if self._subscriber and takes else None
        if parts is None:
            return 1.0
        self._take(parts)
        return 0.0

    def stop(self) -> None:
        """Take no more frames; those in hand still go their way."""
        if self._subscriber is not None:
            self._subscriber.leave()
        self._stopping = True

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return what the worker does, in words and figures."""
        counts = self._counts
        gpus = len(self._publisher.members(GPUS))
        doing = "finding peaks" if gpus else "waiting for GPU workers"
        stats = {
            "frames": float(counts.frames["done"]),
            "failed": float(counts.frames["failed"]),
            "peaks": float(counts.peaks),
            "refused": float(counts.refused),
            "redelivered": float(self._publisher.redelivered),
            "busy_s": counts.busy_s,
        }
        self._metrics.flow.show(counts)
        self._metrics.flow.count_redelivered(self._publisher.redelivered)
        self._metrics.queues.backlog.set(self._publisher.waiting)
        self._metrics.queues.show_workers(self._publisher.loads(GPUS))
        return doing, stats, self._findings.info()

    def close(self) -> None:
        """Release the sockets."""
        if self._subscriber is not None:
            self._subscriber.close()
        self._acks.close()
        self._publisher.close()

    @property
    def _has_room(self) -> bool:
        """False while what was found waits for a GPU worker; each of them has enough then.

        It does not depend on the order in which frames are committed: a frame that all wait for may
        be among those that are not taken.
        """
        return self._publisher.waiting == 0

    def _take(self, parts: list[Any]) -> None:
        with self._counts.refusing():
            header, _ = unpack(parts)
            if isinstance(header, Series):
                self._begin(header)
            elif isinstance(header, Thresholds):
                self._finders.change(header.changes)
            elif isinstance(header, Frames):
                with self._metrics.stages.timed("detect") as lap:
                    self._work(header.frames)
                self._counts.busy_s += lap.seconds
            else:
                raise MessageError(f"no use for {type(header).__name__}")

    def _begin(self, series: Series) -> None:
        try:
            correction = Correction.for_series(
                series, self._mask, self._dark, self._detect.binning, self._detect.saturation
            )
            self._corrections[series.name] = correction.sharing(self._corrections.values())
        except ValueError as error:
            self._corrections[series.name] = str(error)
        self._begun[series.name] = series.first_seq
        # A series is over when all is on disk up to where the next one began.
        order = sorted(self._begun, key=lambda name: self._begun[name])
        for over, after in itertools.pairwise(order):
            if self._begun[after] <= self._acks.upto:
                del self._begun[over], self._corrections[over]

    def _work(self, frames: list[Frame]) -> None:
        heads: list[FramePeaks] = []
        tables: list[PeakTable] = []
        for frame in frames:
            reason = ""
            try:
                tables.append(self._find(frame))
            except UserError:
                raise
            except Exception as error:
                # Whatever a frame holds, it must not stop the others.
                reason = str(error) or type(error).__name__
                logger.warning("frame %d of series %s: %s", frame.frame, frame.series, reason)
            n_peaks = 0 if reason else len(tables[-1][0])
            heads.append(
                FramePeaks(
                    frame.seq,
                    frame.series,
                    frame.frame,
                    frame.time_ns,
                    frame.received_ns,
                    n_peaks,
                    reason,
                )
            )
            self._counts.frames["failed" if reason else "done"] += 1
        self._metrics.stages.note_latency("detect", (frame.received_ns for frame in frames))
        size = self._patch_size
        peaks = np.concatenate([np.empty(0, PEAK), *(peaks for peaks, _ in tables)])
        counts = np.concatenate(
            [np.empty((0, size, size), np.float32), *(patches.counts for _, patches in tables)]
        )
        valid = np.concatenate(
            [np.empty((0, size, size), np.bool_), *(patches.valid for _, patches in tables)]
        )
        self._counts.peaks += len(peaks)
        # A structured array and a bool array have no buffer format that ZeroMQ takes as bytes.
        parts = pack(
            PatchesHeader(heads, size),
            peaks.view(np.uint8).data,
            counts.data,
            valid.view(np.uint8).data,
        )
        self._publisher.send(GPUS, Parcel(keys=[head.seq for head in heads], parts=parts))

    def _find(self, frame: Frame) -> PeakTable:
        for key, image in (("detect.mask", self._mask), ("detect.dark", self._dark)):
            if image is not None and image.shape != frame.shape:
                misfit = (
                    f"{key} has {image.shape[0]} x {image.shape[1]} pixels, the frames of series "
                    f"{frame.series} have {frame.shape[0]} x {frame.shape[1]}"
                )
                # A mistake ends a run that has only begun; later it costs the frames of a series.
                is_first = self._begun.get(frame.series) == 0
                raise UserError(misfit) if is_first else ValueError(misfit)
        correction = self._corrections.get(frame.series)
        if correction is None:
            raise ValueError(f"series {frame.series} was not announced")
        if isinstance(correction, str):
            raise ValueError(correction)
        finder = self._finders.of(frame.seq)
        with (
            self._metrics.stages.timed("decode"),
            self._metrics.flow.decode_errors.count_exceptions(),
        ):
            bright = None
            if not self._findings.looks_at(frame.series, frame.frame):
                bright = self._bright(frame, correction, lowest_of(finder))
            if bright is None:
                pixels = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
            else:
                pixels = bright.pixels
        note = partial(self._findings.note, frame.series, frame.frame)
        return find_in_frame(
            pixels, correction, finder, self._patch_size, self._detector, note, bright
        )

    def _on_failed(self, parcel: Parcel) -> None:
        # The ingest node still has the frames and sends them again when their time is up.
        logger.error("the peaks of %d frames were lost with GPU workers", len(parcel.keys))
