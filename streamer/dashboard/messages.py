"""What the dashboard's server and its page say to each other over one WebSocket.

**To the page**, binary: a uint32 (little endian) with the length of the header, the header as JSON
in UTF-8, padded with spaces so that the first array starts at a multiple of 8 bytes, then the
arrays, each padded to a multiple of 8. The header's ``arrays`` lists ``{"name", "dtype", "shape",
"offset"}`` with dtype ``u1``, ``u2``, ``u4``, ``i1``, ``i2``, ``i4``, ``f4`` or ``f8`` and the
offset (ten digits, as text) in bytes from the start of the message. With ``packed``, a number of
bytes, the array is as `streamer.dashboard.packing.Packed` says. Frame numbers and tracks are f8,
which holds them exactly, and Unix times in ns too, which it holds to 256 ns.

A frame has a number in its series and one in the run, its *run frame*: the series stand one behind
the other in the order in which they began, so that it is the number in the series and where that
starts in the run. With one series both are the same.

``hello``
    run, source, live, state, started (UTC; with the name it tells a run from others), listed (there
    is a list of runs), software, series (list of names), starts (list of the run frames
    at which these start), quantities (list of what can be drawn: ``radial``, ``row``,
    ``col``, ``d``, ``strain`` where the geometry is known, else ``distance``, ``row``, ``col``;
    behind these what is known of shapes, named as columns of the table of peaks: ``intensity``,
    ``fwhm_radial``, ``fwhm_azimuthal`` or ``fwhm_major``, ``fwhm_minor``, ``background``,
    ``asymmetry``; and where it is known what all spots did together: ``motion_shift``,
    ``motion_angle``, ``motion_scale``), n_frames (one more than the largest run frame, here as in
    other messages), shape ([rows, cols] or null). Sent again when anything but n_frames has
    changed.
``health``
    phase, frames_in_hz, frames_out_hz, latency_ms (of frames, until they are on disk), seen_ms
    (until their positions are known; null where nothing says so), backlog, lost (plain words, empty
    when nothing is lost or late and there is no advice), alarm (true: of what it says something
    has to be looked after at once), frames {done, failed, missing, shed}, peaks,
    disagreement_px, viewers, dropped (messages this viewer was too slow for), elapsed_s, stale_s
    (seconds since the run said anything), live, n_frames, hosts (while live, a line for each host
    and what it does; empty where there is one alone). Rates, latency and disagreement are null
    where not known.
``image``
    series, frame, time_ns, shape [rows, cols], binning (detector pixels per image pixel), low, high
    (counts at levels 1 and 255), knee (counts above low up to which levels are about linear),
    newest (true while live), settled (true: its peaks are on disk), provisional (true: its peaks
    are those that reached the sink, and may differ in the end), stack (``sum`` or ``highest`` where
    it is that of many frames, whose number is in frame; else null), coarse (true: the same in more
    pixels comes next), has_pixels, why (no pixels, when there are none). Arrays: pixels u1 [h, w]
    (0 masked, 1..255 logarithmic in counts:
    ``low + knee * ((1 + (high - low) / knee) ** ((level - 1) / 254) - 1)``), and of each peak row,
    col, row_sigma, col_sigma, score (f4), flags (i4), track (f8).
``tracks``
    n_frames, timeline (two lists: run frames and Unix seconds, sorted by these; other frames are
    about evenly between), n (tracks), memory_frames
    (as many a track may miss), radial (whether ``drift`` is along the line from the direct
    beam), units {column: unit}. Arrays: one f8 or i4 for each numeric column of the run folder's
    tracks table, and series (i4, places in the list of ``hello``), in which frames have their
    numbers; and reflection (f8, the number of its first spot). Columns may be missing.
``drift``
    quantity (``distance`` where ``radial`` was asked for and no geometry is known), label, unit, x
    (``time`` or ``frame``), still (true where the motion that all spots share is taken out), names
    (of lines that are no tracks, {number: words}, with numbers below 0; where there are such),
    request (echoed), number (of this message among the drifts of the connection), base (number of
    the message that it builds upon; null where it holds all), lines [[track, drop, keep, add]]. A
    line is what it was, without its first `drop` points, of the rest the first `keep`, and behind
    these `add` new ones. Arrays: x (f8; Unix seconds or run frame), y, sigma (f4; NaN where not
    known), the new points of all lines, one line after the other.
``cell``
    half_cycles [{number, kind, guess, start, stop, start_frame, stop_frame}] (guess: told by the
    voltage alone; Unix seconds; run frames, null when not known). Arrays: time (f8, Unix seconds),
    frame (f8, run frame), voltage, current, capacity
    (f4; V, A, Ah; NaN where not known).
``patch``
    series, frame, track, row, col, origin [row, col] of the first pixel, placed [row, col], sigma
    [row, col], fit {row, col, row_sigma, col_sigma} or null, fitted (false: sent again when it is
    fitted), why (no pixels, when there are none). Array: pixels f4 [11, 11], counts, NaN where not
    valid.
``geometry``
    place {rotation (nine numbers, row by row), distance_m, poni1_m, poni2_m, pixel1_m, pixel2_m,
    wavelength_a} or null, as in `streamer.frames.geometry.Geometry`; beam [row, col] or null; rings
    [{d, words}] of the lattice, in angstroms.
``region``
    The pixels within the window that the page asked for, of the frame whose ``image`` comes next or
    came last: series, frame, shape [rows, cols] of the frame, origin [row, col], binning (each
    value is the highest of binning x binning valid pixels), saturation (counts, or null), low
    (counts of the darkest), why (no pixels, when there are none). Arrays: counts [h, w], exactly as
    the detector sent them, in their own type; marks u1 [h, w], bits as in
    `streamer.dashboard.image.regions`.
``whole``
    The same of all pixels of a frame; thresholds (words: with which its peaks were found).
``mask``
    The same without the counts.
``roi``
    row, col, rows, cols of the rectangle, why (no pixels of some frames, if so). Arrays, f8: frame
    (run frame), time (Unix seconds, 0 where there is none), sum (counts of the pixels that are not
    masked), pixels (how many these are). Of the frames of a recording about 500 are looked at.
``point``
    series, frame, row, col, counts (null where there are none), marks, saturation, why.
``thresholds``
    minval, minscore (counts or ``auto``: what holds from the newest frame on), configured {minval,
    minscore}, changes [{time_ns, minval, minscore, series, frame}] (series and frame of the first
    frame that it holds for; null before it has come), waiting (a change that the run has not taken
    yet, or null), can_change (with the control token), can_try, binning (of the run, before peaks
    are found).
``preview``
    series, frame, minval, minscore, binning, why (no peaks, when they cannot be found). Arrays:
    row, col, score (f4) of the peaks that these thresholds would give.
``problem``
    text, for the user.

What all pages are told alike, as ``tracks`` and ``cell`` are, comes from
`streamer.dashboard.panels.PANELS`, which may name more types.

**From the page**, JSON text:

``{"type": "watch", "tracks": [..], "quantity": "radial", "x": "time", "from": null, "to": null,
"points": 2000, "request": 7}``
    Which curves to send, now and as they grow; `quantity` is one of those in ``hello``, of the
    motion of all spots whatever the tracks are; `from` and `to` in the units of x, null for all; at
    most `points` of each, thinned by the weighted mean of neighbours, over stretches of x that are
    a power of two long and become twice as long when points are too many: until then nothing but
    the last point changes. At most 200 tracks.
``{"type": "show", "frame": null, "series": null, "stack": null}``
    Which frame to show, by its number in the series: null for the newest, live; a number pauses
    there. With ``sum`` or ``highest`` as stack what many frames are together.
``{"type": "patch", "frame": 12, "series": "series_1", "row": 100.5, "col": 20.25}``
    The patch around a peak.
``{"type": "region", "row": 0, "col": 0, "rows": 300, "cols": 400, "binning": 1}``
    Which pixels of each frame that is shown are to be sent too; without rows none.
``{"type": "whole", "frame": 12, "series": "series_1"}``
    All pixels of a frame.
``{"type": "mask", "frame": 12, "series": "series_1"}``
    What is masked of it.
``{"type": "roi", "row": 90, "col": 80, "rows": 20, "cols": 30}``
    Within which rectangle to sum counts, now and as frames come; without rows none.
``{"type": "point", "frame": 12, "series": "series_1", "row": 100, "col": 20}``
    The counts of one pixel.
``{"type": "preview", "minval": 40, "minscore": "auto"}``
    Find the peaks of each frame that is shown with these thresholds as well; null for both: no
    more.
``{"type": "hold", "hold": true}``
    Send nothing but health until further notice: the page is not visible.

A message that has not gone out when the next of its type is ready is replaced by it. A ``drift``
holds what is new since the one that went out before it: nobody misses one that was replaced. The
first after ``watch``, and any of another quantity, holds all. A page that has not got the ``base``
of one sends its ``watch`` again, with another `request`.

The page is served at ``/`` with its files
beside it (``/page.js``, ``/style.css``, ...), the WebSocket is at ``/ws``. It is closed with code
1012 when the server ends, as it does a second after the run that it belongs to. Of a folder of runs
the newest is there, and the WebSocket is closed with code 4000 when another one is; each run is
at ``/runs/NAME/``, its WebSocket at ``/runs/NAME/ws``, and ``/runs/runs.json`` lists all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.dashboard.packing import Packed
from streamer.results.thinning import Curve

__all__ = ["DriftWriter", "Lines", "encode"]

_DTYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"}
_NOTHING = Curve(np.empty(0), np.empty(0, np.float32), np.empty(0, np.float32))


def encode(
    kind: str,
    header: Mapping[str, Any] | None = None,
    arrays: Mapping[str, NDArray[Any] | Packed] | None = None,
) -> bytes:
    """Return a message to the page.

    Parameters
    ----------
    kind
        Its ``type``.
    header
        The other keys: plain JSON types; NaN becomes null.
    arrays
        By name, of dtype u1, u2, u4, i1, i2, i4, f4 or f8 in native (little-endian) byte order.
    """
    blocks: list[bytes] = []
    # The header holds offsets that depend on its own length, so these are given a fixed width.
    listed: list[dict[str, Any]] = []
    for name, array in (arrays or {}).items():
        if isinstance(array, Packed):
            dtype, block, more = array.dtype, array.data, {"packed": len(array.data)}
        else:
            dtype, block, more = array.dtype.str[1:], np.ascontiguousarray(array).tobytes(), {}
        if dtype not in _DTYPES:
            raise ValueError(f"array {name} has dtype {dtype}")
        about = {"name": name, "dtype": dtype, "shape": list(array.shape), "offset": "0" * 10}
        listed.append(about | more)
        blocks.append(block)
    content = {"type": kind, **(header or {}), "arrays": listed}
    start = 4 + len(_dump(content))
    start += -start % 8
    offset = start
    for entry, block in zip(listed, blocks, strict=True):
        entry["offset"] = f"{offset:010d}"
        offset += len(block) + -len(block) % 8
    text = _dump(content).ljust(start - 4)
    parts = [len(text).to_bytes(4, "little"), text]
    for block in blocks:
        parts += [block, bytes(-len(block) % 8)]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Lines:
    """What a page's plot is to show."""

    header: Mapping[str, Any]
    """Of the ``drift`` message, but for what :class:`DriftWriter` adds."""
    curves: Mapping[int, Curve]
    """By track."""
    is_whole: bool = True
    """False if there is more that was not read yet."""


