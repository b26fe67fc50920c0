"""Live stream of the European XFEL: trains of images from a Karabo bridge."""

from __future__ import annotations

import zmq

from streamer.config import SourceConfig
from streamer.sources.live.address import Sender
from streamer.sources.live.karabo.source import KaraboBridge
from streamer.sources.live.source import LiveSource

__all__ = ["BRIDGE", "open_karabo"]

_SOCKETS = {"req": zmq.REQ, "sub": zmq.SUB, "pull": zmq.PULL}
_WAITING_TRAINS = 2

BRIDGE = Sender(
    "the bridge",
    "karabo://192.168.0.10:4545",
    {"socket": tuple(_SOCKETS), "source": (), "path": (), "pulses": ("first", "last")},
)


def open_karabo(uri: str, config: SourceConfig) -> LiveSource:
    """Take the images of the trains of one array, as they come.

    Parameters
    ----------
    uri
        ``karabo://host:port``, and behind it, as in ``?socket=sub&path=image.data``:

        - ``socket`` is ``req`` (for a bridge whose socket is REP; the default), ``sub`` (PUB) or
          ``pull`` (PUSH);
        - ``source`` and ``path`` choose one of several arrays. Without them it is the only one of
          two or three axes whose images can be images, or the only one among several that is called
          as detectors call their pixels, such as ``image.data``;
        - ``pulses`` is ``first`` or ``last``, the axis of the pulses of an array of three axes.
          Without it that is the axis that is as long as the source's list of pulses or cells, or
          else the shorter one of the two.
    config
        Time limits and number of series.

    Raises
    ------
    UserError
        The address is malformed, or nothing answers there; from `read`: what is sent cannot be
        used, or there is a choice to make.
    """
    address = BRIDGE.reach(uri, config)
    return LiveSource(
        address,
        _SOCKETS[address.options.get("socket", "req")],
        KaraboBridge(address, config),
        config,
        # A train can have a gigabyte: the bridge, too, keeps but one for a client.
        waiting_messages=_WAITING_TRAINS,
    )
