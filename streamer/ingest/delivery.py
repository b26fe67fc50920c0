"""Sending what was taken from the source, and keeping it until its result is on disk."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence

import zmq
from msgspec.structs import replace

from streamer.config import Config
from streamer.frames.events import Frame, Gap, Series, SeriesEnd
from streamer.ingest.failed import FailedFrames
from streamer.ingest.window import Window
from streamer.transport.acks import AckListener
from streamer.transport.messages import Frames, Thresholds, pack, unpack
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS, FAR_END

__all__ = ["Delivery"]

logger = logging.getLogger(__name__)

_THRESHOLDS = "\0thresholds"
"""Name of their announcement, which no series has."""
_BUNDLE_FRAMES = 16
"""Most frames in one message."""
_BUNDLE_BYTES = 8 << 20
_PREFETCH_BYTES = 32 << 20
"""Coded frames that one detector worker may have before it: more would only take its memory."""


class Delivery:
    """Sends each frame to one detector worker, and gaps and ends to the sink.

    A frame that fails, or brings no result however often it is sent, is set aside.

    Parameters
    ----------
    failed
        Where frames are set aside.
    frames_address
        Where to publish.
    acks_address
        Where the sink publishes its acknowledgements.
    window_bytes
        Coded pixels that may be on their way.
    slow
        A worker takes long for a frame: no other frame should wait behind it in its message.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        failed: FailedFrames,
        *,
        frames_address: str,
        acks_address: str,
        window_bytes: int,
        slow: bool = False,
    ) -> None:
        transport = config.transport
        self._publisher = Publisher(
            context,
            frames_address,
            prefetch_bytes=_PREFETCH_BYTES,
            ack_timeout_s=transport.ack_timeout_s,
            on_failed=self._give_up,
        )
        self._acks = AckListener(context, acks_address, self._publisher)
        self.window = Window(self._publisher, transport.window_frames, window_bytes)
        self._failed = failed
        self._bundle_frames = 1 if slow else _BUNDLE_FRAMES
        self._ended: deque[tuple[str, int]] = deque()
        self.has_begun = False
        """Whether there has been a worker for frames, and a sink for what comes of them."""

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Sockets to wake up for."""
        return [self._publisher.socket, self._acks.socket]

    @property
    def n_workers(self) -> int:
        """Detector workers that there are."""
        return len(self._publisher.members(DETECTORS))

    @property
    def waits(self) -> bool:
        """Whether frames wait until a detector worker has room for them."""
        return self._publisher.waits(DETECTORS)

    @property
    def knows_sink(self) -> bool:
        """Whether the sink has said what it has."""
        return self._acks.heard

    @property
    def upto(self) -> int:
        """Every number below is on disk."""
        return self._acks.upto

    @property
    def loads(self) -> dict[str, int]:
        """How many frames each detector worker has before it, by its name."""
        return self._publisher.loads(DETECTORS)

    @property
    def redelivered(self) -> int:
        """Frames that were sent again."""
        return self._publisher.redelivered

    def update(self) -> None:
        """Take in what is on disk and who joined or left, and send what can be sent."""
        for seq, reason in self._acks.listen():
            parcel = self._publisher.find(seq)
            for frame in [] if parcel is None else _frames(parcel):
                if frame.seq == seq:
                    self._failed.keep(frame, reason)
        self._acks.commit()
        self._publisher.pump()
        if not self.has_begun:
            self.has_begun = self.n_workers > 0 and bool(self._publisher.members(FAR_END))
        self.window.shrink(self._acks.upto)
        while self._ended and self._ended[0][1] < self._acks.upto:
            series, _ = self._ended.popleft()
            for pool in (DETECTORS, FAR_END):
                self._publisher.forget(pool, series)

    def announce(self, series: Series) -> None:
        """Tell everybody of a series, also who joins before its end is on disk."""
        parts = pack(series)
        for pool in (DETECTORS, FAR_END):
            self._publisher.announce(pool, series.name, parts)

    def announce_thresholds(self, thresholds: Thresholds) -> None:
        """Tell all detector workers, also who joins later, from which frames on which hold."""
        self._publisher.announce(DETECTORS, _THRESHOLDS, pack(thresholds))

    def send(self, frames: Sequence[Frame]) -> None:
        """Send frames in bundles: what a message costs is shared by all in it."""
        bundle: list[Frame] = []
        size = 0
        for frame in frames:
            if frame.seq < self._acks.upto:
                continue  # this node was started again; the sink had it already
            n_bytes = len(frame.data)
            if bundle and (len(bundle) >= self._bundle_frames or size + n_bytes > _BUNDLE_BYTES):
                self._publisher.send(DETECTORS, _parcel(bundle))
                bundle, size = [], 0
            bundle.append(frame)
            size += n_bytes
            self.window.add(frame)
        if bundle:
            self._publisher.send(DETECTORS, _parcel(bundle))

    def tell(self, record: Gap | SeriesEnd) -> None:
        """Tell the sink of frames that bring no result, or of the end of a series."""
        if isinstance(record, SeriesEnd):
            self._ended.append((record.series, record.seq))
        last = record.last_seq if isinstance(record, Gap) else record.seq
        if last >= self._acks.upto:
            self._publisher.send(FAR_END, Parcel(keys=[last], parts=pack(record)))

    def shed(self, frames: Iterable[Frame], reason: str) -> None:
        """Tell the sink of frames that came and are not sent on, those in a row at once."""
        row: Gap | None = None
        for frame in frames:
            gap = frame.as_gap("shed", reason)
            if row is not None and (gap.series, gap.first, gap.seq) == (
                row.series,
                row.first + row.count,
                row.seq + row.numbers,
            ):
                row = replace(row, count=row.count + 1, numbers=row.numbers + 1)
                continue
            if row is not None:
                self.tell(row)
            row = gap
        if row is not None:
            self.tell(row)

    def close(self) -> None:
        """Release the sockets."""
        self._acks.close()
        self._publisher.close()

    def _give_up(self, parcel: Parcel) -> None:
        """Record a parcel that was sent in vain too often as failed."""
        for frame in _frames(parcel):
            reason = f"no result after {parcel.tries} tries"
            logger.error("frame %d of series %s: %s", frame.frame, frame.series, reason)
            self._failed.keep(frame, reason)
            self.tell(frame.as_gap("failed", reason))


def _parcel(frames: Sequence[Frame]) -> Parcel:
    return Parcel(
        keys=[frame.seq for frame in frames],
        parts=pack(Frames(list(frames))),
        split=lambda: [_parcel([frame]) for frame in frames],
    )


def _frames(parcel: Parcel) -> list[Frame]:
    header, _ = unpack(parcel.parts)
    return header.frames if isinstance(header, Frames) else []
