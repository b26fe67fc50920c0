"""What the dashboard's server and its page say to each other over one WebSocket.

**To the page**, binary: a uint32 (little endian) with the length of the header, the header as JSON
in UTF-8, padded with spaces so that the first array starts at a multiple of 8 bytes, then the
arrays, each padded to a multiple of 8. The header's ``arrays`` lists ``{"name", "dtype", "shape",
"offset"}`` with dtype ``u1``, ``i4``, ``f4`` or ``f8`` and the offset (ten digits, as text) in
bytes from the start of the message. Frame numbers and tracks are f8, which holds them exactly, and
Unix times in ns too, which it holds to 256 ns.

``hello``
    run, source, live, state, started (UTC), software, series (list of names), quantities (list of
    what drifts can be shown as: ``radial``, ``row``, ``col``, ``d``, ``strain`` where the geometry
    is known, else ``distance``, ``row``, ``col``), labels and units of these {quantity: text}, beam
    ([row, col] of the direct beam or null), n_frames, has_cell, shape ([rows, cols] or null). Sent
    again when anything but n_frames has changed.
``health``
    phase, frames_in_hz, frames_out_hz, latency_ms, backlog, lost (plain words, empty when nothing
    is), frames {done, failed, missing, shed}, peaks, disagreement_px, viewers, dropped (messages
    this viewer was too slow for), elapsed_s, stale_s (seconds since the run said anything), live,
    n_frames. Rates, latency and disagreement are null where not known.
``image``
    series, frame, time_ns, shape [rows, cols], binning (detector pixels per image pixel), low, high
    (counts at levels 1 and 255), knee (counts above low up to which levels are about linear),
    newest (true while live), settled (false: its peaks are not there yet), has_pixels, why (no
    pixels, when there are none). Arrays: pixels u1 [h, w] (0 masked, 1..255 logarithmic in counts:
    ``low + knee * ((1 + (high - low) / knee) ** ((level - 1) / 254) - 1)``), and of each peak row,
    col, row_sigma, col_sigma, score (f4), flags (i4), track (f8).
``tracks``
    n_frames, n (tracks), radial (whether ``drift`` is along the line from the direct beam), units
    {column: unit}. Arrays: one f8 or i4 for each numeric column of the run folder's tracks table,
    and series (i4, places in the list of ``hello``). Columns may be missing.
``drift``
    quantity (``distance`` where ``radial`` was asked for and no geometry is known), label, unit, x
    (``time`` or ``frame``), request (echoed), tracks (numbers). Arrays for the i-th track: x{i}
    (f8; Unix seconds or frame), y{i}, sigma{i} (f4; NaN where not known).
``cell``
    half_cycles [{number, kind, start, stop, start_frame, stop_frame}] (Unix seconds; frames null
    when not known). Arrays: time (f8, Unix seconds), frame (f8), voltage, current (f4).
``patch``
    series, frame, track, row, col, origin [row, col] of the first pixel, placed [row, col], sigma
    [row, col], fit {row, col, row_sigma, col_sigma} or null, fitted (false: sent again when it is
    fitted), why (no pixels, when there are none). Array: pixels f4 [11, 11], counts, NaN where not
    valid.
``problem``
    text, for the user.

**From the page**, JSON text:

``{"type": "watch", "tracks": [..], "quantity": "radial", "x": "time", "from": null, "to": null,
"points": 2000, "request": 7}``
    Which drifts to send, now and as they grow; `from` and `to` in the units of x, null for all; at
    most `points` of each, thinned by the weighted mean of neighbours. At most 200 tracks.
``{"type": "show", "frame": null, "series": null}``
    Which frame to show: null for the newest, live; a number pauses there.
``{"type": "patch", "frame": 12, "series": "series_1", "row": 100.5, "col": 20.25}``
    The patch around a peak.
``{"type": "hold", "hold": true}``
    Send nothing but health until further notice: the page is not visible.

A message that has not gone out when the next of its type is ready is replaced by it. A ``drift``
holds the whole of each line, not only what is new. The page is served at ``/`` with its files
beside it (``/page.js``, ``/style.css``, ...), the WebSocket is at ``/ws``. It is closed with code
1012 when the server ends, as it does a second after the run that it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode"]

_DTYPES = {"u1", "i4", "f4", "f8"}


def encode(
    kind: str,
    header: Mapping[str, Any] | None = None,
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> bytes:
    """Return a message to the page.

    Parameters
    ----------
    kind
        Its ``type``.
    header
        The other keys: plain JSON types; NaN becomes null.
    arrays
        By name, of dtype u1, i4, f4 or f8 in native (little-endian) byte order.
    """
    blocks = [np.ascontiguousarray(array) for array in (arrays or {}).values()]
    for name, block in zip(arrays or {}, blocks, strict=True):
        if block.dtype.str[1:] not in _DTYPES:
            raise ValueError(f"array {name} has dtype {block.dtype}")
    # The header holds offsets that depend on its own length, so these are given a fixed width.
    listed = [
        {"name": name, "dtype": block.dtype.str[1:], "shape": list(block.shape), "offset": "0" * 10}
        for name, block in zip(arrays or {}, blocks, strict=True)
    ]
    content = {"type": kind, **(header or {}), "arrays": listed}
    start = 4 + len(_dump(content))
    start += -start % 8
    offset = start
    for entry, block in zip(listed, blocks, strict=True):
        entry["offset"] = f"{offset:010d}"
        offset += block.nbytes + -block.nbytes % 8
    text = _dump(content).ljust(start - 4)
    parts = [len(text).to_bytes(4, "little"), text]
    for block in blocks:
        parts += [block.tobytes(), bytes(-block.nbytes % 8)]
    return b"".join(parts)


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
