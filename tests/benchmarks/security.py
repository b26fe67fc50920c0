"""What encryption costs: frames a second of one hop, and of the whole topology."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streamer.config import load_config
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from streamer.transport.context import run_context
from streamer.transport.keys import RunKeys
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS
from streamer.transport.subscriber import Subscriber
from tests.benchmarks.pipeline import topology

ROUNDS = 3
SIZES = (10_000, 500_000, 4_000_000)
BYTES = 1_000_000_000
MOST = 5_000
KINDS = {
    "ipc": ["transport.scheme=ipc"],
    "tcp": ["transport.scheme=tcp", "insecure=true"],
    "tcp, CURVE": ["transport.scheme=tcp"],
}


def receive(keys: RunKeys, address: str, count: int) -> None:
    """Be a worker that takes frames and does nothing with them."""
    with run_context(keys) as context:
        subscriber = Subscriber(context, [address], DETECTORS, "detector-0")
        while count:
            subscriber.socket.poll()
            while count and subscriber.receive() is not None:
                count -= 1
        subscriber.close()


def hop(kind: str, folder: Path, size: int) -> float:
    """Return the frames of so many bytes that one hop carries in a second."""
    keys = RunKeys.make(curve=kind == "tcp, CURVE")
    address = f"ipc://{folder / 'hop'}" if kind == "ipc" else "tcp://127.0.0.1:*"
    count = min(MOST, BYTES // size)
    with run_context(keys, linger_ms=0) as context:
        publisher = Publisher(context, address, prefetch=count)
        spawn = multiprocessing.get_context("spawn")
        worker = spawn.Process(target=receive, args=(keys, publisher.address, count))
        worker.start()
        while not publisher.members(DETECTORS):
            publisher.socket.poll(100)
            publisher.pump()
        frame = bytes(size)
        start = time.perf_counter()
        for key in range(count):
            publisher.send(DETECTORS, Parcel(keys=[key], parts=[frame]))
        worker.join()
        took = time.perf_counter() - start
        publisher.close()
    return count / took


def main() -> None:
    """Print the table."""
    table = Table(title="Price of encryption", title_justify="left")
    for column in ("frames/s", *KINDS, "CURVE : tcp"):
        table.add_column(column, justify="right" if column != "frames/s" else "left")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)

        def row(what, measure):
            # In turns, so that a machine that is busy for a while is so for all.
            turns = [[measure(kind, turn) for kind in KINDS] for turn in range(ROUNDS)]
            best = [max(column) for column in zip(*turns, strict=True)]
            table.add_row(what, *(f"{rate:,.0f}" for rate in best), f"{best[2] / best[1]:.2f}")

        for size in SIZES:
            row(f"one hop, {size / 1e6:g} MB", lambda kind, _, size=size: hop(kind, folder, size))
        path = folder / "cycle_master.h5"
        scene = load_config(None, ["simulate.frames=2000", "simulate.spots=20"])
        write_recording(Scene(scene.simulate), path)

        def whole(kind, turn):
            config = load_config(None, ["positions.method=centroid", *KINDS[kind]])
            out = folder / f"{kind.replace(', ', '-')}-{turn}"
            return topology(config, path, out)["rates"]["frames_per_s"]

        row("whole topology, 512 x 512", whole)
    Console().print(table)


if __name__ == "__main__":
    main()
