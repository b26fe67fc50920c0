"""How a run stands, read from its folder by anyone at any time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer.errors import RunError
from streamer.results.summary import read_summary, summary_path
from streamer.results.thresholds import changes_in_words
from streamer.run.console import print_summary
from streamer.run.launcher import has_died
from streamer.run.snapshot import LIVE_FILE, Snapshot

__all__ = ["STALE_S", "last_word", "print_status", "status_json"]

STALE_S = 10.0
"""Seconds of silence after which a run is not where it was last heard of."""


def print_status(path: Path, console: Console) -> None:
    """Print the state of a run, going on or ended.

    Raises
    ------
    UserError
        `path` is not a run folder.
    RunError
        The run has failed, or its launcher died.
    """
    summary = read_summary(summary_path(path))
    if summary["state"] != "running":
        print_summary(console, summary)
        if summary["state"] == "failed":
            raise RunError(f"the run failed; what is in {path} is whole")
        return
    age, now = last_word(path)
    died = has_died(summary, age)
    if now is not None:
        phase = f"when last heard of, {age:,.0f} s ago" if died else now.phase
        _print_live(console, now, phase, changes_in_words(path))
    elif not died:
        console.print(f"starting since {summary['started']}", highlight=False)
    if died:
        raise RunError(f"the launcher died; what is in {path} is whole")
    if age > STALE_S:
        console.print(f"[yellow]no word from this run for {age:,.0f} s")


def status_json(path: Path) -> tuple[str, bool]:
    """Return the state of a run as JSON for programs, and whether all is well with it.

    It is the content of ``run.json``, and beside it as ``live`` what the run last said, or null; as
    ``heard_s_ago`` how long ago that was. A run whose launcher died is in the state ``died``.

    Raises
    ------
    UserError
        `path` is not a run folder.
    """
    summary = read_summary(summary_path(path))
    said: dict[str, Any] = {**summary, "live": None, "heard_s_ago": None}
    if summary["state"] == "running":
        age, now = last_word(path)
        said |= {"live": now and msgspec.to_builtins(now), "heard_s_ago": age}
        said["threshold_changes"] = changes_in_words(path)
        if has_died(summary, age):
            said["state"] = "died"
    text = msgspec.json.format(msgspec.json.encode(said), indent=2).decode()
    return text, said["state"] not in ("failed", "died")


def last_word(path: Path) -> tuple[float, Snapshot | None]:
    """Return how many seconds ago a run said something, and what; None if it said nothing yet."""
    live = path / LIVE_FILE
    try:
        now = msgspec.json.decode(live.read_bytes(), type=Snapshot)
        return time.time() - live.stat().st_mtime, now
    except (OSError, ValueError, RecursionError):
        return time.time() - (path / "run.json").stat().st_mtime, None


def _print_live(console: Console, now: Snapshot, phase: str, changes: list[str]) -> None:
    table = Table(title=Text(f"Run {phase}"), title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column()
    of = f" of {now.expected:,}" if now.expected is not None else ""
    table.add_row("source", Text(now.source))
    if now.start:
        table.add_row("  start", Text(now.start))
    table.add_row("since", f"{now.elapsed_s:,.0f} s")
    table.add_row("frames", f"{now.settled:,}{of} settled")
    for state, count in now.frames.items():
        if count:
            table.add_row(Text(f"  {state}"), f"{count:,}")
    table.add_row("peaks", f"{now.peaks:,}")
    table.add_row("on their way", f"{now.waiting.window:,} frames, {now.waiting.backlog:,} waiting")
    table.add_row("latency", f"{now.latency_ms:,.0f} ms")
    table.add_row("sent again", f"{now.delivery.redelivered:,}")
    if now.cell:
        table.add_row("cell", Text(now.cell))
    if now.alarms:
        table.add_row("alarms", Text(now.alarms))
    for line in changes:
        table.add_row("thresholds", Text(line))
    for trouble, count in now.troubles.items():
        table.add_row("trouble", Text(f"{trouble} ({count:,} times)"))
    table.add_row("peaks feed", Text(now.feed))
    table.add_row("frames relay", Text(now.relay))
    for node in now.nodes:
        state = "" if node.alive else "(dead) "
        where = f" on {node.host}" if node.host else ""
        table.add_row(Text(f"  {node.name}{where}"), Text(f"{state}{node.doing}; {node.rate}"))
    console.print(table)
