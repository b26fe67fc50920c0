"""What encryption costs: frames a second of one hop, and of the whole topology."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from streamer.config import load_config
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from streamer.transport.context import run_context
from streamer.transport.keys import RunKeys
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS
from streamer.transport.subscriber import Subscriber
from tests.benchmarks.measure import Table, rounds, run_topology, spread

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


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the table."""
    table = Table("Price of encryption, frames/s", ("", *KINDS, "CURVE : tcp"))
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)

        def row(what, measure):
            work = {kind: lambda turn, kind=kind: measure(kind, turn) for kind in KINDS}
            found = rounds(n_rounds or ROUNDS, work)
            pairs = zip(found["tcp, CURVE"], found["tcp"], strict=True)
            ratios = [curve / plain for curve, plain in pairs]
            table.add(what, *(spread(found[kind]) for kind in KINDS), spread(ratios, ".2f"))

        for size in SIZES:
            row(f"one hop, {size / 1e6:g} MB", lambda kind, _, size=size: hop(kind, folder, size))
        path = folder / "cycle_master.h5"
        scene = load_config(None, ["simulate.frames=2000", "simulate.spots=20"])
        write_recording(Scene(scene.simulate), path)

        def whole(kind, turn):
            config = load_config(None, ["positions.method=centroid", *KINDS[kind]])
            out = folder / f"{kind.replace(', ', '-')}-{turn}"
            return run_topology(config, path, out).rate

        row("whole topology, 512 x 512", whole)
    yield table
