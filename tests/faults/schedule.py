"""What is done to a run, and when: drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["NODES", "Schedule", "Strike"]

NODES = ("sink", "gpu-0", "detector-0", "detector-1", "ingest")
"""Those that a run is made of, here."""
BESIDE = ("dashboard", "recorder")
SPAN_S = 3.0
"""Strikes fall between the first frame on disk and so long after it."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One thing that is done to some processes at once."""

    after_s: float
    """Since the first frame was on disk."""
    roles: tuple[str, ...]
    frozen_s: float | None = None
    """They get SIGSTOP, and SIGCONT after so long; None: SIGKILL."""

    @property
    def kind(self) -> str:
        """What it is in tables: whom it hits, and how."""
        kinds = sorted({role.partition("-")[0] for role in self.roles})
        whom = "all nodes" if set(NODES) <= set(self.roles) else " + ".join(kinds)
        if "launcher" in self.roles:
            whom = "launcher" + (" and all nodes" if set(NODES) <= set(self.roles) else "")
        elif {"detector-0", "detector-1"} <= set(self.roles) and whom != "all nodes":
            whom = whom.replace("detector", "both detectors")
        return f"{whom} {'killed' if self.frozen_s is None else 'frozen'}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run and the strikes on it."""

    seed: int
    live: bool
    """On a live stream; else on a recording."""
    strikes: tuple[Strike, ...]

    @classmethod
    def draw(cls, seed: int, span_s: float = SPAN_S) -> Schedule:
        """Return the schedule of a seed, always the same."""
        rng = random.Random(seed)
        live = rng.random() < 0.5
        strikes = [_strike(rng, span_s) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
        return cls(seed, live, tuple(sorted(strikes, key=lambda strike: strike.after_s)))

    @property
    def kills_ingest(self) -> bool:
        """Whether what is in the sockets of an ingest node goes with it."""
        whole = any("launcher" in strike.roles for strike in self.strikes)
        return whole or any("ingest" in s.roles and s.frozen_s is None for s in self.strikes)

    @property
    def needs(self) -> set[str]:
        """Which of those that stand beside a run it needs."""
        return {role for strike in self.strikes for role in strike.roles} & set(BESIDE)

    def __str__(self) -> str:
        """Return what happens, in one line."""
        words = ", ".join(f"{s.kind} at {s.after_s:.1f} s" for s in self.strikes)
        return f"{'live' if self.live else 'recording'}: {words}"


def _strike(rng: random.Random, span_s: float) -> Strike:
    after_s = rng.uniform(0.0, span_s)
    whom = rng.random()
    if whom < 0.12:
        return Strike(after_s, (rng.choice(BESIDE),), rng.choice((None, rng.uniform(0.2, 2.0))))
    if whom < 0.27:
        roles = ("launcher", *(NODES if rng.random() < 0.5 else ()))
        return Strike(after_s, roles, None if rng.random() < 0.8 else rng.uniform(0.2, 2.0))
    count = rng.choice((1, 1, 1, 2, 2, 3, 5))
    roles = tuple(sorted(rng.sample(NODES, count)))
    return Strike(after_s, roles, rng.uniform(0.2, 2.0) if rng.random() < 0.3 else None)
