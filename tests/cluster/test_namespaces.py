"""Whole runs on hosts that can be killed, cut off and connected again: for root, on Linux.

``make cluster`` runs them; ``python -m tests.cluster`` prints what it took.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import LAUNCH, Run
from tests.cluster.faults import FAULTS, SETTINGS, WORKERS, Fault, await_until, suffer
from tests.cluster.hosts import Hosts, can_be_made
from tests.pipeline.conftest import assert_each_frame_once

REASON = can_be_made()
pytestmark = [pytest.mark.timeout(400), pytest.mark.skipif(bool(REASON), reason=REASON)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_frame_is_in_the_result_once_or_named(fault: Fault, long_recording, tmp_path):
    outcome = suffer(fault, long_recording, tmp_path)
    assert [frame for frame, _ in outcome.rows] == list(range(fault.frames))
    # What a detector has handed to a host that is gone is gone with it, and told.
    states = {"done", "missing"} if "ingest" in fault.nodes and fault.live else {"done"}
    assert {state for _, state in outcome.rows} <= states


def test_patches_stay_on_the_host_of_their_detector_worker(long_recording, tmp_path):
    with Hosts(tmp_path, 4, {"PYTHONPATH": str(Path(LAUNCH).parent)}) as hosts:
        hosts.start_scheduler()
        for name in WORKERS:
            hosts.start_worker(name)
        on = {"b": ("sink", "ingest"), "c": ("detector-0", "gpu-0"), "d": ("detector-1", "gpu-1")}
        pins = [f"{node}: [{hosts.address(name)}]" for name in on for node in on[name]]
        settings = [*SETTINGS, f"placement.scheduler={hosts.scheduler}", "source.speed=0.5"]
        settings.append(f"placement.pin={{{', '.join(pins)}}}")

        def start(words):
            return hosts.run("a", words, "launcher.log")

        run = Run(start, str(long_recording), tmp_path / "run", settings)
        run.await_frames(300)
        # A host may be slow to start, and the other takes all frames meanwhile.
        for name in ("c", "d"):
            await_until(lambda name=name: hosts.sent(name, "b") > 100_000)
        # What goes from one of these hosts to the other are patches, and signs of life.
        assert hosts.sent("c", "d") + hosts.sent("d", "c") < 100_000


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """Dask's settings for a certificate that signs itself."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=run"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words, *files], check=True, capture_output=True)
    settings = {"CA_FILE": certificate}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"{role}__KEY": key, f"{role}__CERT": certificate}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(it) for name, it in settings.items()}


@pytest.fixture
def encrypted(tmp_path: Path, certificates: dict[str, str]) -> Iterator[Hosts]:
    """Hosts whose cluster speaks TLS alone."""
    env = {"PYTHONPATH": str(Path(LAUNCH).parent), **certificates}
    env["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] = "true"
    with Hosts(tmp_path, 4, env, scheme="tls") as hosts:
        hosts.start_scheduler()
        for name in WORKERS:
            hosts.start_worker(name)
        yield hosts


def test_over_tls_nothing_has_to_be_said_to_be_insecure(encrypted, recording, tmp_path):
    placed = (f"placement.scheduler={encrypted.scheduler}", "placement.hosts=3")

    def start(words):
        return encrypted.run("a", words, "launcher.log")

    run = Run(start, str(recording), tmp_path / "run", placed)
    assert run.end() == 0
    assert_each_frame_once(run.out, 400)
    encrypted.forget_environment(*[name for name in encrypted.env if "TLS" in name])
    stranger = Run(start, str(recording), tmp_path / "stranger", placed)
    assert stranger.end() == 2
    said = (tmp_path / "launcher.log").read_text().splitlines()[-1]
    assert said.startswith("error: no Dask scheduler answers at tls://")
    assert not (tmp_path / "stranger").exists()
