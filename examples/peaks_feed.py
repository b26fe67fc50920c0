"""Print the positions of a run's peaks as they come, until the run is over.

python examples/peaks_feed.py tcp://127.0.0.1:5590

The address is what the run prints as ``peaks feed``. Nothing of braggstream is needed here.
"""

from __future__ import annotations

import sys

import msgpack
import numpy as np
import zmq


def main(address: str) -> None:
    """Read messages until their sender has gone."""
    socket = zmq.Context.instance().socket(zmq.SUB)
    events = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    socket.subscribe(b"peaks")
    socket.connect(address)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(events, zmq.POLLIN)
    while ready := dict(poller.poll()):
        if socket not in ready:
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
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/peaks_feed.py tcp://HOST:PORT")
    main(sys.argv[1])
