"""The process variables of a run, from the first to the last."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from rich.console import Console

from streamer.config import Config, PvaConfig
from streamer.errors import UserError
from streamer.pvs.channels import Channels
from streamer.pvs.newest import NewestFrame
from streamer.results.folder import RunFolder
from streamer.run.sidecar import step_back
from streamer.run.signals import stop_event
from streamer.run.snapshot import STATES, Snapshot
from streamer.run.status import STALE_S, last_word
from streamer.stamps import stamp_of
from streamer.transport.readers import PAGE_KEY, ReaderKey

__all__ = ["serve_pvs"]

_FRAMES_S = 0.25
_STATE_S = 1.0


def serve_pvs(
    folder: Path, console: Console, *, prefix: str | None = None, parent: int | None = None
) -> None:
    """Serve the variables of a run that goes on, until it is over, SIGTERM or Ctrl-C.

    Parameters
    ----------
    folder
        Run folder.
    prefix
        In place of the one that the run was given.
    parent
        Process that is not to be survived; the run's, where this stands beside it.

    Raises
    ------
    UserError
        It is no run folder, has no prefix, or nothing can be served at its address.
    """
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    run = RunFolder.open(folder)
    config = run.read_config()
    pva = config.publish.pva
    if prefix is not None:
        pva = pva.model_copy(update={"prefix": prefix})
    if not pva.prefix:
        raise UserError("give a prefix for the names of process variables: --prefix NAME:")
    if parent is not None:
        step_back()  # the run comes first
    with closing(Channels(pva, config.alarms)) as channels, stop_event() as stop:
        if parent is None:
            _announce(console, pva, channels.port)
        _serve(run, channels, config, stop, parent)


def _announce(console: Console, pva: PvaConfig, port: int) -> None:
    words = f"process variables {pva.prefix}State, {pva.prefix}Peaks, ... at {pva.host}:{port}"
    console.print(words, highlight=False, soft_wrap=True)


def _serve(
    run: RunFolder, channels: Channels, config: Config, stop: threading.Event, parent: int | None
) -> None:
    keys = config.publish.keys
    with closing(NewestFrame(None if keys is None else ReaderKey.read(keys / PAGE_KEY))) as feed:
        next_state, tracks = 0.0, None
        while not stop.is_set() and (parent is None or os.getppid() == parent):
            newest = feed.wait(_FRAMES_S)
            if newest is None:
                stop.wait(_FRAMES_S)
            else:
                channels.post_peaks(*newest)
            if time.monotonic() < next_state:
                continue
            next_state = time.monotonic() + _STATE_S
            age_s, now = last_word(run.path)
            if now is not None:
                feed.listen(now.feed)
                channels.post_state(now.phase if age_s < STALE_S else "", *_counts(now))
            elif run.read_summary()["state"] != "running":
                return
            stamp = stamp_of(run.path / "tracks.parquet")
            if stamp != tracks:
                tracks = stamp
                channels.post_tracks(run.read_tracks())


def _counts(now: Snapshot) -> tuple[dict[str, int], float]:
    """Return what is counted, by the names of variables, and the latency in ms."""
    frames = {f"Frames{state.capitalize()}": now.frames.get(state, 0) for state in STATES}
    counts = {"FramesReceived": now.received, "PeaksTotal": now.peaks, **frames}
    return counts, now.latency_ms
