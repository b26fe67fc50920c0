"""Whole runs over tcp, with somebody who does not belong to them at every port."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress

import pytest
import zmq

from streamer.run.topology import Topology
from streamer.transport.directory import Directory
from streamer.transport.messages import Acks, Status, pack
from tests.conftest import ROOT
from tests.pipeline.conftest import assert_each_frame_once, launch, run

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
            self.directory = Directory(words[1] / "addresses")
            return plan(*words)

        monkeypatch.setattr(Topology, "plan", planned)

    def come(self) -> None:
        for name, address in self.directory.told().items():
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
                # Who is turned away may lose the connection between a poll and a send.
                with suppress(zmq.Again):
                    mouth.send_multipart(pack(message), zmq.NOBLOCK)
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


def test_only_who_has_a_key_reads_the_feed_of_a_run(recording, tmp_path):
    made = launch("keys", str(tmp_path / "keys"), "--name", "ada")
    assert (made.returncode, made.stderr) == (0, "")
    assert f"--set publish.keys={tmp_path / 'keys'}" in made.stdout
    readers = []

    def read(now):
        if now.feed and not readers:
            for key in ([str(tmp_path / "keys" / "ada.key")], []):
                words = [sys.executable, str(ROOT / "examples" / "peaks_feed.py"), now.feed, *key]
                pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
                readers.append(subprocess.Popen(words, **pipes))

    try:
        keys = f"publish.keys={tmp_path / 'keys'}"
        run(recording, tmp_path / "run", "source.speed=1", keys, act=read)
        assert_each_frame_once(tmp_path / "run")
        ada, stranger = (reader.communicate(timeout=60) for reader in readers)
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    assert (readers[0].returncode, ada[1]) == (0, "")
    assert len(ada[0].splitlines()) > 10
    assert (readers[1].returncode, stranger[0]) == (1, "")
    assert "not let in" in stranger[1]


@pytest.mark.parametrize("key", ["publish.peaks", "publish.frames"])
def test_a_run_that_others_could_read_is_refused_in_one_line(recording, tmp_path, key):
    out = tmp_path / "run"
    words = ["replay", str(recording), "--out", str(out), "--set", f"{key}=tcp://*:*"]
    done = launch(*words)
    assert done.returncode == 2
    assert "launch.py keys DIR" in done.stderr
    assert "insecure=true" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


def test_a_detector_that_others_could_read_is_refused_in_one_line():
    done = launch("simulate", "--bind", "0.0.0.0:*")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "insecure=true" in done.stderr


def test_metrics_that_others_reach_ask_for_the_token(recording, tmp_path):
    out = tmp_path / "run"
    answers = {}

    def scrape(now):
        file = out / "prometheus_targets.json"
        if not file.exists() or answers:
            return
        token = (out / "token").read_text()
        for target in json.loads(file.read_text()):
            request = urllib.request.Request(f"http://{target['targets'][0]}/metrics")
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=5)
            refused.value.close()
            request.add_header("Authorization", f"Bearer {token}")
            with urllib.request.urlopen(request, timeout=5) as page:
                answers[target["labels"]["node"]] = refused.value.code, page.status

    run(recording, out, "source.speed=1", "metrics.host=0.0.0.0", act=scrape)
    assert set(answers.values()) == {(401, 200)}
    assert not (out / "token").exists()
