"""What ``run.json`` says of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streamer.errors import UserError

__all__ = ["Delivery", "read_summary", "summary_path"]


class _Frames(msgspec.Struct):
    done: int = 0
    failed: int = 0
    missing: int = 0
    shed: int = 0
    total: int = 0


class _Rates(msgspec.Struct):
    frames_per_s: float = 0.0
    peaks_per_s: float = 0.0
    latency_ms_median: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the hops between the nodes had to put right, and what could not be used."""

    redelivered: int = 0
    duplicates: int = 0
    restarts: int = 0
    refused: int = 0
    """Messages between nodes that were not understood."""
    ignored: str = ""
    """Messages of the source that gave no frame, in words."""
    disk_errors: int = 0
    """Writings of results that failed and were tried again."""
    early: int = 0
    """Frames that came before anybody could work on them: they waited for the start."""


class _Software(msgspec.Struct):
    name: str = ""
    version: str = ""


class _CellFile(msgspec.Struct):
    file: str = ""
    n_unread: int = 0
    why: str = ""


class _Cell(msgspec.Struct):
    rows_read: int = 0
    kinds: str = ""
    files: list[_CellFile] = []
    troubles: dict[str, str] = {}


class _Summary(msgspec.Struct):
    """What is read of it, with what holds where another version left it out."""

    state: str = ""
    source: str = ""
    out: str = ""
    cwd: str = ""
    started: str = "1970-01-01T00:00:00+00:00"
    ended: str | None = None
    elapsed_s: float = 0.0
    software: _Software = msgspec.field(default_factory=_Software)
    frames: _Frames = msgspec.field(default_factory=_Frames)
    series: dict[str, dict[str, Any]] = {}
    peaks: int = 0
    tracks: int = 0
    rates: _Rates = msgspec.field(default_factory=_Rates)
    stages: dict[str, dict[str, float]] = {}
    disagreement_px: float | None = None
    delivery: Delivery = msgspec.field(default_factory=Delivery)
    troubles: dict[str, int] = {}
    resumed: list[str] = []
    threshold_changes: list[str] = []
    cell: _Cell | msgspec.UnsetType = msgspec.UNSET


def summary_path(folder: Path) -> Path:
    """Return where the ``run.json`` of a run folder is.

    Raises
    ------
    UserError
        It is not a run folder.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise UserError(f"{folder} is not a run folder: it has no run.json")
    return path


def read_summary(path: Path) -> dict[str, Any]:
    """Return the content of a ``run.json``, with 0 in place of figures that it lacks.

    Raises
    ------
    UserError
        It is damaged.
    """
    try:
        said = path.read_bytes()
        known = msgspec.to_builtins(msgspec.json.decode(said, type=_Summary))
        summary: dict[str, Any] = _filled(json.loads(said), known)
        return summary
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}") from None


def _filled(said: Any, known: Any) -> Any:
    """Return what was said, with what is known where it lacks something."""
    if isinstance(said, dict) and isinstance(known, dict):
        more = {key: _filled(said[key], known[key]) if key in said else known[key] for key in known}
        return said | more
    if isinstance(said, list) and isinstance(known, list):
        return [_filled(*pair) for pair in zip(said, known, strict=True)]
    return said
