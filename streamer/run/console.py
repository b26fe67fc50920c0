"""What a run looks like on the terminal while it goes, and when it is over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from streamer.run.progress import can_redraw
from streamer.run.snapshot import Snapshot

__all__ = ["LiveView", "PlainView", "View", "print_summary", "view_for"]

_RATE_SPAN_S = 3.0
_PLAIN_EVERY_S = 5.0
_MOST_TAKEN = 8


class View(Protocol):
    """Shows a run while it goes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(self, now: Snapshot) -> None:
        """Show a newer state."""
        ...


def view_for(console: Console) -> View:
    """Return a view that moves on a terminal, one of plain lines elsewhere."""
    return LiveView(console) if can_redraw(console) else PlainView(console)


class _Rates:
    """Frames and peaks a second over the last few seconds."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int, int]] = deque()

    def update(self, frames: int, peaks: int) -> tuple[float, float]:
        now = time.monotonic()
        self._past.append((now, frames, peaks))
        while now - self._past[0][0] > _RATE_SPAN_S and len(self._past) > 2:
            self._past.popleft()
        then, old_frames, old_peaks = self._past[0]
        span = max(now - then, 1e-9)
        if len(self._past) < 2:
            return 0.0, 0.0
        return (frames - old_frames) / span, (peaks - old_peaks) / span


class LiveView:
    """A progress bar, the figures that matter, and a line for each node."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("frames"),
            TimeElapsedColumn(),
            console=console,
            expand=True,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._rates = _Rates()

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, now: Snapshot) -> None:
        """Show a newer state."""
        self._progress.update(
            self._task, description=now.phase, completed=now.settled, total=now.expected
        )
        fps, pps = self._rates.update(now.processed, now.peaks)
        figures = Text.assemble(
            (f"{fps:,.0f}", "bold green"), " frames/s   ",
            (f"{pps:,.0f}", "bold green"), " peaks/s   latency ",
            (f"{now.latency_ms:,.0f}", "bold"), " ms   on their way ",
            (f"{now.waiting.window:,}", "bold"), f"   waiting {now.waiting.backlog:,}",
        )  # fmt: skip
        if now.disagreement_px is not None:
            figures.append(f"   model and fit {now.disagreement_px:.3f} px apart")
        trouble = _trouble(now) or now.start
        nodes = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("node", "what it does", "so far", "pid", "restarts"):
            nodes.add_column(column)
        for node in now.nodes:
            nodes.add_row(
                Text(node.name, style="" if node.alive else "red"),
                Text(node.doing),
                node.rate,
                f"{node.host} {node.pid or ''}".strip(),
                Text(str(node.restarts), style="yellow" if node.restarts else "dim"),
            )
        self._live.update(
            Group(
                self._progress,
                figures,
                Text(trouble or "nothing lost, nothing sent again", "yellow" if trouble else "dim"),
                nodes,
                Text(_addresses(now), "dim"),
            )
        )


def _addresses(now: Snapshot) -> str:
    """Return where others can listen."""
    feeds = {"peaks feed": now.feed, "frames relay": now.relay}
    return "  ".join(f"{name} {address}" for name, address in feeds.items() if address)


class PlainView:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0
        self._addresses = ""
        self._start = ""
        self._rates = _Rates()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def update(self, now: Snapshot) -> None:
        """Print a line when it is time, and where others can listen when that is known."""
        addresses = _addresses(now)
        if addresses != self._addresses and now.feed and now.relay:
            self._addresses = addresses
            self._say(addresses)
        if now.start and now.start != self._start:
            self._start = now.start
            self._say(now.start)
        fps, pps = self._rates.update(now.processed, now.peaks)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PLAIN_EVERY_S
        of = f" of {now.expected:,}" if now.expected is not None else ""
        line = (
            f"{now.elapsed_s:5.0f} s  {now.phase}: {now.settled:,}{of} frames, "
            f"{fps:,.0f} frames/s, {pps:,.0f} peaks/s, latency {now.latency_ms:,.0f} ms, "
            f"on their way {now.waiting.window:,}"
        )
        trouble = _trouble(now)
        self._say(line + (f"; {trouble}" if trouble else ""))

    def _say(self, line: str) -> None:
        # What a source is called may look like rich's markup.
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)


