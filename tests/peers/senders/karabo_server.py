"""Serve trains with the server of the package karabo-bridge, whose Python runs this.

The images of the trains, (train, pulse, row, col), are those of an .npy file, round and round.
Without a file it is the package's own simulator that makes them.
"""

import argparse
import time

import numpy as np
from karabo_bridge.server import ServerInThread, SimServer

SOURCE = "SPB_DET_AGIPD1M-1/DET/0CH0:xtdf"
SECONDS = 1_700_000_000

parser = argparse.ArgumentParser()
parser.add_argument("port")
parser.add_argument("--file")
parser.add_argument("--socket", default="REP")
parser.add_argument("--protocol", default="2.2")
parser.add_argument("--first", type=int, default=10_000_000_000)
parser.add_argument("--trains", type=int, default=1_000_000)
parser.add_argument("--skip", type=int, nargs="*", default=[])
parser.add_argument("--every", type=float, default=0.0)
parser.add_argument("--online", action="store_true", help="send the axes in reverse order")
given = parser.parse_args()
endpoint = f"tcp://127.0.0.1:{given.port}"


def serve_file():
    images = np.load(given.file)
    with ServerInThread(endpoint, sock=given.socket, protocol_version=given.protocol) as server:
        print("ready", flush=True)
        for place in range(given.trains):
            if place in given.skip:
                continue
            train = given.first + place
            pixels = images[train % len(images)]
            data = {
                "image.data": np.ascontiguousarray(pixels.T) if given.online else pixels,
                "image.gain": np.zeros_like(pixels.T if given.online else pixels),
                "image.pulseId": np.arange(len(pixels), dtype=np.uint64),
                "photon.energy": 9.3,
            }
            stamp = {
                "source": SOURCE,
                "timestamp": SECONDS + 0.1 * place,
                "timestamp.tid": train,
                "timestamp.sec": str(SECONDS + place // 10),
                "timestamp.frac": str(place % 10 * 10**17).zfill(18),
            }
            server.feed({SOURCE: data}, {SOURCE: stamp})
            time.sleep(given.every)
        time.sleep(1_000_000)


if given.file:
    serve_file()
else:
    simulator = SimServer(
        endpoint,
        sock=given.socket,
        protocol_version=given.protocol,
        detector="AGIPDModule",
        raw=True,
        data_like="online" if given.online else "file",
        debug=False,
    )
    simulator.loop()
