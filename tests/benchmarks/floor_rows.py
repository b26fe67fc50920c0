"""From peaks to tables as one plain loop does it: tracks, common motion, angles, Parquet."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

from tests.benchmarks.floor_fit import POOR, SHAPE

__all__ = ["Detector", "Tracks", "write_part"]

_GATE, _MEMORY, _MOST_HIDDEN = 3.0, 5, 500
_CONFIRMED, _REFERENCE = 3, 10
_FOLLOW, _TURN = 0.5, 0.1
_UNLIKE = 2.25
"""Factor to the squared distance of a peak and a track of which one does not look like a peak."""
_TRACK = np.dtype(
    [
        *((name, "i8") for name in ("number", "seen", "missed", "hidden", "steady")),
        *((name, "f8") for name in ("row", "col", "row_speed", "col_speed", "odd")),
        *((name, "f8") for name in ("weight", "home_row", "home_col")),
    ]
)
"""Where a track is expected and how it moves; where its first peaks were, weighted."""
_MOTION = (
    *(f"motion_{of}{part}" for of in ("row", "col", "angle", "scale") for part in ("", "_sigma")),
    "motion_about_row", "motion_about_col", "motion_row_angle_correlation",
    "motion_col_angle_correlation",
)  # fmt: skip


class Detector(NamedTuple):
    """Where a flat detector stands, at right angles to the beam."""

    beam_row: float
    beam_col: float
    distance_px: float
    wavelength_a: float

    def locate(self, peaks: dict[str, Any]) -> dict[str, Any]:
        """Return angles, spacings and widths of peaks."""
        y, x = peaks["row"] - self.beam_row, peaks["col"] - self.beam_col
        r = np.hypot(y, x)
        two_theta = np.arctan2(r, self.distance_px)
        theta = 0.5 * two_theta
        squared = r * r + self.distance_px**2
        slope = self.distance_px / squared / r
        sigma = slope * np.hypot(y * peaks["row_sigma"], x * peaks["col_sigma"])
        d = self.wavelength_a / (2.0 * np.sin(theta))
        columns = {
            "two_theta": np.degrees(two_theta),
            "chi": np.degrees(np.arctan2(y, x)),
            "q": 2.0 * math.pi / d,
            "d": d,
            "d_sigma": d / (2.0 * np.tan(theta)) * sigma,
        }
        major, minor = peaks["fwhm_major"], peaks["fwhm_minor"]
        off = np.radians(peaks["angle"]) - np.arctan2(y, x)
        turned = np.radians(peaks["angle_sigma"])
        for name, u, v, degrees in (
            ("radial", np.cos(off), np.sin(off), np.degrees(self.distance_px / squared)),
            ("azimuthal", np.sin(off), np.cos(off), np.degrees(1.0 / r)),
        ):
            width = np.hypot(major * u, minor * v)
            variance = (major * u * u * peaks["fwhm_major_sigma"]) ** 2
            variance += (minor * v * v * peaks["fwhm_minor_sigma"]) ** 2
            variance += ((major**2 - minor**2) * u * v * turned) ** 2
            columns[f"fwhm_{name}"] = degrees * width
            columns[f"fwhm_{name}_sigma"] = degrees * np.sqrt(variance) / width
        return columns


class Tracks:
    """Links peaks to tracks and tells what all of them did together."""

    def __init__(self, mask: np.ndarray, about: tuple[float, float]) -> None:
        self.next = 0
        self._mask, self._about = mask, about
        self._table, self._n = np.zeros(4096, _TRACK), 0

    def link(self, rows, cols, sigmas, flags, bounds):
        """Return the track of each peak, and (frames, 12), the motion of each frame."""
        out, motion = np.empty(len(rows), np.int64), np.full((len(bounds) - 1, 12), np.nan)
        if self._n + len(rows) > len(self._table):
            more = np.zeros(self._n + len(rows) + len(self._table), _TRACK)
            more[: self._n] = self._table[: self._n]
            self._table = more
        self._n, self.next = _link(
            rows, cols, sigmas, flags, bounds, self._mask, *self._about, self._table, self._n,
            self.next, out, motion,
        )  # fmt: skip
        return out, motion


@njit(cache=True, nogil=True, error_model="numpy")
def _link(
    rows, cols, sigmas, flags, bounds, mask, about_row, about_col, live, n, number, out, motion
):
    pairs, far = np.empty((4096, 2), np.int64), np.empty(4096)
    for f in range(len(bounds) - 1):
        first, last = bounds[f], bounds[f + 1]
        out[first:last] = -1
        n_pairs = 0
        for t in range(n):
            track = live[t]
            track.row += track.row_speed
            track.col += track.col_speed
            r, c = round(track.row), round(track.col)
            inside = 2 <= r < mask.shape[0] - 2 and 2 <= c < mask.shape[1] - 2
            behind = inside and (
                mask[r, c] or mask[r - 2, c] or mask[r + 2, c] or mask[r, c - 2] or mask[r, c + 2]
            )
            if behind and track.hidden < min(track.seen, _MOST_HIDDEN):
                track.hidden += 1
            else:
                track.missed += 1
            reach = _GATE * math.sqrt(max(track.missed, 1))
            for p in range(first, last):
                dy, dx = rows[p] - track.row, cols[p] - track.col
                distance = dy * dy + dx * dx
                if (flags[p] & POOR != 0) != (track.odd >= 0.5):
                    distance *= _UNLIKE
                if distance <= reach * reach and n_pairs < len(far):
                    pairs[n_pairs, 0], pairs[n_pairs, 1], far[n_pairs] = t, p, distance
                    n_pairs += 1
        # The nearest first: so each pair is that of two which are nearest to one another.
        for k in np.argsort(far[:n_pairs]):
            t, p = pairs[k]
            track = live[t]
            if out[p] >= 0 or track.missed + track.hidden == 0:
                continue
            out[p] = track.number
            track.missed = track.hidden = 0
            track.seen += 1
            dy, dx = rows[p] - track.row, cols[p] - track.col
            track.odd += 0.1 * ((flags[p] & POOR != 0) - track.odd)
            track.steady += 1
            if dy * dy + dx * dx > 0.25 * _GATE * _GATE:
                track.steady = min(track.steady, 3)
            m = track.steady
            follow = max(_FOLLOW, 2.0 * (2 * m - 1) / (m * (m + 1.0)))
            turn = max(_TURN, 6.0 / ((m + 1) * (m + 2.0)))
            track.row += follow * dy
            track.col += follow * dx
            track.row_speed += turn * dy
            track.col_speed += turn * dx
        _move(rows, cols, sigmas, flags, first, last, about_row, about_col, live, n, out, motion[f])
        kept = 0
        for t in range(n):
            if live[t].missed <= _MEMORY:
                live[kept] = live[t]
                kept += 1
        n = kept
        for p in range(first, last):
            if out[p] < 0:
                track = live[n]
                track.number, track.seen, track.missed, track.hidden = number, 1, 0, 0
                track.steady, track.odd = 1, flags[p] & POOR != 0
                track.row, track.col, track.row_speed, track.col_speed = rows[p], cols[p], 0.0, 0.0
                track.weight = 1.0 / sigmas[p] ** 2
                track.home_row, track.home_col = rows[p], cols[p]
                out[p] = number
                n += 1
                number += 1
    return n, number


@njit(cache=True, nogil=True, error_model="numpy")
def _move(rows, cols, sigmas, flags, first, last, about_row, about_col, live, n, out, told):
    """Fit shift, turn and scale of a frame to what its spots did since they were first seen."""
    at = np.empty(last - first, np.int64)
    for p in range(first, last):
        at[p - first] = -1
        low, high = 0, n
        while low < high:  # tracks stand in the order of their numbers
            middle = (low + high) // 2
            if live[middle].number < out[p]:
                low = middle + 1
            else:
                high = middle
        if out[p] >= 0 and low < n and live[low].number == out[p]:
            at[p - first] = low
    trust = np.ones(last - first)
    shift_row = shift_col = a = b = y0 = x0 = weight = lever2 = 0.0
    spots = 0
    for _ in range(3):
        weight = y0 = x0 = v0 = u0 = 0.0
        spots = 0
        for p in range(first, last):
            t = at[p - first]
            if t < 0 or live[t].seen <= _CONFIRMED or flags[p] & POOR:
                trust[p - first] = 0.0
                continue
            w = trust[p - first] / (sigmas[p] ** 2 + 1.0 / live[t].weight)
            weight += w
            y0 += w * (live[t].home_row - about_row)
            x0 += w * (live[t].home_col - about_col)
            v0 += w * (rows[p] - live[t].home_row)
            u0 += w * (cols[p] - live[t].home_col)
            spots += 1
        if spots < 3 or not weight > 0.0:
            spots = 0
            break
        y0, x0, v0, u0 = y0 / weight, x0 / weight, v0 / weight, u0 / weight
        lever2 = a = b = 0.0
        for p in range(first, last):
            t = at[p - first]
            if trust[p - first] > 0.0:
                w = trust[p - first] / (sigmas[p] ** 2 + 1.0 / live[t].weight)
                y, x = live[t].home_row - about_row - y0, live[t].home_col - about_col - x0
                v, u = rows[p] - live[t].home_row - v0, cols[p] - live[t].home_col - u0
                lever2 += w * (y * y + x * x)
                a += w * (y * v + x * u)
                b += w * (x * v - y * u)
        a, b = a / lever2, b / lever2
        shift_row, shift_col = v0 - a * y0 - b * x0, u0 - a * x0 + b * y0
        for p in range(first, last):
            t = at[p - first]
            if trust[p - first] > 0.0:
                y, x = live[t].home_row - about_row, live[t].home_col - about_col
                v = rows[p] - live[t].home_row - shift_row - a * y - b * x
                u = cols[p] - live[t].home_col - shift_col - a * x + b * y
                off = math.sqrt((v * v + u * u) / (sigmas[p] ** 2 + 1.0 / live[t].weight))
                trust[p - first] = 1.0 if off < 2.0 else (2.0 / off if off < 5.0 else 1e-6)
    if spots:
        turn_sigma = math.sqrt(1.0 / lever2)
        sigma = math.sqrt(1.0 / weight + (y0 * y0 + x0 * x0) / lever2)
        scale = math.hypot(1.0 + a, b)
        told[0], told[1], told[2], told[3] = shift_row, sigma, shift_col, sigma
        told[4], told[5] = math.degrees(math.atan2(b, 1.0 + a)), math.degrees(turn_sigma / scale)
        told[6], told[7], told[8], told[9] = scale - 1.0, turn_sigma, about_row, about_col
        told[10], told[11] = -x0 * turn_sigma / sigma, y0 * turn_sigma / sigma
    for p in range(first, last):
        t = at[p - first]
        if t >= 0 and live[t].seen <= _REFERENCE:
            row, col = rows[p], cols[p]
            if spots:
                dy, dx = row - about_row - shift_row, col - about_col - shift_col
                size = (1.0 + a) ** 2 + b * b
                row = about_row + ((1.0 + a) * dy - b * dx) / size
                col = about_col + (b * dy + (1.0 + a) * dx) / size
            w = 1.0 / sigmas[p] ** 2
            live[t].weight += w
            live[t].home_row += w / live[t].weight * (row - live[t].home_row)
            live[t].home_col += w / live[t].weight * (col - live[t].home_col)


def write_part(
    out: Path,
    name: str,
    frames: dict[str, Any],
    peaks: dict[str, Any],
    motion: np.ndarray,
    detector: Detector,
) -> None:
    """Write the rows of both tables, each to a file that is on disk when this returns."""
    columns = {f"{what}{part}" for what in SHAPE for part in ("", "_sigma")}
    if not columns <= peaks.keys():
        raise ValueError(f"without {columns - peaks.keys()}")
    n = len(frames["frame"])
    frames |= dict(zip(_MOTION, motion.T, strict=True))
    frames |= {"state": pa.repeat("done", n), "reason": pa.repeat("", n), "count": np.ones(n, "i8")}
    peaks |= detector.locate(peaks)
    for table, rows in (("peaks", peaks), ("frames", frames)):
        rows |= {"series": pa.repeat("1", len(rows["frame"]))}
        made = pa.table(rows)
        measured = [field.name for field in made.schema if pa.types.is_floating(field.type)]
        path, partial = out / f"{table}-{name}.parquet", out / f".{table}-{name}"
        pq.write_table(
            made, partial, use_dictionary=[n for n in made.column_names if n not in measured]
        )
        with open(partial) as file:
            os.fsync(file.fileno())
        partial.rename(path)
