"""Going on with a run that did not end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from streamer.config import Config
from streamer.errors import UserError
from streamer.results.folder import RunFolder
from streamer.run.launcher import has_died
from streamer.run.snapshot import LIVE_FILE
from streamer.transport.exposure import is_loopback
from streamer.transport.messages import EPOCH

__all__ = ["Earlier", "refuse_unfinished", "take_up"]

_PATIENCE_S = 10.0
"""Nodes end by themselves soon after their launcher."""
_WHERE = frozenset({"scheduler", "hosts", "host", "pin"})
"""Keys of `placement` that may change: a cluster is seldom there for as long as a run folder."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known of a run that is gone on with."""

    config: Config
    """With which it began, but for where its nodes are to be."""
    started: float
    """Unix time in seconds."""
    resumed: list[str]
    """When it was gone on with before, ISO 8601 in UTC."""
    incarnation: int
    """One more than that of any node whose results are on disk."""


def take_up(out: Path, source: str, given: Config) -> Earlier | None:
    """Return what is known of a run that did not end; None of one that did.

    Parameters
    ----------
    source
        URI or path, to be that of the run.
    given
        Configuration whose keys, as far as they were set, are to be those of the run, but for those
        that say which hosts it has.

    Raises
    ------
    UserError
        There is no run, it goes on, or it has another source or configuration.
    """
    folder = RunFolder.open(out)
    summary = folder.read_summary()
    if summary["state"] == "done":
        return None
    if _goes_on(folder, summary):
        raise UserError(f"the run in {out} goes on: there is nothing to resume")
    if not _is_same(summary["source"], source):
        raise UserError(f"the run in {out} is one of {summary['source']}, not of {source}")
    config = _placed(folder.read_config(), given)
    _await_nodes(out, config.placement.lease_s)
    for key, wanted, has in _differences(given, config):
        raise UserError(
            f"{key} is {has} in the run in {out}, not {wanted}: it goes on as it began, leave"
            f" {key} out"
        )
    last = folder.last_part()
    return Earlier(
        config,
        datetime.fromisoformat(summary["started"]).timestamp(),
        summary.get("resumed", []),
        last.upto // EPOCH + 1 if last else 1,
    )


def refuse_unfinished(out: Path, source: str) -> None:
    """Refuse a folder whose run can be gone on with, in place of beginning a new one.

    Raises
    ------
    UserError
        There is such a run in `out`.
    """
    folder = RunFolder(out)
    try:
        summary = folder.read_summary()
        is_other = summary["state"] == "done" or not _is_same(summary["source"], source)
    except (OSError, UserError):
        return
    if not is_other and not _goes_on(folder, summary):
        raise UserError(
            f"{out} holds a run that did not end: --resume goes on with it, or choose another --out"
        )


def _goes_on(folder: RunFolder, summary: dict[str, Any]) -> bool:
    files = (folder.path / name for name in ("run.json", LIVE_FILE))
    heard = max(file.stat().st_mtime for file in files if file.exists())
    return summary["state"] == "running" and not has_died(summary, time.time() - heard)


def _await_nodes(out: Path, lease_s: float) -> None:
    """Wait until the nodes of a launcher that is gone have ended: they might still write."""
    deadline = time.monotonic() + _PATIENCE_S
    nodes = _last_nodes(out)
    while left := _alive([node for node in nodes if _is_here(node)]):
        if time.monotonic() > deadline:
            raise UserError(f"{left} of the run in {out} still work: end them first")
        time.sleep(0.05)
    if not all(map(_is_here, nodes)):
        # They have ended as well, or their leases run out: nobody renews them.
        heard_s = time.time() - (out / LIVE_FILE).stat().st_mtime
        time.sleep(min(lease_s, max(0.0, lease_s - heard_s)))


def _last_nodes(out: Path) -> list[tuple[str, int, str]]:
    """Return name, process and host of the nodes of a run, as it last said."""
    try:
        said = json.loads((out / LIVE_FILE).read_text(encoding="utf-8"))["nodes"]
        return [(str(one["name"]), int(one["pid"]), str(one.get("host", ""))) for one in said]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _is_here(node: tuple[str, int, str]) -> bool:
    return not node[2] or is_loopback(node[2])


def _alive(nodes: list[tuple[str, int, str]]) -> str:
    """Return which of this host's nodes are there."""
    words = []
    for name, pid, _ in nodes:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if command.endswith(f"/{name}.json\0".encode()):  # and not another with its number
            words.append(f"{name} (process {pid})")
    return ", ".join(words)


def _is_same(one: str, other: str) -> bool:
    return one == other or (
        "://" not in one + other and os.path.realpath(one) == os.path.realpath(other)
    )


def _placed(config: Config, given: Config) -> Config:
    """Return a configuration with the hosts that another one names."""
    named = {name: getattr(given.placement, name) for name in given.placement.model_fields_set}
    changed = {name: value for name, value in named.items() if name in _WHERE}
    placement = config.placement.model_copy(update=changed)
    return config.model_copy(update={"placement": placement})


def _differences(
    given: BaseModel, other: BaseModel, within: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each key that was set to something else than it is in `other`, and both values."""
    for name in sorted(given.model_fields_set):
        key, wanted, has = f"{within}{name}", getattr(given, name), getattr(other, name)
        if isinstance(wanted, BaseModel) and isinstance(has, BaseModel):
            yield from _differences(wanted, has, f"{key}.")
        elif wanted != has:
            yield key, wanted, has
