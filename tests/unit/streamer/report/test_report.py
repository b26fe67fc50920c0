from __future__ import annotations

import subprocess
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from streamer.cell.cycles import Span, spans
from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.report.against_figure import draw_over_cell, draw_quiver
from streamer.report.agreement_figure import measure_agreement
from streamer.report.contents import with_error
from streamer.report.drift_figure import draw_drift
from streamer.report.material import Refit, Shot, gather
from streamer.report.movie import write_movie
from streamer.report.run import write_report
from streamer.report.shape_figure import draw_shapes
from streamer.results import open_run
from streamer.results.curves import references
from streamer.results.folder import RunFolder
from streamer.results.histories import main_tracks
from streamer.results.pixels import Recorded
from streamer.results.schema import FRAMES, PEAKS, SHAPES, TRACKS
from tests.unit.runs import BEGIN, STEP, make_run
from tests.unit.streamer.sink.test_motion import a_run

SHAPE = (56, 64)


class Reader(HTMLParser):
    """Collects the text of a page and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.refers: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.refers += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text())
    return reader, " ".join(" ".join(reader.text).split())


def fit(pixels, mask, rows, cols):
    """A conventional fit that is 0.01 px off in the rows."""
    assert pixels.shape == SHAPE
    n = len(rows)
    counts = np.ones((n, 11, 11), np.float32)
    sigma = np.full(n, 0.01)
    flags = np.zeros(n, np.int32)
    return Refit(counts, counts > 0, rows + 0.01, cols + 0.0, sigma, sigma, flags)


@pytest.fixture
def run(tmp_path):
    """A run whose frames are there."""
    source = tmp_path / "first.npy"
    frames = np.random.default_rng(3).poisson(20.0, (30, *SHAPE)).astype(np.uint16)
    np.save(source, frames)
    return make_run(tmp_path / "run", source=str(source))


def test_a_report_needs_nothing_beside_it(run, tmp_path):
    page = write_report(run.path, tmp_path / "out", make_fitter=lambda material: fit)
    reader, text = read(page)
    assert all(one.startswith(("#", "data:")) for one in reader.refers)
    assert not {"script", "link", "iframe"} & set(reader.tags)
    assert "url(http" not in page.read_text()
    assert reader.tags.count("figure") == 7
    assert "prefers-color-scheme:dark" in page.read_text()
    for name in ("drift", "quiver", "over-cell", "shapes", "frames", "patches", "agreement"):
        assert (tmp_path / "out" / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(tmp_path / "out" / "figures" / f"{name}.png") as image:
            assert image.width > 600
    assert "Figure 4." in text


def test_a_report_tells_of_lost_frames_and_changed_settings(run, tmp_path):
    settings = run.path / "config.yaml"
    settings.write_text(settings.read_text().replace("minval: auto", "minval: 55.5"))
    _, text = read(write_report(run.path, tmp_path / "out"))
    assert "first, missing: frames 7." in text
    assert "second, failed, 1 frame: it was failed, so." in text
    assert "4 frames without a result" in text
    assert "Not compared." in text
    assert "detect.minval 55.5" in text
    assert "detect.minscore" not in text


def test_no_defaults_stand_in_for_a_configuration_that_cannot_be_read(run, tmp_path):
    (run.path / "config.yaml").write_text("positions: {gein: 4}\n")
    with pytest.raises(UserError, match=r"config\.yaml: unknown configuration key positions.gein"):
        write_report(run.path, tmp_path / "out")


def test_without_pixels_peaks_are_shown_and_it_is_said(tmp_path):
    run = make_run(tmp_path / "run", geometry=False, cell=False)
    page = write_report(run.path, tmp_path / "out", make_fitter=lambda material: fit)
    reader, text = read(page)
    assert "Without pixels: gone.npy does not exist" in text
    assert "No peaks could be fitted: gone.npy does not exist" in text
    assert reader.tags.count("figure") == 4
    assert "no angles, spacings and strains" in text


def test_without_times_a_report_counts_in_frames(tmp_path):
    run = make_run(tmp_path / "run", timed=False)
    _, text = read(write_report(run.path, tmp_path / "out", make_fitter=lambda material: fit))
    assert "px/frame" in text
    assert "px/h" not in text
    assert "1970" not in text
    material, *_ = gather(run, 3, 4, 0)
    axes = draw_drift(material).axes
    assert axes[-1].get_xlabel() == "frame"
    assert axes[0].get_xlim() == (0.0, 29.0)
    recorded = Recorded("gone.npy", SourceConfig())
    assert write_movie(run, recorded, tmp_path / "a.gif", Console(quiet=True), most=2) == 2


def test_a_run_without_a_frame_has_a_report(tmp_path):
    run = make_run(tmp_path / "run", cell=False)
    for part in (*run.parts("frames"), *run.parts("peaks"), run.path / "tracks.parquet"):
        part.unlink()
    _, text = read(write_report(run.path, tmp_path / "out", make_fitter=lambda material: fit))
    assert "No frame is done." in text
    assert "No track was seen on enough frames." in text


def test_a_gap_counts_all_its_frames_and_none_of_them_is_shown(run, tmp_path):
    parts = run.parts("frames")
    rows = run.read("frames").slice(0, 1).to_pylist()[0]
    rows |= {"frame": 40, "count": 2 * 10**9, "state": "missing", "reason": "lost", "n_peaks": 0}
    gap = pa.Table.from_pylist([rows], FRAMES)
    run.write_part(len(parts), gap, PEAKS.empty_table(), upto=99, next_track=10)
    _, text = read(write_report(run.path, tmp_path / "out"))
    assert "first, missing, 2,000,000,000 frames: lost." in text
    with pytest.raises(UserError, match="--frames 1000: the frame never came: lost"):
        gather(run, 3, 4, 0, [1000])
    with pytest.raises(UserError, match="no such frame; it has 0 to 2000000039"):
        gather(run, 3, 4, 0, [2 * 10**9 + 40])


def test_frames_are_spread_over_the_run_or_chosen(run):
    _, shown, compared = gather(run, 3, 4, 10)
    assert [(one.series, one.frame) for one in shown] == [
        ("first", 0), ("first", 19), ("second", 10), ("second", 29),
    ]  # fmt: skip
    assert len(compared) == 10
    assert all(len(one.peaks["row"]) == 5 for one in compared)
    _, shown, _ = gather(run, 3, 4, 0, [12, 3])
    assert [one.frame for one in shown] == [12, 3]
    peaks = run.read("peaks").to_pandas()
    mine = peaks[(peaks["series"] == "first") & (peaks["frame"] == 12)]
    np.testing.assert_array_equal(shown[0].peaks["row"], mine["row"])
    with pytest.raises(UserError, match="--frames 900: the run has no such frame; it has 0 to 29"):
        gather(run, 3, 4, 0, [900])


def test_main_tracks_show_all_of_the_run():
    spans_of = [(0, 99), (0, 98), (0, 97), (100, 150), (110, 150)]
    table = TRACKS.empty_table().to_pandas().reindex(range(6))
    for i, (first, last) in enumerate([*spans_of, (0, 150)]):
        for name, value in (("first", first), ("last", last)):
            table.loc[i, f"{name}_frame"] = value
            table.loc[i, f"{name}_time_ns"] = value * 1_000_000
        table.loc[i, "n_frames"] = last - first + 1
    table["track"], table["series"] = range(6), "one"
    table["score"], table["flags"] = 100.0, [0, 0, 0, 0, 0, 16]
    whole = ("parent", "merged_into")
    table = table.assign(**dict.fromkeys(whole, -1))
    tracks = pa.Table.from_pandas(table, TRACKS, preserve_index=False)
    assert main_tracks(tracks, 2)["track"].to_pylist() == [0, 3]  # 5 is no peak
    assert len(main_tracks(tracks, 9)) == 5


@pytest.mark.parametrize(
    ("value", "sigma", "words"),
    [
        (97.0031, 0.0123, "97.003(12)"),
        (-0.346, 0.0297, "−0.346(30)"),
        (1.82104612, 0.0000912, "1.821046(91)"),
        (12.34, 1.26, "12.3(1.3)"),
        (393.2, 447.1, "390(450)"),
        (5.0, float("nan"), "5"),
        (float("nan"), 1.0, "–"),
        (0.5, 0.0996, "0.50(10)"),
    ],
)
def test_errors_are_told_in_the_last_digits(value, sigma, words):
    said = with_error(value, sigma)
    assert said.replace("<small>", "").replace("</small>", "") == words


def test_half_cycles_are_numbered_by_kind(run):
    assert spans(run.read_cell()) == [
        Span("charge", 1, BEGIN + 5 * STEP, BEGIN + 29 * STEP),
        Span("discharge", 1, BEGIN + 30 * STEP, BEGIN + 59 * STEP),
    ]


def test_agreement_leaves_out_what_is_flagged_and_what_was_fitted():
    n = 4
    row = np.array([1.0, 2.0, 3.0, 4.0])
    shot = Shot("s", 5, 0, {"row": row, "col": row, "flags": np.array([0, 16, 0, 0])})
    sigma = np.full(n, 0.3)
    refit = Refit(
        np.zeros((n, 11, 11), np.float32), np.ones((n, 11, 11), bool),
        row + np.array([0.03, 0.0, 0.0, 0.06]), row + np.array([0.04, 0.0, 0.0, 0.08]),
        sigma, sigma, np.array([0, 0, 0, 0], np.int32),
    )  # fmt: skip
    found = measure_agreement([(shot, refit)])
    np.testing.assert_allclose(found.distance, [0.05, 0.1])
    assert (found.n_left_out, found.n_same) == (1, 1)
    assert found.frame.tolist() == [5, 5]
    assert found.percentiles[0] == pytest.approx(0.075)


def test_every_track_has_a_reference(run):
    assert set(references(run.read_tracks())) == set(range(10))


def test_a_gif_has_as_many_frames_as_were_asked_for(run, tmp_path):
    recorded = Recorded(run.read_summary()["source"], SourceConfig())
    out = tmp_path / "run.gif"
    assert write_movie(run, recorded, out, Console(quiet=True), most=7) == 7
    with Image.open(out) as image:
        assert image.n_frames == 7
        assert image.size == (512, 546)
    with pytest.raises(UserError, match="is there already"):
        write_movie(run, recorded, out, Console(quiet=True))
    with pytest.raises(UserError, match=r"must end in \.mp4 or \.gif"):
        write_movie(run, recorded, tmp_path / "run.avi", Console(quiet=True))


def test_an_mp4_has_every_frame(run, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra movie is not installed")
    recorded = Recorded("gone.npy", SourceConfig())
    out = tmp_path / "run.mp4"
    assert write_movie(run, recorded, out, Console(quiet=True)) == 56
    done = subprocess.run(
        [ffmpeg.get_ffmpeg_exe(), "-i", str(out), "-map", "0:v", "-c", "copy", "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "h264" in done.stderr
    assert "frame=   56" in done.stderr
    assert not list(tmp_path.glob(".*"))


def shapes_of(run):
    """Return the figure of all tracks, each by itself, and what was measured of their peaks."""
    folder = RunFolder.open(run.path)
    material, _, _ = gather(folder, 8, 1, 1)
    tracks = material.tracks["track"].to_pylist()
    figure = draw_shapes(material, {f"{track}": [track] for track in tracks})
    return figure, tracks, folder.read("peaks").to_pandas()


def without(run, columns):
    """Make the peaks of a run lack columns, as those of older runs do."""
    for part in run.parts("peaks"):
        table = pq.read_table(part)
        pq.write_table(table.drop_columns([*columns]), part)


@pytest.mark.parametrize("geometry", [True, False])
def test_intensities_and_widths_are_drawn_as_they_were_measured(tmp_path, geometry):
    run = make_run(tmp_path / "run", geometry=geometry)
    if not geometry:
        without(run, [name for name in SHAPES if "radial" in name or "azimuthal" in name])
    figure, tracks, peaks = shapes_of(run)
    kind = ("fwhm_radial", "fwhm_azimuthal") if geometry else ("fwhm_major", "fwhm_minor")
    panels = figure.axes
    if not geometry:
        assert "/ px" in panels[1].get_ylabel()
    for axes, name in zip(panels, ("intensity", *kind), strict=True):
        assert len(axes.lines) == len(tracks)
        for line, track in zip(axes.lines, tracks, strict=True):
            mine = peaks[peaks["track"] == track]
            np.testing.assert_allclose(line.get_ydata(), mine[name], rtol=1e-6)


def test_of_a_run_without_shapes_intensities_alone_are_drawn(tmp_path):
    run = make_run(tmp_path / "run")
    without(run, SHAPES)
    figure, tracks, _ = shapes_of(run)
    (axes,) = figure.axes
    assert len(axes.lines) == len(tracks)
    _, text = read(write_report(run.path, tmp_path / "out"))
    assert "integrated intensity above the background" in text
    assert (tmp_path / "out" / "figures" / "shapes.pdf").exists()


def test_a_report_tells_what_all_spots_did_together_and_whether_drifts_have_it(tmp_path):
    for setting, said in (("keep", "with the shift"), ("remove", "without the shift")):
        run = a_run(tmp_path / setting, f"tracks.common_motion={setting}")
        run._folder.write_summary(run.summary | {"advice": ["it moves"]})
        _, text = read(write_report(run.path, tmp_path / "out"))
        assert "What all spots of a frame did together." in text
        assert f"first spot, {said} and rotation that all spots share." in text
        assert "Look: it moves." in text


def test_arrows_are_the_drifts_of_the_newest_spots(run):
    material, *_ = gather(run, 8, 4, 0)
    (axes,) = draw_quiver(material).axes
    tracks = material.tracks.to_pandas().sort_values("last_time_ns")
    newest = tracks.groupby("reflection").last()
    newest = newest[(newest["flags"] & 48) == 0]
    drawn = {
        (round(x, 6), round(y, 6)): (u, v)
        for one in axes.collections
        for (x, y), u, v in zip(one.get_offsets(), one.U, one.V, strict=True)
    }
    assert len(drawn) == len(newest) > 3
    for spot in newest.itertuples():
        assert drawn[round(spot.col, 6), round(spot.row, 6)] == pytest.approx(
            (spot.drift_col, spot.drift_row)
        )
    assert " times as long" in axes.get_title("left")


def test_spacings_are_drawn_over_voltage_by_half_cycle(run):
    material, *_ = gather(run, 2, 4, 0)
    (axes,) = draw_over_cell(material).axes
    assert axes.get_xlabel() == "cell voltage / V"
    lines = {line.get_label(): line for line in axes.lines}
    spots = open_run(run.path).reflection(material.main[0].number).to_pandas()
    line = lines[material.main[0].name]
    cell = material.cell.to_pandas()
    half = cell.half_cycle.to_numpy()[
        np.clip(np.searchsorted(cell.time_ns, spots.time_ns, "right") - 1, 0, None)
    ]
    spots = spots[half >= 0]
    volts = np.interp(spots.time_ns, cell.time_ns, cell.voltage_v)
    drawn = np.isfinite(line.get_ydata())
    assert line.get_xdata()[drawn] == pytest.approx(volts, abs=1e-4)
    assert line.get_ydata()[drawn] == pytest.approx(1e3 * spots.strain, abs=1e-3)


def test_without_a_cell_nothing_is_drawn_over_it(tmp_path):
    material, *_ = gather(make_run(tmp_path / "run", cell=False), 8, 4, 0)
    assert draw_over_cell(material) is None
