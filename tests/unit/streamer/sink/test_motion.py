"""A beam that drifts over a lattice that stands still, from peaks to tracks on disk."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.config import load_config
from streamer.frames.peaks import PEAK, POSITION
from streamer.results import open_run
from streamer.results.folder import RunFolder
from streamer.sink.commit import Committer
from streamer.sink.tables import Result, Row
from streamer.tracks.linking import Tracking
from streamer.transport.messages import FramePeaks

N_FRAMES, SIGMA, SHIFT = 120, 0.01, 0.5
GEOMETRY = [
    "geometry.distance_m=0.2", "geometry.beam_row=128", "geometry.beam_col=128",
    "geometry.pixel_m=75e-6", "geometry.wavelength_a=0.7",
]  # fmt: skip


def commit(folder, config, strained=()):
    """Commit frames in parts of several sizes; some spots move by themselves as well."""
    rng = np.random.default_rng(1)
    places = np.array([[30.0 + 60 * i, 25.0 + 55 * j] for i in range(4) for j in range(4)])
    tracking = Tracking(config, folder)
    committer = Committer(folder, tracking, first=0, upto=0, commit_s=1.0, most_rows=99)
    own = np.zeros_like(places)
    own[list(strained)] = [0.0, 0.3]
    for frame in range(N_FRAMES):
        share = frame / N_FRAMES
        where = places + share * (own + np.array([SHIFT, 0.0])) + rng.normal(0, SIGMA, places.shape)
        peaks, positions = (np.zeros(len(places), dtype) for dtype in (PEAK, POSITION))
        peaks["row"], peaks["col"] = np.rint(where).T
        peaks["score"] = 100.0
        positions["row"], positions["col"] = where.T
        positions["row_sigma"] = positions["col_sigma"] = SIGMA
        positions["single"]["evidence"] = np.nan
        head = FramePeaks(
            series="1", frame=frame, time_ns=0, seq=frame, received_ns=0, n_peaks=len(places)
        )
        row = Row.of(Result(head, peaks, positions))
        row.linked = tracking.link(frame, peaks, positions)
        committer.add(row)
        if frame % 7 == 0:
            committer.write(upto=frame + 1)
    committer.write(upto=N_FRAMES)
    tracking.write(now=True)
    return places


def a_run(tmp_path, *settings, **options):
    folder = RunFolder.create(tmp_path / "run")
    config = load_config(None, [*GEOMETRY, *settings])
    (folder.path / "config.yaml").write_text(config.to_yaml())
    folder.write_summary({"state": "done", "source": "made up"})
    commit(folder, config, **options)
    return open_run(folder.path)


def significance(run):
    return np.abs(run.tracks["strain"].to_numpy() / run.tracks["strain_sigma"].to_numpy())


def test_a_frame_tells_how_all_spots_moved_and_drifts_have_it_by_default(tmp_path):
    run = a_run(tmp_path)
    frames = run.frames.to_pydict()
    assert frames["motion_row"][-1] == pytest.approx(SHIFT, abs=0.02)
    assert frames["motion_col"][-1] == pytest.approx(0.0, abs=0.02)
    assert frames["motion_row_sigma"][-1] < 0.006
    assert (frames["motion_about_row"][-1], frames["motion_about_col"][-1]) == (128.0, 128.0)
    assert np.median(significance(run)) > 3
    assert run.tracks["drift_row"].to_numpy().mean() == pytest.approx(0.93 * SHIFT, abs=0.02)


def test_with_the_motion_removed_a_still_lattice_has_no_strain(tmp_path):
    run = a_run(tmp_path, "tracks.common_motion=remove")
    assert np.mean(significance(run) > 2) <= 0.1
    assert significance(run).max() < 3
    assert run.peaks["row"].to_numpy()[-16:].mean() == pytest.approx(120.0 + SHIFT, abs=0.02)
    drift = run.drift(0, "row")
    y, sigma = (drift[name].to_numpy()[3:] for name in ("row", "row_sigma"))
    assert np.abs(y).max() < 0.06
    assert sigma.min() > SIGMA
    assert run.drift(0, "strain")["strain"].to_numpy()[3:].std() < 4e-4


def test_a_strain_that_is_not_common_is_kept(tmp_path):
    run = a_run(tmp_path, "tracks.common_motion=remove", strained=(2, 3))
    drift = run.tracks.sort_by("track")["drift_col"].to_numpy()
    assert drift[[2, 3]] == pytest.approx(0.28, abs=0.03)
    others = np.delete(drift, [2, 3])
    assert np.abs(others).max() < 0.03
