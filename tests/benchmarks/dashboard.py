"""Frames a second of the topology with ten viewers, one of them stopped dead, beside none."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from streamer.config import Config, load_config
from streamer.run.sidecar import address_of, listen, sidecar, step_back
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from tests.benchmarks.measure import LAUNCH, Table, rounds, run_topology, spread

FRAMES, LOOPS, ROUNDS, VIEWERS = 5000, 4, 5, 10
GOAL = 0.97
_WATCHED = {"type": "watch", "tracks": list(range(20)), "quantity": "row"}
_KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


def viewer(url: str) -> socket.socket:
    """Open the page's WebSocket, ask for twenty tracks and leave the answer unread."""
    place = urlsplit(url)
    one = socket.create_connection((place.hostname, place.port), 60)
    upgrade = f"Host: {place.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    one.sendall(f"GET /ws HTTP/1.1\r\n{upgrade}{_KEY}\r\n".encode())
    text = json.dumps(_WATCHED).encode()
    one.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)  # masked with zeros
    return one


def look(url: str) -> None:
    """Be all viewers: nine that read, as cheaply as can be, and one that does not."""
    step_back()  # in truth they are elsewhere
    print("ready", flush=True)
    sys.stdin.readline()
    selector, room, counts = selectors.DefaultSelector(), bytearray(1 << 20), [0] * VIEWERS
    viewers = [viewer(url) for _ in range(VIEWERS)]
    for number, one in enumerate(viewers[1:], 1):
        selector.register(one, selectors.EVENT_READ, number)
    while selector.get_map():
        for key, _ in selector.select():
            try:
                count = key.fileobj.recv_into(room)
            except OSError:
                count = 0
            counts[key.data] += count
            if not count:
                selector.unregister(key.fileobj)
    print(min(counts[1:]) / 1e6, flush=True)


def rate(config: Config, path: Path, out: Path, *, watched: bool) -> tuple[float, float]:
    """Return the frames a second of a run, and the megabytes that the slowest reader got."""
    listener = listen("127.0.0.1", 8600)
    words = [sys.executable, "-m", "tests.benchmarks.dashboard", address_of(listener)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    clients = [subprocess.Popen(words, start_new_session=True, **pipes)] if watched else []
    for client in clients:
        client.stdout.readline()

    def command(number: int) -> list[str]:
        words = ["dashboard", str(out), "--parent", str(os.getpid()), "--listener", str(number)]
        return [sys.executable, str(LAUNCH), *words]

    def announce(_: str) -> None:
        clients[0].stdin.write("go\n")
        clients[0].stdin.flush()

    with sidecar(listener, out, command, announce) if watched else nullcontext():
        run = run_topology(config, path, out)
    listener.close()
    read = float(clients[0].communicate(timeout=30)[0]) if watched else 0.0
    return run.rate, read


def tables(n_rounds: int | None = None) -> Iterator[Table]:
    """Yield the table."""
    n_rounds = n_rounds or ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = load_config(None, [f"simulate.frames={FRAMES}", "simulate.spots=20"])
        path = folder / "cycle_master.h5"
        write_recording(Scene(scene.simulate), path)
        config = load_config(None, ["positions.method=centroid", f"source.loop={LOOPS}"])
        found = rounds(
            n_rounds,
            {
                what: lambda turn, watched=watched: rate(
                    config, path, folder / f"{turn}-{watched}", watched=watched
                )
                for what, watched in (("alone", False), ("seen", True))
            },
        )
    rates = {what: [one for one, _ in several] for what, several in found.items()}
    ratios = [seen / alone for seen, alone in zip(rates["seen"], rates["alone"], strict=True)]
    table = Table(
        f"Dashboard, {VIEWERS} viewers, one stopped dead",
        ("frames", "no viewer, frames/s", "viewers, frames/s", "ratio", "goal",
         "each viewer got, MB"),
    )  # fmt: skip
    table.add(
        f"{FRAMES * LOOPS:,}",
        spread(rates["alone"]),
        spread(rates["seen"]),
        spread(ratios, ".3f"),
        f">= {GOAL:.2f}",
        spread([amount for _, amount in found["seen"]], ",.1f"),
    )
    yield table


if __name__ == "__main__":
    look(sys.argv[1])
