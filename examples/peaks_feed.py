"""Print the positions of a run's peaks as they come, until the run is over.

python examples/peaks_feed.py tcp://127.0.0.1:5590

The address is what the run prints as ``peaks feed``; behind it comes the file of a key where the
run asks for one (``publish.keys``). Nothing of braggstream is needed here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgpack
import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


def main(address: str, key: str | None = None) -> None:
    """Read messages until their sender has gone."""
    socket = zmq.Context.instance().socket(zmq.SUB)
    if key is not None:
        keys = json.loads(Path(key).read_text())
        socket.curve_serverkey = keys["server"].encode()
        socket.curve_publickey, socket.curve_secretkey = (
            keys[half].encode() for half in ("public", "secret")
        )
    events = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | REFUSED)
    socket.subscribe(b"peaks")
    socket.connect(address)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(events, zmq.POLLIN)
    while ready := dict(poller.poll()):
        if socket not in ready:
            if recv_monitor_message(events)["event"] & REFUSED:
                sys.exit("not let in: the sender asks for a key, for another one, or for none")
            break  # the sender has gone, and what it sent is read
        _, head, *buffers = socket.recv_multipart()
        header = msgpack.unpackb(head)
        columns = {
            name: np.frombuffer(buffer, dtype)
            for (name, dtype), buffer in zip(header["columns"], buffers, strict=True)
        }
        names = ("series", "frame", "track", "row", "row_sigma", "col", "col_sigma")
        for series, *numbers in zip(*(columns[name].tolist() for name in names), strict=True):
            print(header["series"][series], *numbers, flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/peaks_feed.py tcp://HOST:PORT [KEY]")
    main(*sys.argv[1:])
