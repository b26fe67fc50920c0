"""Whole runs with real processes and sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from streamer.config import load_config
from streamer.errors import RunError, UserError
from streamer.frames.flags import POOR_FIT
from streamer.frames.peaks import PEAK
from streamer.report.truth import compare
from streamer.results import open_run
from streamer.results.folder import RunFolder
from streamer.results.schema import FRAMES as FRAMES_SCHEMA
from streamer.results.schema import PEAKS as PEAKS_SCHEMA
from streamer.results.schema import TRACKS as TRACKS_SCHEMA
from streamer.simulator.scene import Scene
from streamer.simulator.truth import read_truth, truth_path_for
from tests.pipeline.conftest import (
    FRAMES,
    LAUNCH,
    QUICK,
    SCENE,
    assert_each_frame_once,
    assert_whole,
    children_of,
    frames_of,
    is_alive,
    launch,
    run,
    summary_of,
    wait_until,
)
from tests.settings import sets
from workers.detect.choice import make_finder
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame
from workers.place.centroid import Centroid
from workers.place.node import place_peaks

PACED = ("source.speed=2.5", "source.frame_time_s=0.1")
"""Five seconds for all frames, so that something can happen to a run before it ends."""


def test_a_replay_gives_what_plain_loops_give(recording, tmp_path):
    out = tmp_path / "run"
    summary = run(recording, out, "nodes.detectors=2")
    assert_each_frame_once(out)
    config = load_config(None, QUICK)
    scene = Scene(config.simulate)
    correction = Correction(bad=scene.pixel_mask)
    finder = make_finder("topology", config.detect.minval, config.detect.minscore)
    table = RunFolder(out).read("peaks")
    frame = table["frame"].to_numpy()
    got = np.stack([table[name].to_numpy() for name in ("score", "peak_row", "row", "col")], 1)
    for number in range(0, FRAMES, 10):
        peaks, patches = find_in_frame(scene.render(number), correction, finder, 11)
        placed = place_peaks(peaks, Centroid().place(patches.counts, patches.valid))
        wanted = [peaks["score"], peaks["row"], placed["row"], placed["col"]]
        np.testing.assert_allclose(got[frame == number], np.stack(wanted, 1), rtol=1e-12)
    assert summary["frames"] == {
        "done": FRAMES, "failed": 0, "missing": 0, "shed": 0, "total": FRAMES,
    }  # fmt: skip
    assert summary["peaks"] == table.num_rows


def test_a_users_mistake_that_shows_late_takes_no_result_with_it(recording, tmp_path):
    out = tmp_path / "run"

    def act(now):
        config = out / "config.yaml"
        if now.frames["done"] and "nonsense" not in config.read_text():
            config.write_text("nonsense: 1\n")
            os.kill(next(node.pid for node in now.nodes if node.name == "gpu-0"), signal.SIGKILL)

    with pytest.raises(UserError, match=r"key nonsense.* \(what came before is in .*run\)"):
        run(recording, out, *PACED, act=act)
    assert frames_of(out)
    assert summary_of(out)["state"] == "failed"


def test_a_users_mistake_that_shows_early_leaves_no_folder(recording, tmp_path):
    with pytest.raises(UserError, match=r"none\.npy"):
        run(recording, tmp_path / "run", f"detect.mask={tmp_path / 'none.npy'}")
    assert not (tmp_path / "run").exists()


def test_what_a_cycler_writes_ends_no_run(recording, tmp_path):
    out, cell = tmp_path / "run", tmp_path / "cell.csv"
    cell.write_text("time,voltage\n1772366400,3.5\n")

    def act(now):
        if now.frames["done"]:
            with cell.open("a") as file:
                file.write("60,3.6\n9999-12-31 00:00:00,3.6\n")

    run(recording, out, f"cell.file={cell}", *PACED, act=act)
    assert_each_frame_once(out)
    assert RunFolder(out).read_cell()["voltage_v"].to_pylist() == [3.5]


def test_the_run_folder_is_as_other_programs_expect_it(recording, tmp_path):
    out = tmp_path / "run"
    run(recording, out)
    folder = RunFolder(out)
    assert folder.read("frames").schema.equals(FRAMES_SCHEMA)
    assert folder.read("peaks").schema.equals(PEAKS_SCHEMA)
    summary = summary_of(out)
    assert summary["state"] == "done"
    assert summary["source"] == str(recording)
    assert summary["started"] < summary["ended"]
    assert summary["started"].endswith("+00:00")
    assert set(summary["stages"]) == {"ingest", "detect", "place"}
    assert load_config(out / "config.yaml") == load_config(None, QUICK)
    assert sorted(path.name for path in out.iterdir()) == [
        "config.yaml", "frames", "geometry.json", "logs", "peaks", "reflections.parquet",
        "run.json", "tracks.parquet",
    ]  # fmt: skip
    tracks = folder.read_tracks()
    assert tracks.schema.equals(TRACKS_SCHEMA)
    assert 0 < tracks.num_rows == summary["tracks"]
    # The header of the recording says where the detector stands.
    assert folder.read_geometry() is not None
    assert np.isfinite(folder.read("peaks")["d"].to_numpy()).all()
    assert np.isfinite(tracks["strain"].to_numpy()).all()
    assert PEAK.names == ("row", "col", "score", "intensity", "flags")


def test_a_run_leaves_its_reflections_and_lattice_parameters(recording, tmp_path):
    out = tmp_path / "run"
    run(recording, out, "positions.method=gaussian", "lattice.a=8.17", "lattice.centring=F")
    results = open_run(out)
    for name in ("reflections", "lattice"):
        kept = pq.read_table(out / f"{name}.parquet").to_pandas()
        assert kept.equals(getattr(results, name).to_pandas())
        assert len(kept)
    tracks = results.tracks.to_pandas()
    assert set(results.reflections["track"].to_pylist()) == set(tracks["track"])
    of_spots = tracks[(tracks["flags"] & POOR_FIT) == 0]
    assert (of_spots[["h", "k", "l"]] != 0).any(axis=1).mean() > 0.5
    edges = results.lattice.filter(results.lattice["phase"].to_numpy() == 0)["a"].to_numpy()
    assert abs(edges[0] - 8.17) < 0.02


@pytest.mark.parametrize(
    ("node", "detectors"),
    [("detector-0", 2), ("detector-0", 1), ("gpu-0", 2), ("sink", 2), ("ingest", 2)],
)
def test_a_process_killed_in_mid_run_costs_nothing(recording, tmp_path, node, detectors):
    killed = []

    def kill(now):
        victim = next(one for one in now.nodes if one.name == node)
        if not killed and now.settled > 20 and victim.alive:
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(now.settled)

    out = tmp_path / "run"
    summary = run(recording, out, *PACED, f"nodes.detectors={detectors}", act=kill)
    assert killed
    assert killed[0] < FRAMES
    assert summary["delivery"]["restarts"] == 1
    assert_each_frame_once(out)


@pytest.mark.parametrize("dead", [("detector-0", "gpu-0", "sink"), ("gpu-0", "sink")])
def test_nodes_killed_together_cost_nothing(recording, tmp_path, dead):
    killed = []

    def kill(now):
        victims = [one for one in now.nodes if one.name in dead]
        if not killed and now.settled > 20 and all(one.alive for one in victims):
            for one in victims:
                os.kill(one.pid, signal.SIGKILL)
            killed.append(now.settled)

    out = tmp_path / "run"
    # Nothing is sent again because it took too long.
    settings = [*PACED, "nodes.detectors=1", "transport.ack_timeout_s=600"]
    summary = run(recording, out, *settings, act=kill)
    assert killed
    assert summary["delivery"]["restarts"] == len(dead)
    assert_each_frame_once(out)


def test_a_node_that_keeps_dying_ends_the_run_and_is_named(recording, tmp_path):
    def kill(now):
        for one in now.nodes:
            if one.name == "detector-0" and one.alive and one.pid:
                os.kill(one.pid, signal.SIGKILL)

    out = tmp_path / "run"
    with pytest.raises(RunError, match="detector-0 died 6 times"):
        run(recording, out, *PACED, "nodes.detectors=1", act=kill)
    assert summary_of(out)["state"] == "failed"


def test_a_stop_finishes_what_was_begun(recording, tmp_path):
    def stop(now):
        if now.settled > 20:
            os.kill(os.getpid(), signal.SIGTERM) if not asked else None
            asked.append(1)

    asked: list[int] = []
    out = tmp_path / "run"
    summary = run(recording, out, *PACED, act=stop)
    assert summary["state"] == "stopped"
    count = summary["frames"]["total"]
    assert 20 < count < FRAMES
    assert_each_frame_once(out, count)


def test_a_second_signal_stops_at_once_and_leaves_no_process(recording, tmp_path):
    pids = []

    def stop_twice(now):
        if now.settled > 20 and not pids:
            pids.extend(node.pid for node in now.nodes)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "run"
    with pytest.raises(RunError, match="stopped at once"):
        run(recording, out, *PACED, act=stop_twice)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    states = frames_of(out)
    assert states == [(frame, "done") for frame in range(len(states))]


@pytest.mark.parametrize("delay", [0.3, 1.2])
def test_a_stop_while_nodes_start_is_a_stop(recording, tmp_path, delay):
    asked = []

    def stop(now):
        if now.elapsed_s > delay and not asked:
            asked.append(now.elapsed_s)
            os.kill(os.getpid(), signal.SIGTERM)

    summary = run(recording, tmp_path / "run", *PACED, act=stop)
    assert summary["state"] == "stopped"
    assert_whole(tmp_path / "run")


def test_a_reader_that_goes_away_does_not_end_the_run(recording, tmp_path):
    out = tmp_path / "run"
    settings = sets(*QUICK)
    words = [sys.executable, str(LAUNCH), "replay", str(recording), "--out", str(out), *settings]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.close()
        process.wait(60)
    assert summary_of(out)["state"] == "done"
    assert_each_frame_once(out)


def test_nodes_end_with_their_launcher(recording, tmp_path):
    out = tmp_path / "run"
    settings = sets(*QUICK, *PACED)
    words = [sys.executable, str(LAUNCH), "replay", str(recording), "--out", str(out), *settings]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: len(children_of(process.pid)) == 4)
        children = children_of(process.pid)
        process.kill()
        process.wait(10)
    status = launch("status", str(out))
    assert (status.returncode, "error: the launcher died" in status.stderr) == (1, True)
    wait_until(lambda: not any(is_alive(pid) for pid in children))
    assert_whole(out)


def test_many_short_series_each_keep_their_mask(detector, tmp_path):
    uri = detector(
        "--rate", "max", "--set", "simulate.frames=5", "--set", "simulate.series=20"
    )  # fmt: skip
    out = tmp_path / "run"
    summary = run(uri, out, "source.series=20")
    assert summary["frames"] == {"done": 100, "failed": 0, "missing": 0, "shed": 0, "total": 100}
    table = RunFolder(out).read("frames")
    assert len(set(table["series"].to_pylist())) == 20


def test_nodes_find_each_other_over_tcp(recording, tmp_path):
    run(recording, tmp_path / "run", "transport.scheme=tcp", "nodes.detectors=2")
    assert_each_frame_once(tmp_path / "run")


def test_every_node_serves_metrics_where_the_target_file_says(recording, tmp_path):
    out = tmp_path / "run"
    pages = {}

    def scrape(now):
        file = out / "prometheus_targets.json"
        if now.settled > 20 and file.exists() and not pages:
            for target in json.loads(file.read_text()):
                url = f"http://{target['targets'][0]}/metrics"
                with urllib.request.urlopen(url, timeout=5) as page:
                    pages[target["labels"]["node"]] = page.read().decode()

    run(recording, out, *PACED, act=scrape)
    assert set(pages) == {"ingest", "detector-0", "gpu-0", "sink"}
    done = re.search(r'braggstream_frames_total{state="done"} (\S+)', pages["sink"])
    assert done
    assert float(done[1]) > 20


def test_a_frame_that_cannot_be_decoded_fails_alone_and_its_bytes_are_kept(recording, tmp_path):
    import h5py
    import hdf5plugin  # noqa: F401

    broken = tmp_path / "broken.h5"
    with h5py.File(recording) as source, h5py.File(broken, "w") as copy:
        frames = source["entry/data/data_000001"]
        copy.create_dataset(
            "entry/data/data",
            shape=frames.shape,
            dtype=frames.dtype,
            chunks=frames.chunks,
            compression=32008,
            compression_opts=(0, 2),
        )
        for number in range(FRAMES):
            _, chunk = frames.id.read_direct_chunk((number, 0, 0))
            if number == 7:
                chunk = chunk[:20] + bytes(len(chunk) - 20)
            copy["entry/data/data"].id.write_direct_chunk((number, 0, 0), chunk)
    out = tmp_path / "run"
    summary = run(broken, out)
    assert summary["frames"]["failed"] == 1
    assert summary["frames"]["done"] == FRAMES - 1
    states = dict(frames_of(out))
    assert states[7] == "failed"
    kept = list((out / "failed").glob("*.bin"))
    assert len(kept) == 1
    assert kept[0].name.endswith("00000007.bin")


def test_frames_without_a_result_are_no_success(tmp_path):
    import tifffile

    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(4):
        tifffile.imwrite(folder / f"{number}.tif", np.zeros((32, 32), np.uint16))
    (folder / "2.tif").write_bytes(b"II*\0 and no more")
    done = launch(
        "replay", str(folder), "--out", str(tmp_path / "run"), "--set", "positions.method=centroid"
    )
    assert done.returncode == 1
    assert "1 missing of 4 frames" in done.stderr
    assert dict(frames_of(tmp_path / "run"))[2] == "missing"


def test_findpeaks_itself_gives_the_same_run(recording, tmp_path):
    peaks = {}
    small = tmp_path / "small.npy"
    frames = [Scene(load_config(None, SCENE).simulate).render(number) for number in (0, 60)]
    np.save(small, np.array(frames)[:, :80, :120])
    for finder in ("topology", "findpeaks"):
        out = tmp_path / finder
        run(small, out, f"detect.finder={finder}")
        peaks[finder] = RunFolder(out).read("peaks").drop(["time_ns"])
    assert peaks["topology"].num_rows > 0
    for name in peaks["topology"].column_names:  # what is not known is NaN in both
        one, other = (peaks[finder][name].to_numpy() for finder in peaks)
        np.testing.assert_array_equal(one, other)


def test_a_live_stream_gives_positions_near_the_truth(detector, tmp_path):
    truth_file = tmp_path / "truth.parquet"
    uri = detector("--rate", "60", "--truth", str(truth_file))
    out = tmp_path / "run"
    done = launch("attach", uri, "--out", str(out), *sets(*SCENE))
    assert done.returncode == 0, done.stderr
    assert_each_frame_once(out)
    truth, _ = read_truth(truth_file)
    comparison = compare(truth, RunFolder(out).read("peaks"))
    assert comparison.found > 0.97 * comparison.visible
    assert comparison.percentile(50, clear=True) < 0.06
    assert comparison.percentile(95, clear=True) < 0.25
    said = launch("status", str(out))
    assert said.returncode == 0
    assert f"{FRAMES} done of {FRAMES}" in said.stdout


def test_a_live_run_that_is_stopped_ends_well(detector, tmp_path):
    uri = detector("--rate", "30")
    stopped = []

    def stop(now):
        if now.settled > 10 and not stopped:
            stopped.append(now.settled)
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "run"
    summary = run(uri, out, act=stop)
    assert summary["state"] == "stopped"
    assert_each_frame_once(out, summary["frames"]["total"])


def test_status_of_a_run_that_goes_on(recording, tmp_path):
    out = tmp_path / "run"
    said = []

    def ask(now):
        if now.settled > 20 and not said:
            said.append(launch("status", str(out)))

    run(recording, out, *PACED, act=ask)
    assert said[0].returncode == 0
    assert "Run running" in said[0].stdout
    assert "detector-0" in said[0].stdout


def test_a_configuration_file_and_overrides_decide_the_run(recording, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"detect": {"minscore": 500}, "nodes": {"gpus": 1}}))
    out = tmp_path / "run"
    done = launch(
        "replay", str(recording), "--out", str(out), "--config", str(config),
        "--set", "positions.method=centroid", "--set", "detect.minval=50",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores = RunFolder(out).read("peaks")["score"].to_numpy()
    assert scores.min() >= 500
    resolved = yaml.safe_load((out / "config.yaml").read_text())
    assert resolved["detect"]["minval"] == 50
    truth, _ = read_truth(truth_path_for(recording))
    assert len(scores) < truth.num_rows


def test_a_recording_that_is_cut_short_while_it_is_read_has_frames_missing(tmp_path):
    path, cut = tmp_path / "x.npy", []
    np.save(path, np.ones((FRAMES, 64, 64), np.uint16))

    def act(now):
        if now.settled > 20 and not cut:
            cut.append(now.settled)
            os.truncate(path, path.stat().st_size // 4)

    out = tmp_path / "run"
    # Most frames are not read before others are on disk.
    summary = run(path, out, *PACED, "transport.window_frames=16", act=act)
    assert cut[0] < FRAMES
    assert summary["frames"]["missing"] > 0
    assert summary["frames"]["done"] + summary["frames"]["missing"] == FRAMES
    assert summary["delivery"]["restarts"] == 0
    table = RunFolder(out).read("frames").to_pydict()
    reasons = dict(zip(table["state"], table["reason"], strict=True))
    assert reasons["missing"] == "x.npy is truncated: it has 29 of 120 frames"


def kill_ingest_at_its_end(killed):
    """Return what kills the ingest node when all was read and not all is on disk."""
    held = []

    def act(now):
        ingest = next(one for one in now.nodes if one.name == "ingest")
        sink = next(one for one in now.nodes if one.name == "sink")
        if now.settled > 20 and not held:
            held.append(sink.pid)
            os.kill(sink.pid, signal.SIGSTOP)
        if held and not killed and "on their way" in ingest.doing:
            killed.append(now.settled)
            os.kill(ingest.pid, signal.SIGKILL)
            os.kill(sink.pid, signal.SIGCONT)

    return act


def test_an_ingest_node_killed_at_the_end_of_a_recording_costs_nothing(recording, tmp_path):
    killed, out = [], tmp_path / "run"
    summary = run(recording, out, *PACED, act=kill_ingest_at_its_end(killed))
    assert killed[0] < FRAMES
    assert summary["state"] == "done"
    assert_each_frame_once(out)


def test_after_the_end_of_a_live_series_an_ingest_node_may_die_and_the_detector_be_gone(
    detector, tmp_path
):
    killed, out = [], tmp_path / "run"
    summary = run(detector("--rate", "20"), out, act=kill_ingest_at_its_end(killed))
    assert killed[0] < FRAMES
    assert summary["state"] == "done"
    assert summary["series"]["series_1"]["end"] == "end"
    assert_each_frame_once(out)
