"""What the runs read: one charge cycle, as a recording and as a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import zmq

from streamer.config import load_config
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.rendering import coded_frames
from streamer.simulator.scene import Scene
from streamer.simulator.stream_v2 import SeriesMessages

__all__ = ["Material", "Sender"]

FRAMES, RATE_HZ = 150, 25.0
_POLL_MS = 50


@dataclass(frozen=True)
class Material:
    """A small charge cycle."""

    folder: Path
    frames: int = FRAMES

    @cached_property
    def scene(self) -> Scene:
        """What is measured."""
        return self.scene_of(self.frames)

    def scene_of(self, n_frames: int) -> Scene:
        """Return the same with another number of frames."""
        words = [f"simulate.frames={n_frames}", "simulate.rows=256", "simulate.cols=256"]
        return Scene(load_config(None, [*words, "simulate.spots=8"]).simulate)

    @cached_property
    def recording(self) -> Path:
        """The recording, written when it is first asked for."""
        path = self.folder / "cycle_master.h5"
        write_recording(self.scene, path)
        return path

    @cached_property
    def messages(self) -> list[bytes]:
        """The stream: its start, each image, its end; the same bytes each time."""
        series = SeriesMessages(self.scene, 1, datetime(2026, 3, 1, tzinfo=UTC))
        series.unique_id = "cycle"
        with coded_frames(self.scene) as coded:
            images = [series.image(n, data, n / RATE_HZ) for n, data in enumerate(coded)]
        return [series.start(), *images, series.end()]


class Sender(threading.Thread):
    """A detector that sends at its own rate, and waits only while there is nobody to send to.

    Parameters
    ----------
    messages
        The start of a series, its images, its end.
    rate_hz
        Images a second; 0 sends as fast as they are taken. All but the first wait for `go`.
    held_back
        Whether it waits for a client that is too slow; if not, nothing bounds what waits here.
    """

    def __init__(
        self, messages: Iterable[bytes], rate_hz: float = RATE_HZ, *, held_back: bool = True
    ) -> None:
        super().__init__(name="sender", daemon=True)
        self.sent: list[float] = []
        """When each image was given to the socket, and the end."""
        self.go = threading.Event()
        self._messages, self._rate_hz = messages, rate_hz
        self._stop_event = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.SNDHWM, 100 if held_back else 0)
        self._socket.bind("tcp://127.0.0.1:*")
        self.uri = self._socket.get_string(zmq.LAST_ENDPOINT).replace("tcp", "dectris")

    def run(self) -> None:
        """Send all, then stay there: what was sent is still on its way."""
        begin = 0.0
        for number, message in enumerate(self._messages, -1):
            if number == 1:
                self.go.wait()
                begin = time.monotonic()
            if number > 0 and self._rate_hz:
                self._stop_event.wait(max(0.0, begin + number / self._rate_hz - time.monotonic()))
            if not self._send(message):
                return
            if number >= 0:
                self.sent.append(time.time())

    def close(self) -> None:
        """Stop, and forget what nobody has taken."""
        self._stop_event.set()
        self.go.set()
        if self.is_alive():
            self.join()
        self._context.destroy(linger=0)

    def _send(self, message: bytes) -> bool:
        while not self._stop_event.is_set():
            if self._socket.poll(_POLL_MS, zmq.POLLOUT):
                self._socket.send(message)
                return True
        return False
