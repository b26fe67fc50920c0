"""Spots that move, as a detector sees them, and which is which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sightings = list[tuple[Floats, Ints]]
"""For each frame (n, 2) places, and which spot each is; -1 for what is none."""

FRAMES, SIZE = 60, 320.0
MERGED_PX = 3.0
"""Spots nearer than that are one peak between them."""


def places(rng: np.random.Generator, n: int) -> Floats:
    """Return (n, 2) places that keep apart."""
    found: list[Floats] = []
    while len(found) < n:
        point = rng.uniform(30, SIZE - 30, 2)
        if all(np.hypot(*(point - other)) > 22 for other in found):
            found.append(point)
    return np.array(found)


def motion(name: str, rng: np.random.Generator, where: Floats) -> Callable[[int], Floats]:
    """Return what gives the places of spots on a frame."""
    middle, half = SIZE / 2, FRAMES // 2
    own = rng.normal(0, 1, where.shape)
    own *= (rng.uniform(0.5, 2, len(own)) / np.hypot(*own.T))[:, None]
    kind, _, figure = name.partition(" ")
    size = float(figure or 0)
    if kind == "cross":
        for left in range(0, len(where) - 1, 2):
            where[left + 1] = where[left] + (40, 8 * (left % 3))
            own[left], own[left + 1] = (0.7, 0.1), (-0.7, -0.1)

    def turned(frame: int) -> Floats:
        angle = np.deg2rad(size) * frame
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.asarray((where - middle) @ matrix.T + middle)

    amplitude, phase = rng.uniform(2, 6, where.shape), rng.uniform(0, 6, where.shape)
    jumps = rng.uniform(-1.8, 1.8, where.shape)
    return {
        "still": lambda frame: where,
        "drift": lambda frame: where + np.array([size, 0.3 * size]) * frame,
        "rotate": turned,
        "own": lambda frame: where + own * frame,
        "cross": lambda frame: where + own * frame,
        "turn": lambda frame: where + own * (frame if frame < half else FRAMES - frame),
        "start": lambda frame: where + own * max(0, frame - half),
        "stop": lambda frame: where + own * min(frame, half),
        "swing": lambda frame: where + amplitude * np.sin(2 * np.pi * frame / 30 + phase),
        "jump": lambda frame: where + jumps * (frame >= half),
        "breathe": lambda frame: (where - middle) * (1 + size * frame) + middle,
    }[kind]


def sightings(
    name: str,
    seed: int,
    *,
    n: int = 12,
    sigma: float = 0.15,
    miss: float = 0.02,
    false: float = 1.0,
) -> Sightings:
    """Return what is seen of a scene.

    Parameters
    ----------
    name
        Of the motion, with its size.
    n
        Spots.
    sigma
        Scatter of positions along each axis in pixels.
    miss
        Share of sightings that lack.
    false
        Peaks a frame that are of no spot.
    """
    rng = np.random.default_rng(seed)
    move = motion(name, rng, places(rng, n))
    frames = []
    for frame in range(FRAMES):
        truth = move(frame)
        seen = ((truth > 0) & (truth < SIZE)).all(axis=1) & (rng.random(n) >= miss)
        spots = np.flatnonzero(seen)
        points = truth[spots] + rng.normal(0, sigma, (len(spots), 2))
        alone = np.ones(len(spots), np.bool_)
        for i in range(len(spots)):
            for j in range(i):
                apart = np.hypot(*(truth[spots[i]] - truth[spots[j]]))
                if alone[i] and alone[j] and apart < MERGED_PX:
                    alone[i], points[j] = False, (points[i] + points[j]) / 2
        extra = rng.poisson(false)
        points = np.vstack([points[alone], rng.uniform(0, SIZE, (extra, 2))])
        which = np.concatenate([spots[alone], np.full(extra, -1)])
        order = rng.permutation(len(points))
        frames.append((points[order], which[order]))
    return frames


def followed(seen: Sightings, tracks: list[Ints]) -> float:
    """Return the share of the steps from one sighting of a spot to its next that a track joins."""
    last: dict[int, int] = {}
    joined = 0
    steps = 0
    for (_, spots), numbers in zip(seen, tracks, strict=True):
        for spot, track in zip(spots.tolist(), numbers.tolist(), strict=True):
            if spot >= 0:
                steps += spot in last
                joined += last.get(spot) == track
                last[spot] = track
    return joined / steps
