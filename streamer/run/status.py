"""How a run stands, read from its folder by anyone at any time."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streamer.results.folder import RunFolder
from streamer.run.console import print_summary
from streamer.run.snapshot import LIVE_FILE

__all__ = ["print_status"]

_STALE_S = 10.0


def print_status(path: Path, console: Console) -> None:
    """Print the state of a run, going on or ended.

    Raises
    ------
    UserError
        `path` is not a run folder.
    """
    folder = RunFolder.open(path)
    summary = folder.read_summary()
    if summary["state"] != "running":
        print_summary(console, summary)
        return
    live = path / LIVE_FILE
    try:
        age = time.time() - live.stat().st_mtime
        now = json.loads(live.read_text(encoding="utf-8"))
    except FileNotFoundError:
        console.print(f"starting since {summary['started']}", highlight=False)
        return
    if age > _STALE_S:
        console.print(
            f"[yellow]no word from this run for {age:,.0f} s: its launcher is gone. "
            "What is in the folder is whole.",
        )
    table = Table(title=f"Run {now['phase']}", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column()
    of = f" of {now['expected']:,}" if now["expected"] is not None else ""
    table.add_row("source", now["source"])
    table.add_row("since", f"{now['elapsed_s']:,.0f} s")
    table.add_row("frames", f"{sum(now['frames'].values()):,}{of} settled")
    for state, count in now["frames"].items():
        if count:
            table.add_row(f"  {state}", f"{count:,}")
    table.add_row("peaks", f"{now['peaks']:,}")
    table.add_row("on their way", f"{now['window']:,} frames, {now['backlog']:,} waiting")
    table.add_row("latency", f"{now['latency_ms']:,.0f} ms")
    table.add_row("sent again", f"{now['delivery']['redelivered']:,}")
    table.add_row("peaks feed", now["feed"])
    table.add_row("frames relay", now["relay"])
    for node in now["nodes"]:
        state = "" if node["alive"] else "(dead) "
        table.add_row(f"  {node['name']}", f"{state}{node['doing']}; {node['rate']}")
    console.print(table)
