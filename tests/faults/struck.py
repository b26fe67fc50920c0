"""One run under one schedule, from its start to the verdict."""

from __future__ import annotations

import math
import re
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.launched import Launched, OverdueError, all_nodes, wait_until
from tests.faults.material import RATE_HZ, Material, Sender
from tests.faults.progress import Progress, Relayed
from tests.faults.schedule import Schedule, Strike
from tests.faults.verdict import Verdict, judge
from tests.served import free_port

__all__ = ["Outcome", "Struck", "undisturbed"]

TAKEN_S = 0.1
"""A frame that ingest was seen to take so long before it was killed counts as received."""
_IDLE = "source.idle_s=40"
_TIMES = "source.frame_time_s=0.1"


@dataclass(slots=True)
class Outcome:
    """What came of a schedule."""

    schedule: Schedule
    verdict: Verdict = field(default_factory=Verdict)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    """What was struck, and the seconds until frames that came after it were on disk."""
    error: str = ""
    """How the run failed, if it did."""
    elapsed_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the run ended well, with what it was to have."""
        return not self.error and self.verdict.is_good

    def __str__(self) -> str:
        """Return it as one line."""
        v = self.verdict
        words = [self.error, *v.wrong, f"{v.n_lost} lost, {v.n_doubled} doubled"]
        if v.n_in_flight:
            words.append(f"{v.n_in_flight} in flight")
        words += [f"{what}: {s:.1f} s" for what, s in self.recoveries]
        return "; ".join(word for word in words if word)


def undisturbed(material: Material, *, live: bool) -> Path:
    """Return the folder of a run that nothing happens to, made when it is first asked for."""
    out = material.folder / ("live" if live else "recording")
    if not (out / "run.json").exists():
        sender = Sender(material.messages, 0.0) if live else None
        source = sender.uri if sender is not None else str(material.recording)
        if sender is not None:
            sender.go.set()
            sender.start()
        settings = ("dashboard.port=0", *(() if live else (_TIMES,)))
        run = Launched(source, out, settings, out.with_suffix(".log"))
        try:
            if run.wait() != 0:
                raise OverdueError(run.last_words)
        finally:
            run.close()
            if sender is not None:
                sender.close()
    return out


class Struck:
    """A run, and what is done to it.

    Parameters
    ----------
    material
        What it reads.
    schedule
        What happens to it.
    out
        Run folder, which must not be there.
    """

    def __init__(self, material: Material, schedule: Schedule, out: Path) -> None:
        self._schedule = schedule
        self._undisturbed = undisturbed(material, live=schedule.live)
        self._sender = Sender(material.messages) if schedule.live else None
        relay = f"tcp://127.0.0.1:{free_port()}"
        self._relayed = Relayed(relay)
        settings = [f"publish.frames={relay}"]
        if "dashboard" not in schedule.needs:
            settings.append("dashboard.port=0")
        if self._sender is None:
            source = str(material.recording)
            settings += [f"source.speed={RATE_HZ / 10:g}", _TIMES]
        else:
            source = self._sender.uri
            settings.append(_IDLE)
        self._relay = relay
        self._run = Launched(source, out, settings, out.with_suffix(".log"))
        self._progress = Progress(out)
        self._killed_ingest: list[float] = []
        self._struck: list[tuple[Strike, float]] = []

    def go(self) -> Outcome:
        """See it through."""
        outcome, begin = Outcome(self._schedule), time.monotonic()
        try:
            self._play()
            code = self._run.wait()
            self._progress.close()
            if code != 0 and not (self._schedule.live and self._killed_ingest and code == 1):
                outcome.error = f"exit status {code}: {self._run.last_words}"
            outcome.verdict = judge(self._run.out, self._undisturbed, self._may_miss)
            if code != 0 and not outcome.verdict.n_in_flight:
                outcome.error = f"exit status {code}: {self._run.last_words}"
            outcome.recoveries = self._recoveries()
        except (OverdueError, OSError, KeyError, ValueError) as error:
            outcome.error = f"{type(error).__name__}: {error}"
        finally:
            self._close()
        outcome.elapsed_s = time.monotonic() - begin
        return outcome

    def _play(self) -> None:
        self._progress.start()
        self._relayed.start()
        if self._sender is not None:
            self._sender.start()
        wait_until(lambda: all_nodes(self._run), "all nodes")
        if "dashboard" in self._schedule.needs:
            wait_until(lambda: "dashboard http" in self._run.log.read_text(), "the page's address")
            self._run.visit()
        if "recorder" in self._schedule.needs:
            uri = self._relay.replace("tcp", "braggstream")
            self._run.record(uri, self._run.out.with_suffix(".h5"))
        wait_until(lambda: self._progress.n_frames or self._run.code is not None, "a first frame")
        if self._sender is not None:
            self._sender.go.set()
        begin = time.monotonic()
        for strike in self._schedule.strikes:
            time.sleep(max(0.0, begin + strike.after_s - time.monotonic()))
            self._strike(strike)

    def _strike(self, strike: Strike) -> None:
        if self._run.code is not None:
            return  # it was over before
        if strike.frozen_s is not None:
            self._run.strike(strike.roles, signal.SIGSTOP)
            time.sleep(strike.frozen_s)
            hit = self._run.strike(strike.roles, signal.SIGCONT)
            at = time.time()
        else:
            at = time.time()
            hit = self._run.strike(strike.roles, signal.SIGKILL)
            if {"ingest", "launcher"} & set(strike.roles):
                self._killed_ingest.append(at)
            if "launcher" in strike.roles:
                self._run.resume()
        if hit:
            self._struck.append((strike, at))

    def _recoveries(self) -> list[tuple[str, float]]:
        """Return how long each strike was felt; what is struck again before counts from then on."""
        found, in_a_row = [], False
        next_ones = [at for _, at in self._struck[1:]] + [math.inf]
        for (strike, at), next_at in zip(self._struck, next_ones, strict=False):
            seconds = self._progress.recovery_s(at, self._relayed.seen)
            if seconds is None:
                in_a_row = False
            elif at + seconds > next_at:
                in_a_row = True
            else:
                found.append(("one after the other" if in_a_row else strike.kind, seconds))
                in_a_row = False
        return found

    @property
    def _may_miss(self) -> set[int]:
        """Frames that an ingest node that was killed had not received for certain."""
        if self._sender is None or not self._killed_ingest:
            return set()
        frames = range(len(self._sender.sent))
        seen, sent = self._relayed.seen, self._sender.sent
        return {
            n
            for n in frames
            for at in self._killed_ingest
            # Sent when it died, and not seen to be taken in time.
            if sent[n] <= at + 5.0 and seen.get(n, at + 1.0) > at - TAKEN_S
        }

    def _close(self) -> None:
        self._run.close()
        self._relayed.close()
        if self._progress.is_alive():
            self._progress.close()
        if self._sender is not None:
            self._sender.close()
        if self._relayed.is_alive():
            self._relayed.close()


def remove(out: Path) -> None:
    """Remove what a run has left."""
    shutil.rmtree(out, ignore_errors=True)
    for path in out.parent.glob(re.sub(r"([*?\[])", r"[\1]", out.name) + "*.*"):
        path.unlink(missing_ok=True)
