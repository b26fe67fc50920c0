"""Whole cycles of reflections in a report."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from streamer.frames.flags import POOR_FIT
from streamer.report.drift_figure import draw_drift
from streamer.report.lattice_figure import draw_lattice
from streamer.report.material import gather
from streamer.report.reflections import (
    farthest_reflections,
    main_reflections,
    reflections_in_short,
)
from streamer.report.run import write_report
from tests.unit import runs
from tests.unit.streamer.results.test_reflections import (
    FRAMES_N,
    GEOMETRY,
    GRAINS,
    A,
    lattice_parameters,
    make_run,
)


@pytest.fixture
def folder(tmp_path):
    plain = runs.make_run(tmp_path / "plain").read_summary()
    folder, *_ = make_run(tmp_path / "run", np.random.default_rng(11))
    folder.write_summary(plain)
    return folder


def test_a_reflection_ends_where_its_last_spot_does_and_counts_from_its_first(folder):
    short = reflections_in_short(folder.read_tracks(), GEOMETRY, [3, 7])
    assert [one.number for one in short] == [3, 7]
    assert [one.tracks for one in short] == [(3, 23, 43), (7, 27, 47)]
    first, second, _ = lattice_parameters(np.arange(FRAMES_N))
    start, middle = first[:10].mean(), FRAMES_N // 2
    for one in short:
        assert one.frames == (0, FRAMES_N - 1)
        assert abs(one.strain[0] - (first[-10:].mean() / start - 1.0)) < 4.0 * one.strain[1]
        farthest = second[middle - 5 : middle + 5].mean() / start - 1.0
        assert one.strain_excursion[0] == pytest.approx(farthest, abs=5e-4)
        # On the detector: as far as Bragg's law says, from the ring of the first spot.
        rings = [
            0.15 / 75e-6 * np.tan(2.0 * np.arcsin(0.6199 / (2.0 * one.d[0] / (1.0 + one.strain[0]))
                                                  / (1.0 + strain)))
            for strain in (0.0, one.strain_excursion[0])
        ]  # fmt: skip
        assert one.excursion[0] == pytest.approx(rings[1] - rings[0], rel=0.01)
        assert 0.0 < one.excursion[1] < 0.1


def test_main_reflections_are_whole_ones(folder):
    tracks = folder.read_tracks()
    found = main_reflections(tracks, 8)
    assert len(set(found)) == 8
    assert max(found) < GRAINS
    assert main_reflections(tracks.slice(0, 0), 8) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("excursion_sigma", 1e3), ("last_frame", 1), ("flags", POOR_FIT), ("excursion", np.nan)],
    ids=["by chance", "not there to the end", "no peak", "not known"],
)
def test_those_that_surely_went_farthest_and_were_there_all_the_time_come_first(
    folder, column, value
):
    tracks = folder.read_tracks()
    first, second, *others = farthest_reflections(tracks, GEOMETRY, 100)
    assert abs(first.excursion[0]) > abs(second.excursion[0]) > abs(others[-1].excursion[0])
    values = tracks[column].to_numpy().copy()
    values[tracks["reflection"].to_numpy() == first.number] = value
    tracks = tracks.set_column(tracks.column_names.index(column), column, pa.array(values))
    found = [one.number for one in farthest_reflections(tracks, GEOMETRY, 100)]
    assert found[0] == second.number
    assert first.number not in found[:-1]
    assert farthest_reflections(tracks.slice(0, 0), GEOMETRY, 6) == []


def test_the_figure_of_the_drift_has_all_spots_of_a_reflection_without_a_gap(folder):
    material, *_ = gather(folder, 2, 1, 0)
    drift, strain = draw_drift(material).axes[:2]
    for axes, deep in ((drift, 10.0), (strain, -30.0)):
        points = [line for line in axes.lines if line.get_marker() == "o"]
        x = np.unique(np.concatenate([line.get_xdata() for line in points]))
        y = np.concatenate([line.get_ydata() for line in points])
        assert len(x) == FRAMES_N
        assert (y > deep).any() if deep > 0 else (y < deep).any()
        assert len({line.get_markersize() for line in points}) == 4
        colours = {line.get_color() for line in points}
        assert len(colours) == 2


def test_the_figure_of_the_lattice_has_both_phases(folder):
    material, *_ = gather(folder, 2, 1, 0)
    figure = draw_lattice(material)
    assert [axes.get_ylabel() for axes in figure.axes] == ["a / Å", "volume / Å$^3$"]
    first, second = figure.axes[0].lines
    assert first.get_ydata().max() == pytest.approx(A, abs=0.002)
    assert second.get_ydata().min() < 0.97 * A


def test_a_report_says_how_many_reflections_have_lattice_planes(folder, tmp_path):
    page = write_report(folder.path, tmp_path / "out").read_text()
    assert f"are known: {GRAINS} of {GRAINS}, 0 may be of planes of several" in page
    assert "(2 2 0)</td>" in page
    plain = runs.make_run(tmp_path / "other")
    assert "Unit cell" not in write_report(plain.path, tmp_path / "out").read_text()
