"""Sources of frames: one module for each protocol or file format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources.base import Source
from streamer.sources.files.open import open_recording
from streamer.sources.live.array10 import PUBLISHER, open_array10
from streamer.sources.live.braggstream import PIPELINE, open_braggstream
from streamer.sources.live.dectris.source import DectrisSource, reach_dectris
from streamer.sources.live.karabo.karabo import BRIDGE, open_karabo
from streamer.sources.live.pva.source import PvaSource, reach_pva
from streamer.sources.live.stins import SENDER, open_stins
from streamer.sources.pacing import Paced

__all__ = ["check_reachable", "open_source"]

_LIVE: dict[
    str,
    tuple[Callable[[str, SourceConfig], Source], Callable[[str, SourceConfig], object]],
] = {
    "dectris": (DectrisSource, reach_dectris),
    "braggstream": (open_braggstream, PIPELINE.reach),
    "karabo": (open_karabo, BRIDGE.reach),
    "array10": (open_array10, PUBLISHER.reach),
    "stins": (open_stins, SENDER.reach),
    "pva": (PvaSource, reach_pva),
}


def open_source(uri: str | Path, config: SourceConfig) -> Source:
    """Open a live stream or a recording.

    Parameters
    ----------
    uri
        ``dectris://host:port`` or another live stream; or a file, with ``::path`` behind it to
        choose one of several arrays; or a folder or pattern of files, taken in natural order. What
        a file holds decides, not its extension.
    config
        Pace, frames and time limits.

    Raises
    ------
    UserError
        There is nothing that can be read; the text says what to do.
    """
    text = str(uri)
    scheme = _scheme(text)
    if scheme is not None:
        if config.frames is not None:
            raise UserError(f"{text} is a live stream: source.frames chooses those of a recording")
        return _LIVE[scheme][0](text, config)
    recording = open_recording(text, config)
    if config.speed is None:
        return recording
    try:
        return Paced(recording, config.speed, recording.series.frame_time_s)
    except UserError:
        recording.close()
        raise


def check_reachable(uri: str, config: SourceConfig) -> None:
    """Check that a live stream is there, without taking any message from it.

    Raises
    ------
    UserError
        It is not, or it is not a live stream.
    """
    scheme = _scheme(uri)
    if scheme is None:
        raise UserError(f"{uri} is not a live stream such as {_known()}: replay reads recordings")
    _LIVE[scheme][1](uri, config)


def _scheme(text: str) -> str | None:
    """Return the protocol of a live stream, None for what can be a path."""
    scheme, separator, _ = text.partition("://")
    if not separator or "/" in scheme:
        return None
    if scheme.lower() not in _LIVE:
        raise UserError(
            f"{text}: unknown protocol {scheme}; known are {_known()}, or give a file to replay"
        )
    return scheme.lower()


def _known() -> str:
    where = {"pva": "CHANNEL"}
    return ", ".join(f"{name}://{where.get(name, 'host:port')}" for name in _LIVE)
