"""A run as a job of SLURM, on three hosts of which one dies."""

from pathlib import Path

import pytest

from tests.cluster.conftest import FRAMES, Run, record
from tests.cluster.hosts import Hosts
from tests.cluster.slurm import Slurm, can_be_started
from tests.conftest import ROOT
from tests.pipeline.conftest import assert_each_frame_once

REASON = can_be_started()
pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(bool(REASON), reason=REASON)]


def test_every_frame_is_there_once_though_a_host_dies_and_the_job_is_ended_before_its_time(
    tmp_path: Path,
):
    with Hosts(tmp_path, 4, {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}) as hosts:
        slurm = Slurm(hosts)

        def start(words):
            """Submit the job that runs such a command line."""
            source, out, settings = words[3], words[5], words[6:]
            job = [str(ROOT / "deploy" / "slurm.sh"), source, out, *settings]
            output = (f"--output={tmp_path / 'job.log'}", "--open-mode=append")
            return slurm.submit(["--nodes=3", *output, *job])

        recording = record(tmp_path, FRAMES)
        run = Run(start, str(recording), tmp_path / "run", ["source.speed=0.5"])
        run.await_frames(60)
        used = {hosts.name_of(node["host"]) for node in run.nodes().values()}
        assert used == set("bcd")
        gone = max(used - {slurm.ask("squeue", "--noheader", "--format=%B").strip()})
        lost = [node for node in run.nodes().values() if hosts.name_of(node["host"]) == gone]
        hosts.kill(gone)
        run.await_frames(200)
        slurm.ask("scancel", "--batch", "--signal=TERM", "1")
        assert run.end() == 0, (tmp_path / "job.log").read_text()
        assert run.summary["state"] == "stopped"
        assert run.summary["delivery"]["restarts"] == len(lost) >= 1
        slurm.start(gone)
        slurm.await_hosts()
        assert run.resume() == 0, (tmp_path / "job.log").read_text()
    assert_each_frame_once(run.out, FRAMES)
    assert not list(tmp_path.glob(".braggstream-*"))
