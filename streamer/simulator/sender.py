"""The simulated detector on the network: DECTRIS stream V2 from a PUSH socket."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import zmq

from streamer.errors import UserError
from streamer.simulator.cycler import Cycler
from streamer.simulator.rendering import coded_frames
from streamer.simulator.scene import Scene
from streamer.simulator.stream_v2 import SeriesMessages
from streamer.simulator.trigger import Trigger
from streamer.simulator.truth import write_truth

__all__ = ["Detector", "Sent"]

_log = logging.getLogger(__name__)

_BUFFER_FRAMES = 500
"""Frames kept for a slow client before the next are dropped."""
_POLL_MS = 100
"""How often a wait for the client looks at the stop event."""
_PATIENCE_S = 30.0
"""Longest wait for a client that takes nothing."""
_END_PATIENCE_S = 5.0
"""The same for the end message, which the real detector would drop too."""
_LINGER_S = 5.0
"""How long what was sent may take to leave once the port is closed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the frames."""

    sent: int
    dropped: int
    """Frames lost because the client did not take them in time."""
    series: int
    """Series that were begun."""
    seconds: float
    """From the first start message to the last end message."""
    complete: bool
    """False when the detector was stopped, or gave up on its client."""


class Detector:
    """Sends a scene to whoever connects, one series after the other.

    As with the real detector, a client connects before the first start message; the first series
    is armed with that message and waits for a trigger, if there is one; two clients get
    half of the frames each; and a client that is too slow never holds the detector up: what does
    not fit into its buffer is dropped and counted. Only with `rate_hz` 0 does the detector wait.

    Parameters
    ----------
    scene
        What to send; its configuration says how fast and how often.
    truth
        File to write the truth to before a client is waited for; None writes none.
    cycler
        Told of each frame that is sent; None for none.
    address
        Where clients connect; port ``*`` lets the system choose one.
    trigger
        What the first frame waits for once a client was told that the detector is armed; None
        begins at once.

    Raises
    ------
    UserError
        The address cannot be listened at.
    """

    def __init__(
        self,
        scene: Scene,
        truth: Path | None = None,
        cycler: Cycler | None = None,
        address: str = "tcp://127.0.0.1:*",
        trigger: Trigger | None = None,
    ) -> None:
        self._scene = scene
        self._cycler = cycler
        self._truth = truth
        self._trigger = trigger
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        # Set from the start: a connection that its client breaks keeps what it has by then.
        self._socket.linger = round(_LINGER_S * 1000)
        self._socket.sndhwm = _BUFFER_FRAMES
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            if error.errno == zmq.EADDRINUSE:
                raise UserError(
                    f"port in use: {address}; stop the other program or choose another port"
                ) from None
            raise UserError(
                f"cannot listen at {address}: {zmq.strerror(error.errno or 0)}"
            ) from None
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        """Where a client connects, with the port that was chosen."""

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the port, giving the client a few seconds to take what was sent."""
        self._context.destroy()

    def run(
        self, stop: threading.Event | None = None, client_timeout_s: float | None = None
    ) -> Sent:
        """Wait for a client and send all series.

        Parameters
        ----------
        stop
            Ends the run early when set; the end message is still sent.
        client_timeout_s
            Longest wait for the client in seconds; None waits until stopped.

        Raises
        ------
        UserError
            No client connected in time, or no trigger will come.
        """
        stop = stop or threading.Event()
        scene, config = self._scene, self._scene.config
        if self._truth is not None:
            write_truth(self._truth, scene.truth(), scene.metadata())
        if not self._wait_for_room(stop, client_timeout_s):
            if not stop.is_set():
                raise UserError(f"no client connected to {self.endpoint}")
            return Sent(sent=0, dropped=0, series=0, seconds=0.0, complete=False)
        begin = time.monotonic()
        sent = dropped = series = 0
        complete = True
        while complete and series < config.series:
            series += 1
            more_sent, more_dropped, complete = self._send_series(series, stop)
            sent += more_sent
            dropped += more_dropped
        return Sent(sent, dropped, series, time.monotonic() - begin, complete)

    def _send_series(self, series_id: int, stop: threading.Event) -> tuple[int, int, bool]:
        """Return how many frames were sent and dropped, and whether all had their turn."""
        sent = dropped = 0
        with coded_frames(self._scene) as frames:
            if not self._wait_for_room(stop, _PATIENCE_S):
                return 0, 0, False
            messages = SeriesMessages(self._scene, series_id)
            self._offer(messages.start())
            armed = time.monotonic()
            is_triggered = self._wait_for_trigger(stop)
            begin = time.monotonic()
            for index, coded in enumerate(frames if is_triggered else ()):
                if not self._wait_for_turn(index, begin, stop):
                    break
                if self._cycler is not None:
                    self._cycler.note(index, time.time())
                if self._offer(messages.image(index, coded, time.monotonic() - armed)):
                    sent += 1
                else:
                    dropped += 1
        # Stopped or not, the client gets its end message, if it takes any.
        there = self._wait_for_room(threading.Event(), _END_PATIENCE_S)
        if not (there and self._offer(messages.end())):
            _log.warning("the client did not take the end of series %d", series_id)
        return sent, dropped, sent + dropped == self._scene.n_frames

    def _offer(self, message: bytes) -> bool:
        """Send a message if there is a client whose buffer has room, else drop it."""
        try:
            self._socket.send(message, zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return False
        return True

    def _wait_for_trigger(self, stop: threading.Event) -> bool:
        """Wait until the detector may begin; False if it was stopped before."""
        if self._trigger is None:
            return True
        while not stop.is_set():
            if self._trigger.wait(_POLL_MS / 1000):
                return True
        return False

    def _wait_for_turn(self, index: int, begin: float, stop: threading.Event) -> bool:
        """Wait until a frame is due; False if it must not be sent any more."""
        rate = self._scene.config.rate_hz
        if rate:
            return not stop.wait(max(begin + index / rate - time.monotonic(), 0.0))
        if self._wait_for_room(stop, _PATIENCE_S):
            return True
        if not stop.is_set():
            _log.warning("the client has taken no frame for %g s: giving up", _PATIENCE_S)
        return False

    def _wait_for_room(self, stop: threading.Event, timeout_s: float | None) -> bool:
        """Wait until a client is connected whose buffer has room; False if there is none."""
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while not stop.is_set():
            left_ms = max(1000.0 * (deadline - time.monotonic()), 0.0)
            if self._socket.poll(int(min(left_ms, _POLL_MS)), zmq.POLLOUT):
                return True
            if left_ms == 0.0:
                return False
        return False