class DriftWriter:
    """Writes the ``drift`` messages of one connection, each with what is new since the one before.

    What is new is found by comparing points, not by keeping account of why they changed: a line is
    right on the page whatever happened to it.
    """

    def __init__(self) -> None:
        self.number = 0
        """Of the message that was written last."""
        self._written: Lines | None = None

    def forget(self) -> None:
        """Write all in the next message."""
        self._written = None

    def write(self, lines: Lines) -> bytes:
        """Return the message after which the page shows these lines."""
        before = self._written
        if before is not None and (
            before.header != lines.header or list(before.curves) != list(lines.curves)
        ):
            before = None
        places, new = [], [_NOTHING]
        for track, curve in lines.curves.items():
            drop, keep = (0, 0) if before is None else _kept(before.curves[track], curve)
            places.append([track, drop, keep, len(curve.x) - keep])
            new.append(Curve(curve.x[keep:], curve.y[keep:], curve.sigma[keep:]))
        base = None if before is None else self.number
        self.number += 1
        self._written = lines
        more = {"number": self.number, "base": base, "lines": places}
        arrays = {
            "x": np.concatenate([one.x for one in new]),
            "y": np.concatenate([one.y for one in new]),
            "sigma": np.concatenate([one.sigma for one in new]),
        }
        return encode("drift", {**lines.header, **more}, arrays)


def _kept(old: Curve, new: Curve) -> tuple[int, int]:
    """Return how many of the first points are gone, and how many of the others stay as they are."""
    if old is new:
        return 0, len(new.x)
    first = np.flatnonzero(old.x == new.x[0]) if len(new.x) else np.empty(0, np.int64)
    if not len(first):
        return 0, 0
    drop = int(first[0])
    n = min(len(old.x) - drop, len(new.x))
    same = old.x[drop : drop + n] == new.x[:n]
    for one, other in ((old.y, new.y), (old.sigma, new.sigma)):
        # As bits: NaN stays NaN.
        same &= one[drop : drop + n].view(np.int32) == other[:n].view(np.int32)
    return drop, n if same.all() else int(same.argmin())


def _dump(content: Mapping[str, Any]) -> bytes:
    return json.dumps(_finite(content), separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
