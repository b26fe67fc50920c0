"""Sources of frames: one module for each protocol or file format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamer.config import SourceConfig
from streamer.errors import UserError, did_you_mean
from streamer.plugins import Plugins
from streamer.sources.base import ProtocolPlugin, Source
from streamer.sources.files.address import OF_FILES
from streamer.sources.files.open import READERS, open_recording
from streamer.sources.live.array10 import open_array10, reach_array10
from streamer.sources.live.braggstream import open_braggstream, reach_braggstream
from streamer.sources.live.dectris.source import DectrisSource, reach_dectris
from streamer.sources.live.karabo.source import BRIDGE, open_karabo
from streamer.sources.live.pva.source import PvaSource, reach_pva
from streamer.sources.live.sls import open_sls, reach_sls
from streamer.sources.live.stins import SENDER, open_stins
from streamer.sources.pacing import Paced

__all__ = ["PROTOCOLS", "check_reachable", "open_source"]


def _protocol(
    opens: Callable[[str, SourceConfig], Source], reaches: Callable[[str, SourceConfig], object]
) -> type[ProtocolPlugin]:
    """Return a protocol without parameters of its own."""

    class Protocol(ProtocolPlugin):
        def open(self, uri: str, config: SourceConfig) -> Source:
            return opens(uri, config)

        def reach(self, uri: str, config: SourceConfig) -> None:
            reaches(uri, config)

    return Protocol


PROTOCOLS = Plugins(
    "protocol",
    "source.protocols",
    ProtocolPlugin,
    {
        "dectris": _protocol(DectrisSource, reach_dectris),
        "braggstream": _protocol(open_braggstream, reach_braggstream),
        "karabo": _protocol(open_karabo, BRIDGE.reach),
        "array10": _protocol(open_array10, reach_array10),
        "sls": _protocol(open_sls, reach_sls),
        "stins": _protocol(open_stins, SENDER.reach),
        "pva": _protocol(PvaSource, reach_pva),
    },
)


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
    PROTOCOLS.check(config.protocols)
    READERS.check(config.readers)
    text = str(uri)
    scheme = _scheme(text)
    if scheme is not None:
        if config.frames is not None:
            raise UserError(f"{text} is a live stream: source.frames chooses those of a recording")
        return PROTOCOLS.configure(scheme, config.protocols).open(text, config)
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
    PROTOCOLS.configure(scheme, config.protocols).reach(uri, config)


def _scheme(text: str) -> str | None:
    """Return the protocol of a live stream, None for what can be a path."""
    scheme, separator, _ = text.partition("://")
    if not separator or "/" in scheme or scheme in OF_FILES:
        return None
    if scheme.lower() not in PROTOCOLS:
        hint = did_you_mean(scheme, PROTOCOLS.names) or ";"
        raise UserError(
            f"{text}: unknown protocol {scheme}{hint} known are {_known()},"
            " or give a file to replay"
        )
    return scheme.lower()


def _known() -> str:
    where = dict.fromkeys(PROTOCOLS.own, "host:port") | {"pva": "CHANNEL"}
    return ", ".join(f"{name}://{where.get(name, '')}" for name in PROTOCOLS.names)
