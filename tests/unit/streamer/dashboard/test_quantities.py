"""What a page can draw beside drifts: shapes of peaks, and what all spots did together."""

from __future__ import annotations

from contextlib import closing, contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.config import Config
from streamer.dashboard.archive import Archive
from streamer.dashboard.common import COMMON
from streamer.dashboard.drifts import Drifts, Plot
from streamer.dashboard.messages import DriftWriter, Lines
from streamer.dashboard.requests import Watch
from streamer.dashboard.view import RunView
from streamer.results import open_run
from streamer.results.merging import merge_next
from streamer.results.schema import MOTION, SHAPES
from tests.unit.runs import make_run as a_small_run
from tests.unit.streamer.dashboard.test_server import decode, make_run, tables
from tests.unit.streamer.sink.test_motion import a_run

N = 60
WIDE = ("fwhm_major", "fwhm_minor")


def part(rng, first):
    """Return peaks of tracks 7 and 8 on N frames, with a shape of which a tenth is not known."""
    frame = np.repeat(np.arange(first, first + N), 2)
    peaks = {name: rng.uniform(1, 9, 2 * N) for name in ("intensity", *SHAPES)}
    peaks["intensity"][::10] = np.nan
    peaks["eta"] = np.full(2 * N, np.nan)
    names = {"series": ["a"] * 2 * N, "frame": frame, "track": np.tile([7, 8], N)}
    return tables(["a"] * N, list(range(first, first + N)), ["done"] * N, peaks | names)


@contextmanager
def viewed(folder):
    settings = folder.path / "config.yaml"
    if not settings.exists():
        settings.write_text(Config().to_yaml())
    with closing(RunView(folder.path)) as view:
        view.catch_up(60.0)  # on a busy machine one look takes in a part of the files
        view.refresh()
        view.refresh_tables()
        yield view


