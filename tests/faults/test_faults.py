"""A few of the ways in which a run can be broken; ``make faults`` tries many more."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing

import pytest

from streamer.config import SourceConfig
from streamer.frames.events import Frame
from streamer.results.folder import RunFolder
from streamer.sources import open_source
from tests.faults.disks import filled, hanging, loop_disk, small_disk
from tests.faults.killed import kill_again_and_again
from tests.faults.launched import Launched, wait_until
from tests.faults.material import RATE_HZ, Material, Sender
from tests.faults.overload import POLICIES, overload
from tests.faults.progress import Progress
from tests.faults.schedule import Schedule
from tests.faults.struck import Struck, undisturbed
from tests.faults.verdict import judge
from tests.unit.plugins import install

SEEDS = (8, 9, 13, 18, 2, 3, 7, 10, 11, 28)
"""Those that once ended badly, and some more."""
SPAN_S = 1.2

pytestmark = pytest.mark.timeout(300)

POISON = '''
import os
import signal

from workers.detect.base import FinderPlugin
from workers.detect.choice import make_finder


class Mortal(FinderPlugin):
    """Dies of a pixel."""

    def make(self, minval, minscore):
        finder = make_finder("topology", minval, minscore)

        def find(frame, *more, **named):
            if frame[0, 0] == 54321:
                os.kill(os.getpid(), signal.SIGKILL)
            return finder(frame, *more, **named)

        return find
'''


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    return Material(tmp_path_factory.mktemp("faults"), frames=60)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_schedule_of_faults_costs_no_frame(material, tmp_path, seed):
    outcome = Struck(material, Schedule.draw(seed, SPAN_S), tmp_path / "run").go()
    assert outcome.is_good, f"{outcome.schedule}: {outcome}"


def test_a_replay_that_is_killed_again_and_again_ends_as_any_other(material, tmp_path):
    verdict, after_s = kill_again_and_again(material, tmp_path / "run", 3, 1)
    assert len(after_s) == 3
    assert verdict.is_good, verdict


def attached(material, out):
    """Start a live run in a folder and its sender."""
    sender = Sender(material.messages)
    settings = ("dashboard.port=0", "source.idle_s=40")
    return sender, Launched(sender.uri, out, settings, out.parent.parent / "run.log")


def finish(material, sender, run, progress):
    try:
        assert run.wait() == 0, run.last_words
    finally:
        run.close()
        sender.close()
        progress.close()
    verdict = judge(run.out, undisturbed(material, live=True))
    assert verdict.is_good, verdict


def begin(sender, run):
    progress = Progress(run.out)
    progress.start()
    sender.start()
    wait_until(lambda: progress.n_frames or run.code is not None, "a first frame")
    sender.go.set()
    return progress


def test_a_disk_that_is_full_for_a_while_costs_nothing(material, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        sender, run = attached(material, disk / "run")
        progress = begin(sender, run)
        with filled(disk):
            wait_until(lambda: len(sender.sent) > 30, "frames that find no room")
            time.sleep(1.0)
            full = progress.n_frames
        assert full < material.frames
        finish(material, sender, run, progress)


def test_a_disk_that_hangs_and_answers_slowly_costs_nothing(material, tmp_path):
    with loop_disk(tmp_path / "disk") as disk:
        sender, run = attached(material, disk / "run")
        progress = begin(sender, run)
        for _ in range(4):
            assert hanging(disk, 0.6).wait(10) == 0
            time.sleep(0.1)
        finish(material, sender, run, progress)


def test_frames_that_kill_their_worker_fail_and_no_other_does(material, tmp_path):
    import hdf5plugin  # noqa: F401
    import numpy as np

    folder = install(tmp_path / "poison", "poison", POISON, finders="mortal = Mortal")
    pixels = np.stack([material.scene.render(n) for n in range(material.frames)])
    bad = (9, 10, 40)
    for number in bad:
        pixels[number, 0, 0] = 54321
    path, out = tmp_path / "poisoned.npy", tmp_path / "run"
    np.save(path, pixels)
    # Thresholds from the noise would show the finder frames without their background.
    settings = ("dashboard.port=0", "detect.finder=mortal", "detect.minval=40",
                "detect.minscore=60", f"source.speed={RATE_HZ / 10}",
                "source.frame_time_s=0.1")  # fmt: skip
    more = {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    run = Launched(str(path), out, settings, tmp_path / "run.log", env=os.environ | more)
    try:
        assert run.wait(100.0) == 1, run.last_words
    finally:
        run.close()
    rows = RunFolder(out).read("frames").to_pydict()
    states = dict(zip(rows["frame"], rows["state"], strict=True))
    assert len(rows["frame"]) == material.frames
    assert {number for number, state in states.items() if state == "failed"} == set(bad)
    assert set(states.values()) == {"done", "failed"}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_stream_that_is_too_fast_has_each_frame_in_one_state(material, policy):
    carried = overload(material, policy, 900, 0.0)
    assert carried.is_exact, carried
    assert set(carried.states) <= ({"done", "shed"} if policy == "newest" else {"done"})


def test_what_a_run_records_can_be_read_after_its_node_was_killed(material, tmp_path):
    recorded = tmp_path / "kept.h5"
    sender = Sender(material.messages)
    settings = ("dashboard.port=0", "source.idle_s=40", f"source.record={recorded}")
    run = Launched(sender.uri, tmp_path / "run", settings, tmp_path / "run.log")
    progress = begin(sender, run)
    try:
        wait_until(lambda: len(sender.sent) > 40, "frames")
        run.strike(["ingest"], signal.SIGKILL)
        run.wait()
    finally:
        run.close()
        sender.close()
        progress.close()
    numbers = []
    for path in sorted(tmp_path.glob("kept*.h5")):
        with closing(open_source(path, SourceConfig(follow=True, idle_s=1.0))) as source:
            while not source.exhausted:
                numbers += [one.frame for one in source.read(64) if isinstance(one, Frame)]
                time.sleep(0.01)
    # A second of frames may not have been on disk, and some were in the sockets.
    assert len(numbers) > material.frames / 3
    assert len(numbers) == len(set(numbers))
    assert max(numbers) == material.frames - 1
