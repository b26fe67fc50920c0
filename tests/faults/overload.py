"""A stream that is faster than the machine, under each policy."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streamer.results.folder import RunFolder
from streamer.simulator.rendering import coded_frames
from streamer.simulator.stream_v2 import SeriesMessages
from tests.faults.launched import Launched
from tests.faults.material import Material, Sender
from tests.faults.progress import Progress

__all__ = ["POLICIES", "Carried", "overload"]

POLICIES = ("wait", "spool", "newest")
WINDOW_FRAMES, WINDOW_MIB = 256, 16


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of a stream under a policy."""

    policy: str
    n_sent: int
    states: Counter[str]
    n_rows: int
    """Frames in the table, each as often as it is there."""
    rate_hz: float
    """Frames done a second while any came to the disk."""
    ingest_mib: float
    """Most memory that the ingest node had."""
    spool_mib: float
    """Most that its spool took."""

    @property
    def is_exact(self) -> bool:
        """Whether each frame that was sent is in one state, once."""
        return self.n_rows == self.n_sent == self.states.total()

    def __str__(self) -> str:
        """Return it as a row of the table."""
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        exact = "exact" if self.is_exact else "WRONG"
        return (
            f"{self.policy:8} {self.n_sent:7} {exact}  {self.rate_hz:7.0f} {self.ingest_mib:8.0f} "
            f"{self.spool_mib:8.0f}  {states}"
        )


def overload(material: Material, policy: str, n_frames: int, rate_hz: float) -> Carried:
    """Send a stream that is too fast, and return what came of it.

    Parameters
    ----------
    rate_hz
        Frames a second; 0 sends as fast as they are taken.
    """
    sender = Sender(_messages(material, n_frames), rate_hz, held_back=policy == "wait")
    sender.go.set()
    out = material.folder / f"overload-{policy}-{n_frames}"
    settings = (
        f"overload={policy}", "dashboard.port=0", "nodes.detectors=1",
        f"transport.window_frames={WINDOW_FRAMES}", f"transport.window_mib={WINDOW_MIB}",
    )  # fmt: skip
    run = Launched(sender.uri, out, settings, out.with_suffix(".log"))
    progress, sizes = Progress(out), _Sizes(run)
    progress.start()
    sizes.start()
    sender.start()
    try:
        code = run.wait(60.0 + 40.0 * n_frames / 100)
    finally:
        run.close()
        progress.close()
        sizes.close()
        sender.close()
    if code != 0:
        raise AssertionError(f"exit status {code}: {run.last_words}")
    table = RunFolder(out).read("frames", ["frame", "count", "state"]).to_pydict()
    states: Counter[str] = Counter()
    for count, state in zip(table["count"], table["state"], strict=True):
        states[state] += count
    # Between the first part and the last: it took a while until workers were there.
    first, last = progress.commits[0], progress.commits[-1]
    between = states["done"] - len(first.frames) - len(last.frames)
    rate = between / (last.written - first.written) if last is not first else 0.0
    n_rows = len(set(table["frame"])) - len(table["frame"]) + states.total()
    return Carried(policy, n_frames, states, n_rows, rate, sizes.ingest_mib, sizes.spool_mib)


def _messages(material: Material, n_frames: int) -> Iterator[bytes]:
    """Yield the charge cycle over and over, as one series."""
    series = SeriesMessages(material.scene_of(n_frames), 1, datetime(2026, 3, 1, tzinfo=UTC))
    series.unique_id = "cycle"
    with coded_frames(material.scene) as coded:
        pixels = list(coded)
    yield series.start()
    for n in range(n_frames):
        yield series.image(n, pixels[n % len(pixels)], n / 1000)
    yield series.end()


class _Sizes(threading.Thread):
    """Looks how large things get."""

    def __init__(self, run: Launched) -> None:
        super().__init__(name="sizes", daemon=True)
        self.ingest_mib = self.spool_mib = 0.0
        self._run = run
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.2):
            pid = self._run.look().get("ingest")
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = Path(f"/proc/{pid}/status").read_text()
                self.ingest_mib = max(
                    self.ingest_mib, int(status.split("VmHWM:")[1].split()[0]) / 1024
                )
            spools = self._run.out.glob("spool*")
            with contextlib.suppress(OSError):
                taken = sum(path.stat().st_size for path in spools) / (1 << 20)
                self.spool_mib = max(self.spool_mib, taken)

    def close(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()