def test_shapes_are_drawn_as_they_were_measured_while_files_grow_and_are_merged(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("streamer.results.merging.AT_ONCE", 2)
    rng = np.random.default_rng(2)
    folder = make_run(tmp_path / "run")
    archive = Archive(folder.path)
    drifts, plot = Drifts(archive), Plot("intensity", "frame", begin=5.0)
    for index in range(5):
        folder.write_part(index, *part(rng, N * index), upto=0, next_track=0)
        archive.refresh(10.0)
        # A reference, as drifts have one, is nothing to them.
        curves = drifts.curves(plot, [7, 8], {7: (1.0, 2.0, 3.0)})
        assert drifts.is_whole
        peaks = folder.read("peaks").to_pandas()
        for track, curve in curves.items():
            mine = peaks[(peaks.track == track) & (peaks.frame >= 5) & peaks.intensity.notna()]
            assert curve.x.tolist() == mine.frame.tolist()
            np.testing.assert_allclose(curve.y, mine.intensity, rtol=1e-6)
            np.testing.assert_allclose(curve.sigma, mine.intensity_sigma, rtol=1e-6)
        merge_next(folder.path)


def test_what_a_run_has_not_is_not_offered(tmp_path):
    with viewed(make_run(tmp_path / "none")) as view:
        assert view.hello()["quantities"] == ["distance", "row", "col"]
    rng = np.random.default_rng(2)
    with viewed(make_run(tmp_path / "run", part(rng, 0))) as view:
        shapes = ["intensity", *WIDE, "background", "asymmetry"]
        assert view.hello()["quantities"] == ["distance", "row", "col", *shapes]
        lines = view.drift(Watch(tracks=(7,), quantity="background"))
        assert lines.header["label"] == "Background"
        assert lines.header["unit"] == "counts/px"
        assert len(lines.curves[7].x) == N
    # With the place of the detector, widths are angles.
    with viewed(a_small_run(tmp_path / "placed")) as view:
        offered = view.hello()["quantities"]
        assert {"fwhm_radial", "fwhm_azimuthal"} <= set(offered)
        assert not set(offered) & {*WIDE, *COMMON}


def test_runs_that_were_made_without_shapes_draw_what_they_have(tmp_path):
    folder = make_run(tmp_path / "run", part(np.random.default_rng(2), 0))
    (path,) = folder.parts("peaks")
    table = pq.read_table(path)
    pq.write_table(table.drop_columns([*SHAPES]), path)
    with viewed(folder) as view:
        assert view.hello()["quantities"][3:] == ["intensity"]
        (curve,) = view.drift(Watch(tracks=(7,), quantity="intensity", x="frame")).curves.values()
        assert len(curve.x) == np.isfinite(table["intensity"].to_numpy()[::2]).sum()
        assert np.isnan(curve.sigma).all()
        (curve,) = view.drift(Watch(tracks=(7,), quantity="background")).curves.values()
        assert not len(curve.x)


@pytest.mark.parametrize("keeps", ["keep", "remove"])
def test_the_common_motion_is_drawn_with_its_sigma(tmp_path, keeps):
    run = a_run(tmp_path, f"tracks.common_motion={keeps}")
    frames = run.frames.to_pandas()
    with viewed(run) as view:
        assert view.hello()["quantities"][-3:] == list(COMMON)
        for quantity, columns in (
            ("motion_shift", ["motion_row", "motion_col"]),
            ("motion_angle", ["motion_angle"]),
            ("motion_scale", ["motion_scale"]),
        ):
            lines = view.drift(Watch(quantity=quantity, x="frame"))
            assert isinstance(lines, Lines)
            assert list(lines.curves) == list(lines.header["names"]) == [-1, -2][: len(columns)]
            for column, curve in zip(columns, lines.curves.values(), strict=True):
                told = frames[frames[column].notna()]
                assert curve.x.tolist() == told.frame.tolist()
                np.testing.assert_allclose(curve.y, told[column], rtol=1e-6)
                np.testing.assert_allclose(curve.sigma, told[f"{column}_sigma"], rtol=1e-6)
            again = view.drift(Watch(quantity=quantity, x="frame"))
            writer = DriftWriter()
            writer.write(lines)
            header, _ = decode(writer.write(again))
            assert [add for *_, add in header["lines"]] == [0] * len(columns)


def test_a_spot_goes_on_from_where_the_one_stood_that_it_split_from(tmp_path):
    folder = a_small_run(tmp_path / "run")
    tracks = folder.read_tracks()
    parent = tracks["parent"].to_numpy().copy()
    parent[tracks["track"].to_numpy() == 6] = 1
    reflection = tracks["reflection"].to_numpy().copy()
    reflection[tracks["track"].to_numpy() == 6] = 1
    changed = tracks
    for name, column in (("parent", parent), ("reflection", reflection)):
        place = changed.column_names.index(name)
        changed = changed.set_column(place, name, pa.array(column))
    folder.write_tracks(changed)
    with viewed(folder) as view:
        lines = view.drift(Watch(tracks=(1, 6), quantity="d", x="frame"))
        strains = view.drift(Watch(tracks=(1, 6), quantity="strain", x="frame"))
        first = tracks["ref_d"][tracks["track"].to_pylist().index(1)].as_py()
        for track in (1, 6):
            d, strain = lines.curves[track].y, strains.curves[track].y
            np.testing.assert_allclose(strain, d / first - 1, atol=1e-6)
        groups = dict(zip(*view.tables.tracks.select(["track", "reflection"]), strict=True))
    assert groups[pa.scalar(6)].as_py() == 1


def test_a_page_is_told_that_strains_are_mostly_motion_while_the_run_goes_on(tmp_path):
    run = a_run(tmp_path)
    folder = open_run(run.path)._folder
    folder.write_summary({"state": "running", "source": "made up"})
    with viewed(run) as view:
        assert "mostly a motion that all spots share" in view.health()["lost"]
        assert view.health()["live"]
    folder.write_summary({"state": "done", "source": "made up"})
    with viewed(run) as view:
        assert not view.health()["lost"]  # what is to be said is in run.json then


def test_motion_that_is_held_tells_the_same_in_less_room(tmp_path):
    run = a_run(tmp_path)
    kept, exact = Archive(run.path), Archive(run.path, exact_motion=True)
    for archive in (kept, exact):
        archive.refresh(10.0)
        assert archive.has_motion
        for name in MOTION:
            np.testing.assert_allclose(archive.frames[name], run.frames[name], rtol=1e-6)
    assert kept.frames.nbytes < exact.frames.nbytes
