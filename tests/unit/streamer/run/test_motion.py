from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from streamer.frames.geometry import Geometry
from streamer.results.schema import FRAMES, MOTION, TRACKS
from streamer.run.motion import motion_advice, shared_motion
from tests.unit.streamer.sink.test_motion import a_run

N = 100
GEOMETRY = Geometry.from_beam(
    (128.0, 128.0), distance_m=0.2, pixel_m=(75e-6, 75e-6), wavelength_a=0.7
)
RNG = np.random.default_rng(2)


def a_table(schema, n, **columns):
    """Return a table of which the rest is 0."""
    filled = {
        field.name: columns.get(
            field.name, np.zeros(n, "i8") if field.type != pa.string() else ["1"] * n
        )
        for field in schema
    }
    return pa.table({name: pa.array(column) for name, column in filled.items()}).cast(schema)


def found(drift_of, shift):
    """Return what is found where tracks drifted by rows and columns, and all frames by `shift`."""
    n = 15
    ref = RNG.uniform(20, 236, (n, 2))
    now = ref + drift_of(ref) + RNG.normal(0, 0.01, (n, 2))
    motion = {name: np.full(N, 1e-3 if name.endswith("sigma") else 0.0) for name in MOTION}
    motion["motion_row"] = np.linspace(0.0, shift, N)
    motion["motion_row"][:3] = np.nan
    motion |= dict.fromkeys(("motion_about_row", "motion_about_col"), np.full(N, 128.0))
    frames = a_table(FRAMES, N, frame=np.arange(N), **motion)
    sigma = np.full(n, 0.01)
    tracks = a_table(
        TRACKS, n, track=np.arange(n), n_frames=np.full(n, N), last_frame=np.full(n, N - 1),
        ref_row=ref[:, 0], ref_col=ref[:, 1], row=now[:, 0], col=now[:, 1],
        row_sigma=sigma, col_sigma=sigma, ref_row_sigma=sigma, ref_col_sigma=sigma,
    )  # fmt: skip
    return shared_motion(frames, tracks, GEOMETRY, 10)


def test_a_motion_of_all_is_most_of_what_looks_like_strain():
    one = found(lambda ref: np.array([0.45, 0.0]), 0.5)
    assert one.is_most
    assert one.share > 0.9
    assert one.strain[0] > 3
    assert one.strain[1] < 2


def test_a_lattice_that_strains_is_no_motion():
    one = found(lambda ref: 0.01 * (ref - 128.0), 0.0)
    assert not one.is_most
    assert one.strain[1] == pytest.approx(one.strain[0], rel=0.1)


def test_where_nothing_moves_nothing_is_said():
    assert not found(np.zeros_like, 0.0).is_most


def advice_of(run):
    return motion_advice(run._folder, run._folder.read_config().tracks)


def test_a_beam_that_drifts_is_told_unless_it_is_taken_out(tmp_path):
    (line,) = advice_of(a_run(tmp_path / "kept"))
    assert line.startswith("strains are mostly a motion that all spots share")
    assert "tracks.common_motion to remove" in line
    run = a_run(tmp_path / "removed", "tracks.common_motion=remove")
    assert advice_of(run) == []
