"""Whole runs over tcp, with somebody who does not belong to them at every port."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import zmq

from streamer.run.topology import Topology
from streamer.transport.messages import Acks, Status, pack
from tests.pipeline.conftest import assert_each_frame_once, run

TOPICS = (b"", b"detectors/detector-0/1", b"gpus/gpu-0/1", b"sink/sink/1", b"\xff/\xff/\xff")
FORGED = (
    Status("sink", 1, "done", "", -1, {"done": float("nan"), "missing": 1e308}),
    Acks(1 << 62, [0, 1 << 62], [(0, "forged")], "another sink"),
)


class Strangers:
    """Subscribe to everything, forge messages and say nothing at the sockets of a run."""

    def __init__(self, monkeypatch, stack: ExitStack) -> None:
        self.context = stack.enter_context(zmq.Context())
        self.context.linger = 0
        self.stack = stack
        self.read: list[bytes] = []
        self.redelivered = 0
        self.readers: list[zmq.Socket[bytes]] = []
        self.mouths: list[zmq.Socket[bytes]] = []
        plan = Topology.plan

        def planned(*words):
            self.topology = plan(*words)
            return self.topology

        monkeypatch.setattr(Topology, "plan", planned)

    def come(self) -> None:
        for name, address in self.topology.endpoints.items():
            host, port = address.removeprefix("tcp://").split(":")
            for _ in range(20):
                silent = socket.create_connection((host, int(port)))
                self.stack.enter_context(silent)
            kind = zmq.PUSH if name == "status" else zmq.SUB
            one = self.stack.enter_context(self.context.socket(kind))
            (self.mouths if name == "status" else self.readers).append(one)
            if kind == zmq.SUB:
                for topic in TOPICS:
                    one.subscribe(topic)
            one.connect(address)

    def act(self, now) -> None:
        self.redelivered = now.delivery.redelivered
        if now.settled and not self.readers:
            self.come()
        for mouth in self.mouths:
            for message in FORGED:
                if mouth.poll(0, zmq.POLLOUT):
                    mouth.send_multipart(pack(message))
        for reader in self.readers:
            while reader.poll(0):
                self.read.append(reader.recv_multipart()[0])


@pytest.mark.parametrize("insecure", ["false", "true"])
def test_a_run_over_tcp_is_as_if_there_were_no_strangers(
    recording, tmp_path, monkeypatch, insecure
):
    settings = ["transport.scheme=tcp", "nodes.detectors=2", f"insecure={insecure}"]
    with ExitStack() as stack:
        strangers = Strangers(monkeypatch, stack)
        out = tmp_path / "run"
        run(recording, out, "source.speed=1", *settings, act=strangers.act)
        assert strangers.readers
        assert_each_frame_once(out)
        assert strangers.redelivered == 0
        # Without encryption they can listen, and no more than that.
        assert bool(strangers.read) == (insecure == "true")
