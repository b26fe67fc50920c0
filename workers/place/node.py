"""The GPU worker: gathers patches across frames into batches and places their peaks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamer.config import Config
from streamer.frames.peaks import POSITION, SINGLE
from streamer.transport.acks import AckListener
from streamer.transport.counts import Counts
from streamer.transport.messages import FramePeaks, MessageError, Patches, pack, unpack
from streamer.transport.messages import Positions as PositionsHeader
from streamer.transport.metrics import Metrics
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import FAR_END, GPUS
from streamer.transport.subscriber import Subscriber
from workers.place.base import BATCH_PATCHES, PositionMethod, Positions
from workers.place.batch import Batch, Batcher
from workers.place.gauges import GpuGauges
from workers.place.live_check import LiveCheck
from workers.place.neighbours import Neighbours
from workers.place.refit import Fit, doubtful, refit

__all__ = ["GpuWorker", "place_peaks"]

_BATCH_WAIT_S = 0.002
_FITS_AT_ONCE = 64
"""Peaks that are placed anew before those of their frames are sent: what a batch needs for all of
them, while two phases are there, is longer than a position should be old."""
_NUMBERS = [name for name in POSITION.names or () if POSITION[name] == np.float64]
"""The columns with which positions begin; those of `SINGLE` follow."""
_SHAPE = slice(4, len(_NUMBERS))
_SINGLE = slice(len(_NUMBERS), len(_NUMBERS) + 5)
_LENGTHS = ("row", "col", "fwhm_major", "fwhm_minor", "centre_row", "centre_col")
_POWERS = np.array(
    [
        -2 if name.startswith("background") else int(name.removesuffix("_sigma") in _LENGTHS)
        for name in (*_NUMBERS, *(SINGLE.names or ()))
    ]
)
"""Powers of the binning that lead from patch pixels to detector pixels."""
_PLACES = {
    axis: (k, _NUMBERS.index(f"centre_{axis}"), _SINGLE.start + k)
    for k, axis in enumerate(("row", "col"))
}
"""Columns that are places along each axis."""


def place_peaks(peaks: NDArray[np.void], placed: Positions, binning: int = 1) -> NDArray[np.void]:
    """Turn positions in patches into positions on the detector.

    Parameters
    ----------
    peaks
        (n,) of `streamer.frames.peaks.PEAK`.
    placed
        Where they stand in their patches.
    binning
        Detector pixels per patch pixel along each axis.

    Returns
    -------
    positions
        (n,) of `streamer.frames.peaks.POSITION`, in detector pixels.
    """
    n = len(peaks)
    positions = np.empty(n, POSITION)
    numbers = positions.view(np.float64).reshape(n, POSITION.itemsize // 8)
    for k, name in enumerate(("row", "col", "row_sigma", "col_sigma")):
        numbers[:, k] = getattr(placed, name)
    for columns, told in ((_SHAPE, placed.shape), (_SINGLE, placed.single)):
        numbers[:, columns] = np.nan if told is None else told
    if binning > 1:
        numbers[:, : len(_POWERS)] *= float(binning) ** _POWERS
    for axis, places in _PLACES.items():
        # Pixel centres are integers on both grids: binned pixel i covers i*n - 0.5 .. i*n + n - 0.5
        middle = peaks[axis] // binning * binning + 0.5 * (binning - 1)
        for k in places:
            numbers[:, k] += middle
    positions["flags"] = peaks["flags"] | placed.flags
    return positions


class GpuWorker:
    """Takes peaks with patches and passes on peaks with positions.

    A batch is run when it is full or when its first patch has waited long enough.

    Parameters
    ----------
    method
        How peaks are placed.
    patches_addresses
        The detector workers' publishers.
    positions_address
        Where to publish positions.
    second
        Places those peaks anew of which `method` is unsure or that have another one beside them;
        None: nobody does.
    check
        Compares some of the positions with those of another method.
    info
        What else to report.
    most
        Patches in one batch at most.
    wait_s
        Longest time in seconds that a patch waits for its batch to fill.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        metrics: Metrics,
        method: PositionMethod,
        *,
        name: str,
        patches_addresses: list[str],
        positions_address: str,
        acks_address: str,
        second: Fit | None = None,
        check: LiveCheck | None = None,
        info: Mapping[str, str] | None = None,
        most: int = BATCH_PATCHES,
        wait_s: float = _BATCH_WAIT_S,
    ) -> None:
        self._method = method
        self._refit = second
        self._check = check
        self._info = {"method": method.name, **(info or {})}
        self._counts = Counts()
        self._metrics = metrics
        GpuGauges(metrics.registry)
        metrics.stages.expect("place", "refit", "check")
        self._binning = config.detect.binning
        self._batcher = Batcher(most, wait_s)
        self._publisher = Publisher(context, positions_address)
        self._acks = AckListener(context, acks_address, self._publisher)
        self._subscriber = Subscriber(context, patches_addresses, GPUS, name)
        self._stopping = False

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets to wake up for."""
        return [self._subscriber.socket, self._publisher.socket, self._acks.socket]

    @property
    def finished(self) -> bool:
        """True once asked to stop and all that was placed is on disk."""
        return self._stopping and self._batcher.empty and self._publisher.outstanding == 0

    def step(self) -> float:
        """Gather what has come and run the batch when it is time."""
        self._acks.listen()
        self._acks.commit()
        self._publisher.pump()
        while not self._stopping and not self._batcher.full:
            parts = self._subscriber.receive()
            if parts is None:
                break
            self._take(parts)
        if self._batcher.empty:
            return 1.0
        left = self._batcher.left_s
        if left <= 0 or self._stopping:
            self._run(self._batcher.take())
            return 0.0
        return left

    def stop(self) -> None:
        """Take no more patches; those in hand are placed."""
        self._subscriber.leave()
        self._stopping = True

    def report(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Return what the worker does, in words and figures."""
        counts = self._counts
        stats = {
            "frames": float(counts.frames["done"]),
            "peaks": float(counts.peaks),
            "batch": counts.peaks / counts.batches if counts.batches else 0.0,
            "refused": float(counts.refused),
            "busy_s": counts.busy_s,
        }
        if self._check is not None:
            if self._check.waiting:
                with self._metrics.stages.timed("check"):
                    self._check.settle()
            if np.isfinite(self._check.median_px):
                stats["disagreement_px"] = self._check.median_px
        self._metrics.flow.show(counts)
        self._metrics.queues.backlog.set(self._batcher.frames)
        return "placing peaks", stats, self._info

    def close(self) -> None:
        """Release the sockets."""
        self._subscriber.close()
        self._acks.close()
        self._publisher.close()

    def _take(self, parts: list[Any]) -> None:
        with self._counts.refusing():
            header, buffers = unpack(parts)
            if not isinstance(header, Patches):
                raise MessageError(f"no use for {type(header).__name__}")
            if header.size != self._method.patch_size:
                raise MessageError(
                    f"patches of {header.size} pixels where {self._method.patch_size} are placed"
                )
            self._batcher.add(header, buffers)

    def _run(self, batch: Batch) -> None:
        frames, peaks, counts, valid = batch.frames, batch.peaks, batch.counts, batch.valid
        with self._metrics.stages.timed("place") as lap:
            placed = self._method.place(counts, valid)
        self._counts.busy_s += lap.seconds
        self._counts.batches += 1
        self._metrics.science.batch.observe(len(peaks))
        if self._refit is None:
            self._send(frames, peaks, placed)
        else:
            sizes = [frame.n_peaks for frame in frames]
            with self._metrics.stages.timed("refit") as lap:
                near = Neighbours(peaks, sizes, self._binning, self._method.patch_size)
                again = doubtful(placed, peaks, near)
            self._counts.busy_s += lap.seconds
            for some, which in _in_pieces(sizes, again):
                here = np.zeros(len(peaks), np.bool_)
                here[which] = again[which]
                with self._metrics.stages.timed("refit") as lap:
                    placed = refit(placed, counts, valid, here, self._refit, near)
                self._counts.busy_s += lap.seconds
                self._send(frames[some], peaks[which], placed.part(which))
        if self._check is not None:
            with self._metrics.stages.timed("check"):
                self._check.look(counts, valid, placed)

    def _send(self, frames: list[FramePeaks], peaks: NDArray[np.void], placed: Positions) -> None:
        """Pass on the peaks of some frames."""
        positions = place_peaks(peaks, placed, self._binning)
        self._counts.frames["done"] += len(frames)
        self._counts.peaks += len(peaks)
        self._metrics.stages.note_latency("place", (frame.received_ns for frame in frames))
        parts = pack(
            PositionsHeader(frames), peaks.view(np.uint8).data, positions.view(np.uint8).data
        )
        self._publisher.send(FAR_END, Parcel(keys=[frame.seq for frame in frames], parts=parts))


def _in_pieces(sizes: Sequence[int], again: NDArray[np.bool_]) -> Iterator[tuple[slice, slice]]:
    """Yield frames that follow each other and their peaks, until all were there.

    Parameters
    ----------
    sizes
        How many peaks each frame has.
    again
        (n,), True for those that take long.
    """
    stops = np.cumsum([0, *sizes])
    long = np.cumsum([0, *again])[stops]
    bounds = [0]
    for stop in range(1, len(stops)):
        if long[stop] - long[bounds[-1]] >= _FITS_AT_ONCE:
            bounds.append(stop)
    if bounds[-1] < len(sizes) or len(bounds) == 1:
        bounds.append(len(sizes))
    for first, last in itertools.pairwise(bounds):
        yield slice(first, last), slice(int(stops[first]), int(stops[last]))
