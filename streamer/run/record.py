"""Recording of a live stream without processing it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rich.console import Console

from streamer.config import Config
from streamer.errors import RunError
from streamer.frames.events import Frame, Gap
from streamer.ingest.recorder import Recorder, check_path
from streamer.ingest.taps import TeeSource
from streamer.run.private import private_files
from streamer.run.signals import stop_event
from streamer.sources import check_reachable, open_source

__all__ = ["record_source"]

_AT_ONCE = 64


def record_source(uri: str, config: Config, path: Path, console: Console) -> None:
    """Record a live stream until as many series have ended as were asked for.

    SIGINT or SIGTERM ends it before; what came is then in the file.

    Parameters
    ----------
    path
        File of the first series.
    console
        Where progress is shown.

    Raises
    ------
    UserError
        The file cannot be written, or the stream cannot be read.
    RunError
        Frames are missing.
    """
    check_path(path)
    check_reachable(uri, config.source)
    recorder = Recorder(path)
    with (
        private_files(config),
        closing(TeeSource(open_source(uri, config.source), [recorder])) as source,
        console.status("waiting for a series") as status,
        stop_event() as stop,
    ):
        n_frames, missing = 0, 0
        while not source.exhausted and not stop.is_set():
            if source.socket is not None:
                source.socket.poll(100)
            events = source.read(_AT_ONCE)
            n_frames += sum(isinstance(event, Frame) for event in events)
            missing += sum(event.count for event in events if isinstance(event, Gap))
            if recorder.files:
                status.update(f"{n_frames:,} frames, {recorder.n_bytes / 1e6:,.0f} MB")
    for file in recorder.files:
        console.print(f"recorded {file}", highlight=False, soft_wrap=True)
    console.print(f"{n_frames:,} frames, {recorder.n_bytes / 1e6:,.1f} MB", highlight=False)
    lost = {"missing": missing} | recorder.counters
    if any(lost.values()):
        words = ", ".join(f"{count:,} {name}" for name, count in lost.items() if count)
        raise RunError(f"{words} of {n_frames + missing:,} frames")
    if not n_frames:
        raise RunError(
            "no frame came, so nothing was recorded: arm the detector while this listens"
        )
