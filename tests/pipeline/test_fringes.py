"""A run of spots with fringes: one track each, placed by their centres of mass."""

from __future__ import annotations

import numpy as np

from streamer.results.folder import RunFolder
from tests.pipeline.conftest import launch, summary_of
from tests.settings import sets

N_FRAMES = 30
SPOTS = [(40.0, 40.0), (90.0, 60.0), (60.0, 100.0)]
"""Row and column on the first frame; they move by 0.05 px a frame along the columns."""


def a_recording(path):
    """Write frames of small crystals, the central lobe of each 5 px wide."""
    row, col = np.mgrid[:128, :128]
    rng = np.random.default_rng(2)
    frames = []
    for k in range(N_FRAMES):
        mean = np.full(row.shape, 4.0)
        for r, c in SPOTS:
            mean += 2500 * (np.sinc((row - r) / 2.5) * np.sinc((col - c - 0.05 * k) / 2.5)) ** 2
        frames.append(rng.poisson(mean))
    np.save(path, np.array(frames, np.uint16))


def test_a_run_makes_one_track_of_each_spot_and_tells_of_the_fringes(tmp_path):
    a_recording(tmp_path / "a.npy")
    out = tmp_path / "run"
    settings = [
        "detect.merge_px=20", "positions.method=moments", "positions.methods.moments.size=17",
        "nodes.gpus=1", "report.auto=false",
    ]  # fmt: skip
    ended = launch("replay", str(tmp_path / "a.npy"), "--out", str(out), *sets(*settings))
    assert ended.returncode == 0, ended.stderr
    folder = RunFolder(out)
    tracks = folder.read_tracks()
    assert tracks["n_frames"].to_pylist() == [N_FRAMES] * len(SPOTS)
    assert not any(tracks["flags"].to_pylist())
    peaks = folder.read("peaks")
    for number in tracks["track"].to_pylist():
        one = peaks.filter(peaks["track"].to_numpy() == number)
        where = one["row"].to_numpy(), one["col"].to_numpy() - 0.05 * one["frame"].to_numpy()
        row, col = min(
            SPOTS, key=lambda spot: np.hypot(where[0][0] - spot[0], where[1][0] - spot[1])
        )
        pulls = (where[0] - row) / one["row_sigma"], (where[1] - col) / one["col_sigma"]
        for pull in pulls:
            assert 0.6 < np.sqrt(np.mean(np.square(pull))) < 1.4
        assert np.isfinite(one["intensity_sigma"].to_numpy()).all()
    summary = summary_of(out)
    (book,) = summary["series"].values()
    assert book["merged"] > N_FRAMES
    assert any("detect.merge_px" in line for line in summary["advice"])
