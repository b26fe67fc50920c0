"""What came of a run while it went on: what is on disk when, and what ingest was seen to take."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zmq

from streamer.frames.events import Frame
from streamer.transport.messages import MessageError, unpack

__all__ = ["Commit", "Progress", "Relayed"]

_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Commit:
    """A part of the frames table."""

    at: float
    """When it was seen to be there, in seconds since 1970."""
    written: float
    """When its file says that it was written."""
    frames: list[int]
    """Those that it has a row for."""


class Progress(threading.Thread):
    """Notes each part of a run folder when it appears."""

    def __init__(self, out: Path) -> None:
        super().__init__(name="progress", daemon=True)
        self.commits: list[Commit] = []
        self._folder = out / "frames"
        self._known: set[str] = set()
        self._over = threading.Event()

    @property
    def n_frames(self) -> int:
        """Frames on disk."""
        return sum(len(commit.frames) for commit in self.commits)

    def run(self) -> None:
        """Look until closed."""
        while not self._over.wait(_LOOK_S):
            self._look()

    def close(self) -> None:
        """Look once more and stop."""
        self._over.set()
        self.join()
        self._look()

    def recovery_s(self, since: float, seen: Mapping[int, float]) -> float | None:
        """Return when the first frame that came after a moment was on disk, counted from it.

        Parts are in the order of the stream: all that came before is on disk by then. None if no
        frame came after it.

        Parameters
        ----------
        seen
            When each frame came.
        """
        for commit in self.commits:
            if any(seen.get(number, 0.0) > since for number in commit.frames):
                return commit.at - since
        return None

    def _look(self) -> None:
        for path in sorted(self._folder.glob("part-*.parquet")):
            if path.name in self._known:
                continue
            self._known.add(path.name)
            if path.stem.count("-") > 1:
                continue  # merged of others that were here
            try:
                table = pq.read_table(path, columns=["frame"])
                written = path.stat().st_mtime
            except (OSError, pa.ArrowException):
                continue  # merged in this moment: it was small and told nothing new
            self.commits.append(Commit(time.time(), written, table["frame"].to_pylist()))


class Relayed(threading.Thread):
    """Listens to the frames that the ingest node publishes as they come: those it has taken."""

    def __init__(self, address: str) -> None:
        super().__init__(name="relayed", daemon=True)
        self.seen: dict[int, float] = {}
        """When each frame was first heard of."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.set(zmq.RECONNECT_IVL, 20)
        self._socket.set(zmq.SUBSCRIBE, b"frame")
        self._socket.connect(address)
        self._over = threading.Event()

    def run(self) -> None:
        """Listen until closed."""
        while not self._over.is_set():
            if not self._socket.poll(50):
                continue
            try:
                header, _ = unpack(self._socket.recv_multipart(copy=False)[1:])
            except MessageError:
                continue
            if isinstance(header, Frame):
                self.seen.setdefault(header.frame, time.time())

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self.join()
        self._context.destroy(linger=0)
