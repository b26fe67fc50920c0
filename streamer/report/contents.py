"""The words and tables of a report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any

import numpy as np
import pyarrow.compute as pc

from streamer.config import Config
from streamer.frames.flags import POOR_FIT
from streamer.frames.header_geometry import in_words
from streamer.frames.lattice import Lattice
from streamer.report.material import Material
from streamer.report.page import Page
from streamer.report.style import COLOURS

__all__ = ["METHODS", "add_facts", "add_ledger", "add_reflections", "add_run", "index_words"]

METHODS = {
    "braggnn": "BraggNN",
    "gaussian": "Gaussian fit",
    "pseudovoigt": "pseudo-Voigt fit",
    "centroid": "centroid",
}
_RANGES = 20
_REASONS = 5


def add_facts(page: Page, material: Material) -> None:
    """Add what matters most, in large type."""
    summary = material.summary
    frames = summary["frames"]
    lost = frames["total"] - frames["done"]
    facts = [
        (f"{frames['done']:,}", f"frames done of {frames['total']:,}"),
        (f"{summary['peaks']:,}", "peaks"),
        (f"{material.tracks.num_rows:,}", "tracks seen often enough"),
        (f"{summary['rates']['frames_per_s']:,.0f}", "frames a second"),
        (f"{summary['rates']['latency_ms_median']:,.0f} ms", "from arrival to disk (median)"),
    ]
    if lost:
        facts.insert(1, (f"{lost:,}", "frames without a result"))
    page.facts(facts)


def add_ledger(page: Page, material: Material) -> None:
    """Add the books of each series."""
    heads = [
        (name, "") for name in ("series", "announced", "received", "done", "missing", "shed",
                                "failed", "end")
    ]  # fmt: skip
    rows = []
    for name, book in material.summary["series"].items():
        cells = [escape(name)]
        for key in ("announced", "received", "done", "missing", "shed", "failed"):
            count = book.get(key)
            text = "–" if count is None else f"{count:,}"
            bad = key in ("missing", "shed", "failed") and count
            cells.append(f'<span class="bad">{text}</span>' if bad else text)
        end = str(book.get("end", "–"))
        rows.append([*cells, escape("as announced" if end == "end" else end)])
    page.table(heads, rows)
    for line in _losses(material):
        page.note(line)


def _losses(material: Material) -> Iterator[str]:
    """Say which frames have no result, and why."""
    for name, book in material.summary["series"].items():
        ranges = book.get("missing_frames", [])
        if ranges:
            shown = ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in ranges[:_RANGES])
            more = f" and {len(ranges) - _RANGES:,} more stretches" * (len(ranges) > _RANGES)
            yield f"{name}, missing: frames {shown}{more}."
    frames = material.frames
    for state in ("failed", "shed", "missing"):
        lost = frames.filter(pc.equal(frames["state"], state))
        reasons: Counter[tuple[str, str]] = Counter()
        for series, reason, count in zip(
            *(lost[name].to_pylist() for name in ("series", "reason", "count")), strict=True
        ):
            reasons[series, reason] += count
        for (series, reason), count in reasons.most_common(_REASONS):
            if reason:
                noun = "frame" if count == 1 else "frames"
                yield f"{series}, {state}, {count:,} {noun}: {reason}."


def add_reflections(page: Page, material: Material) -> None:
    """Add a table of the main reflections."""
    has_geometry = material.geometry is not None
    heads = [
        ("reflection", ""), ("spots", ""), ("first–last", "frame"), ("row", "px"), ("column", "px"),
        ("drift", "px"), ("largest", "px"), ("rate", "px/h" if material.is_timed else "px/frame"),
    ]  # fmt: skip
    if has_geometry:
        heads += [("d", "Å"), ("strain", "10⁻³"), ("largest", "10⁻³")]
    heads += [("persistence", "counts")]
    rows = []
    for i, one in enumerate(material.main):
        swatch = f'<span class="swatch" style="background:var(--line-{i % len(COLOURS)})"></span>'
        cells = [
            f"{swatch}{one.name}",
            ", ".join(map(str, one.tracks)),
            f"{one.frames[0]:,}–{one.frames[1]:,}",
            with_error(*one.row),
            with_error(*one.col),
            *(with_error(*what, sign=True) for what in (one.drift, one.excursion, one.rate)),
        ]
        if has_geometry:
            cells.append(with_error(*one.d))
            for value, sigma in (one.strain, one.strain_excursion):
                cells.append(with_error(1e3 * value, 1e3 * sigma, sign=True))
        rows.append([*cells, f"{one.score:,.0f}"])
    page.table(heads, rows)
    page.note(
        "Position and drift of its newest spot at the end, means over the newest observations, "
        "from where the reflection was first; largest: where it was farthest. In brackets the "
        "standard error of the last digits. All spots are in tracks.parquet, and in "
        "reflections.parquet frame by frame."
    )


def index_words(material: Material) -> str:
    """Say of how many reflections the lattice planes are known, where there is a lattice."""
    lattice = Lattice.from_config(material.config.lattice)
    tracks = material.tracks
    first = tracks["track"].to_numpy() == tracks["reflection"].to_numpy()
    good = (tracks["flags"].to_numpy() & POOR_FIT) == 0
    d = tracks["ref_d"].to_numpy()[first & good]
    if lattice is None or not np.isfinite(d).any():
        return "none"
    found = lattice.index(d)
    told = np.isfinite(found.terms).all(axis=1)
    unclear = int((~told & found.is_ambiguous).sum())
    return (
        f"{told.sum():,} of {len(d):,}, {unclear:,} may be of planes of several spacings and "
        f"{len(d) - told.sum() - unclear:,} of none"
    )


def with_error(value: float, sigma: float, *, sign: bool = False) -> str:
    """Return a value with its standard error behind it, as 97.003(12)."""
    plus = "+" if sign else ""
    if value is None or not math.isfinite(value):
        return "–"
    if sigma is None or not math.isfinite(sigma) or sigma <= 0:
        return _minus(f"{value:{plus}.4g}")
    digits = 1 - math.floor(math.log10(sigma))
    if round(sigma * 10.0**digits) >= 100:
        digits -= 1
    if digits <= 0:
        step = 10.0 ** -max(digits, -15)
        text = f"{round(value / step) * step:{plus}.0f}"
        return f"{_minus(text)}<small>({round(sigma / step) * step:.0f})</small>"
    error = round(sigma * 10.0**digits)
    shown = f"{error}" if error < 10.0**digits else f"{error / 10.0**digits:.{digits}f}"
    return f"{_minus(f'{value:{plus}.{digits}f}')}<small>({shown})</small>"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def add_run(page: Page, material: Material) -> None:
    """Add how the run went and what was set."""
    summary = material.summary
    rates, delivery = summary["rates"], summary["delivery"]
    positions = material.config.positions
    rows = [
        ("software", f"{summary['software']['name']} {summary['software']['version']}"),
        ("source", summary["source"]),
        ("run folder", summary["out"]),
        ("state", summary["state"]),
        ("begun", _moment(summary["started"])),
        ("ended", _moment(summary.get("ended"))),
        ("took", f"{summary['elapsed_s']:,.1f} s, with starting and stopping"),
        (
            "rate",
            f"{rates['frames_per_s']:,.0f} frames/s, {rates['peaks_per_s']:,.0f} peaks/s",
        ),
        ("positions by", METHODS.get(positions.method, positions.method)),
    ]
    for stage, figures in summary["stages"].items():
        words = ", ".join(f"{value:,.4g} {name}" for name, value in figures.items())
        rows.append((stage, words))
    if summary["disagreement_px"] is not None:
        rows.append(
            ("live check", f"{summary['disagreement_px']:.4f} px from fits of some peaks (median)")
        )
    sent = f"{delivery['redelivered']:,} sent again, {delivery['duplicates']:,} duplicates dropped"
    rows.append(("delivery", f"{sent}, {delivery['restarts']:,} restarts"))
    if delivery["ignored"]:
        rows.append(("not used", f"{delivery['ignored']} messages of the source"))
    rows += [("thresholds changed", line) for line in summary.get("threshold_changes", [])]
    rows += _cell(summary.get("cell"))
    told = summary.get("geometry") or "not known"
    if material.geometry is not None:
        told = in_words(material.geometry)
    without = "" if material.geometry is not None else "; no angles, spacings and strains"
    rows.append(("geometry", f"{told}{without}"))
    page.words(rows)
    page.heading("Settings that differ from their defaults")
    changed = list(
        _changes(material.config.model_dump(mode="json"), Config().model_dump(mode="json"))
    )
    if changed:
        page.words(changed)
    else:
        page.note("None.")


def _cell(cell: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Say what was taken for the cell's readings."""
    if cell is None:
        return
    for file in cell["files"]:
        columns = "; ".join(f"{quantity} from {name}" for quantity, name in file["columns"].items())
        zone = f", time zone {file['zone']}" if file["zone"] else ""
        yield "cell", f"{file['file']}: {columns or 'not read'}; times {file['times']}{zone}"
        why = f" (first: {file['why']})" if file["why"] else ""
        yield "readings", f"{file['n_read']:,} read, {file['n_unread']:,} not read{why}"
    if cell["kinds"]:
        yield "charge, discharge by", cell["kinds"]


def _changes(
    now: Mapping[str, Any], default: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    for key, value in now.items():
        if isinstance(value, dict) and isinstance(default.get(key), dict) and default[key]:
            yield from _changes(value, default[key], f"{prefix}{key}.")
        elif value != default.get(key):
            yield f"{prefix}{key}", str(value)


def _moment(text: str | None) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC" if text else "not yet"