def _trouble(now: Snapshot) -> str:
    """Return what did not go as it should, in plain words; empty if all did."""
    delivery = now.delivery
    facts = [
        (now.frames.get("failed", 0), "failed"),
        (now.frames.get("missing", 0), "missing from the source"),
        (now.frames.get("shed", 0), "shed"),
        (delivery.redelivered, "sent again"),
        (delivery.duplicates, "duplicates dropped"),
        (delivery.refused, "messages refused"),
        (delivery.restarts, "restarts"),
        (delivery.disk_errors, "writings of results tried again"),
        (delivery.early, "came before the workers were ready"),
    ]
    words = [f"{count:,} {what}" for count, what in facts if count]
    if delivery.ignored:
        words.append(f"messages of the source not used: {delivery.ignored}")
    waiting = now.waiting
    words += filter(None, (waiting.disk, waiting.gone, waiting.late, now.cell, now.alarms))
    words += [f"{trouble} ({count:,} times)" for trouble, count in now.troubles.items()]
    return ", ".join(words)


def _taken(series: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Say what was taken for the frames of a run's series, those that are alike once."""
    told: set[tuple[str, str]] = set()
    for book in series.values():
        said = {key: str(book.get(key, "")) for key in ("source", "pixels", "times")}
        if said["pixels"] and isinstance(book.get("masked"), int):
            said["pixels"] += f", {book['masked']:,} masked"
        lines = [("  taken", said["source"]), ("  pixels", said["pixels"])]
        lines += [("  times", said["times"])]
        left_out, warnings = book.get("left_out", ()), book.get("warnings", ())
        if isinstance(left_out, list):
            lines += [("  left out", ", ".join(map(str, left_out)))]
        if isinstance(warnings, list):
            lines += [("  warning", str(text)) for text in warnings]
        for line in lines:
            if line[1] and line not in told and len(told) < _MOST_TAKEN:
                told.add(line)
                yield line


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """Print the table that ends a run."""
    table = Table(title=Text(f"Run {summary['state']}"), title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column()
    frames = summary["frames"]
    lost = {state: n for state, n in frames.items() if state not in ("done", "total") and n}
    table.add_row("source", Text(summary["source"]))
    for name, words in _taken(summary.get("series", {})):
        table.add_row(name, Text(words))
    table.add_row("frames", f"{frames['done']:,} done of {frames['total']:,}")
    for state, count in lost.items():
        table.add_row(f"  {state}", Text(f"{count:,} (reasons in frames/*.parquet)", "yellow"))
    table.add_row("peaks", f"{summary['peaks']:,} in {summary['tracks']:,} tracks")
    if geometry := summary.get("geometry"):
        table.add_row("geometry", Text(geometry))
    table.add_row("elapsed", f"{summary['elapsed_s']:.1f} s with starting and stopping")
    rates = summary["rates"]
    table.add_row(
        "rate", f"{rates['frames_per_s']:,.0f} frames/s, {rates['peaks_per_s']:,.0f} peaks/s"
    )
    table.add_row("latency", f"{rates['latency_ms_median']:.0f} ms median, arrival to disk")
    if early := summary["delivery"].get("early"):
        words = f"{early:,} frames came before the workers were ready, and waited"
        table.add_row("  early", Text(words, "yellow"))
    for stage, figures in summary["stages"].items():
        words = ", ".join(
            f"{value:,.1f} {name}" if value < 100 else f"{value:,.0f} {name}"
            for name, value in figures.items()
        )
        table.add_row(Text(f"  {stage}"), Text(words))
    if summary["disagreement_px"] is not None:
        table.add_row(
            "model check",
            f"{summary['disagreement_px']:.3f} px from fits of some of its peaks (p50)",
        )
    delivery = summary["delivery"]
    table.add_row(
        "delivery",
        f"{delivery['redelivered']:,} sent again, {delivery['duplicates']:,} duplicates dropped, "
        f"{delivery['restarts']} restarts",
    )
    if delivery["ignored"]:
        table.add_row("  not used", Text(f"{delivery['ignored']} messages of the source", "yellow"))
    if summary.get("common_motion") == "remove":
        table.add_row("  drifts", "without the motion that all spots share")
    for line in summary.get("threshold_changes", []):
        table.add_row("thresholds", Text(line))
    for line in summary.get("advice", []):
        table.add_row("  look", Text(line, "yellow"))
    if "cell" in summary:
        _add_cell(table, summary["cell"])
    for trouble, count in summary["troubles"].items():
        table.add_row("  trouble", Text(f"{trouble} ({count:,} times)", "yellow"))
    table.add_row("run folder", Text(summary["out"]))
    console.print(table)


def _add_cell(table: Table, cell: dict[str, Any]) -> None:
    """Add what became of the cell's readings."""
    by = f"; charge and discharge by {cell['kinds']}" if cell["kinds"] else ""
    table.add_row("cell", f"{cell['rows_read']:,} readings{by}")
    for file in cell["files"]:
        if file["n_unread"]:
            text = f"{file['n_unread']:,} rows of {file['file']} (first: {file['why']})"
            table.add_row("  not read", Text(text, "yellow"))
    for what, why in cell["troubles"].items():
        table.add_row("  trouble", Text(f"it could not be {what}: {why}", "yellow"))
