"""Drifts as they grow: what the server keeps of them, and what it tells a page."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from streamer.dashboard.archive import Archive
from streamer.dashboard.drifts import Drifts, Plot
from streamer.dashboard.messages import DriftWriter, Lines, encode
from streamer.dashboard.requests import Hold, Watch
from streamer.dashboard.view import RunView
from streamer.dashboard.viewers import Viewer
from streamer.frames.geometry import Geometry
from streamer.results.curves import Observations, displaced, references
from streamer.results.merging import merge_next
from streamer.results.thinning import Curve, thinned
from tests.unit.streamer.dashboard.test_server import (
    TIME_NS,
    decode,
    make_run,
    one_track,
    tables,
)
from tests.unit.streamer.sink.test_motion import a_run

KINDS = {"x": "f8", "y": "f4", "sigma": "f4"}


class Page:
    """What a page makes of the messages of a connection."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.lines: dict[int, dict[str, np.ndarray]] = {}
        self.header: dict = {}

    def take(self, message: bytes) -> bool:
        """Return False where it has to ask for the whole."""
        header, arrays = decode(message)
        if header["base"] is not None and header["base"] != self.number:
            return False
        assert {name: array.dtype.str[1:] for name, array in arrays.items()} == KINDS
        old = {} if header["base"] is None else self.lines
        self.number, self.lines, self.header = header["number"], {}, header
        at = 0
        for track, drop, keep, add in header["lines"]:
            line = old.get(track, {name: np.empty(0, kind) for name, kind in KINDS.items()})
            assert drop + keep <= len(line["x"])
            self.lines[track] = {
                name: np.concatenate([line[name][drop : drop + keep], arrays[name][at : at + add]])
                for name in KINDS
            }
            at += add
        assert at == len(arrays["x"])
        return True

    def shows(self, lines: Lines) -> bool:
        return list(self.lines) == list(lines.curves) and all(
            same(Curve(**self.lines[track]), curve) for track, curve in lines.curves.items()
        )

    @property
    def added(self) -> int:
        return sum(add for *_, add in self.header["lines"])


def same(one: Curve, other: Curve) -> bool:
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in KINDS)


def nearly_same(one: Curve, other: Curve) -> bool:
    """Whether curves are equal but for the order in which they were added up."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in KINDS]
    return all(
        a.dtype == b.dtype and a.shape == b.shape and np.allclose(a, b, 1e-5, 1e-7, equal_nan=True)
        for a, b in pairs
    ) and np.allclose(one.x, other.x, 0.0, 1e-4)


def random_curve(rng: np.random.Generator, n: int, first: float = 0.0) -> Curve:
    x = first + np.cumsum(rng.integers(0, 3, n)) * 0.5  # some twice
    y, sigma = rng.normal(size=(2, n)).astype(np.float32)
    return Curve(x, y, np.where(rng.random(n) < 0.2, np.float32("nan"), np.abs(sigma)))


def changed(rng: np.random.Generator, curve: Curve) -> Curve:
    """Return what may become of a curve: usually it goes on."""
    columns = [curve.x, curve.y, curve.sigma]
    n = len(curve.x)
    what = rng.integers(8)
    if what == 0:
        return random_curve(rng, int(rng.integers(6)), 1e3 * rng.random())
    if what <= 2 and n:
        drop = int(rng.integers(n + 1))
        columns = [column[drop:] for column in columns]
    if what in (2, 3) and n > 3:
        cut = int(rng.integers(1, 3))
        columns = [column[:-cut] for column in columns]
    if what == 4 and n:
        columns[int(rng.integers(1, 3))] = random_curve(rng, len(columns[0])).y
    if what < 7:
        last = float(curve.x[-1]) if n else 0.0
        more = random_curve(rng, int(rng.integers(4)), last)
        columns = [
            np.concatenate([column, getattr(more, name)])
            for column, name in zip(columns, KINDS, strict=True)
        ]
    return Curve(*columns)


@pytest.mark.parametrize("seed", range(20))
def test_a_page_shows_what_it_was_told_in_parts(seed):
    rng = np.random.default_rng(seed)
    writer, page = DriftWriter(), Page()
    header = {"quantity": "row", "x": "frame", "request": 1}
    curves = {track: random_curve(rng, int(rng.integers(20))) for track in (5, 3, 8)}
    for number in range(1, 60):
        event = rng.integers(20)
        if event == 0:
            header = header | {"quantity": rng.choice(["row", "col"]).item()}
        elif event == 1:
            curves = {track: random_curve(rng, 9) for track in rng.permutation(6)[:3].tolist()}
        elif event == 2:
            writer.forget()
        curves = {track: changed(rng, curve) for track, curve in curves.items()}
        lines = Lines(header, curves)
        assert page.take(writer.write(lines))
        assert page.shows(lines)
        assert page.number == number
        if event == 2:
            assert page.header["base"] is None


def test_a_line_that_goes_on_costs_its_new_points_alone():
    rng = np.random.default_rng(1)
    whole = {track: random_curve(rng, 3000) for track in range(20)}

    def window(begin: int, end: int) -> Lines:
        cut = {
            track: Curve(*(getattr(curve, name)[begin:end] for name in KINDS))
            for track, curve in whole.items()
        }
        return Lines({"x": "frame"}, cut)

    writer, page = DriftWriter(), Page()
    assert len(writer.write(window(0, 2000))) > 20 * 2000 * 16
    message = writer.write(window(0, 2001))
    assert len(message) < 1500
    assert decode(message)[0]["lines"] == [[track, 0, 2000, 1] for track in range(20)]
    # Nothing new is said as that.
    assert decode(writer.write(window(0, 2001)))[0]["lines"][0] == [0, 0, 2001, 0]
    writer.forget()
    page.take(writer.write(window(0, 2001)))
    first = int(np.searchsorted(whole[0].x, whole[0].x[40]))
    page.take(writer.write(window(first, 2003)))
    assert page.shows(window(first, 2003))
    assert page.header["lines"][0] == [0, first, 2001 - first, 2]


def test_a_page_that_missed_a_message_knows():
    rng = np.random.default_rng(2)
    curve = random_curve(rng, 30)
    writer, page = DriftWriter(), Page()

    def upto(n: int) -> Lines:
        return Lines({}, {1: Curve(curve.x[:n], curve.y[:n], curve.sigma[:n])})

    assert page.take(writer.write(upto(10)))
    writer.write(upto(15))
    assert not page.take(writer.write(upto(20)))
    assert page.shows(upto(10))
    writer.forget()  # it asks
    assert page.take(writer.write(upto(25)))
    assert page.shows(upto(25))
    assert not Page().take(writer.write(upto(26)))  # nor one that has just come


class Slow:
    """A connection that takes one message at a time, when told."""

    def __init__(self) -> None:
        self.room, self.sent = asyncio.Semaphore(0), []

    async def send_bytes(self, message: bytes) -> None:
        await self.room.acquire()
        self.sent.append(message)

    async def until(self, count: int) -> None:
        self.room.release()
        async with asyncio.timeout(5):
            while len(self.sent) < count:
                await asyncio.sleep(0)


def test_what_is_replaced_before_it_goes_out_is_not_built_upon():
    rng = np.random.default_rng(3)
    curve = random_curve(rng, 200)
    asked = Watch(tracks=(1,), request=1)

    def upto(n: int, request: int = 1) -> Lines:
        return Lines({"request": request}, {1: Curve(curve.x[:n], curve.y[:n], curve.sigma[:n])})

    async def play() -> None:
        connection, page = Slow(), Page()
        viewer = Viewer(connection)
        task = asyncio.create_task(viewer.send())
        viewer.take(asked)
        viewer.put("drift", upto(10))
        await connection.until(1)
        assert page.take(connection.sent[-1])
        viewer.put("drift", upto(11))
        await asyncio.sleep(0.01)  # it is on its way, and stuck
        for n in range(12, 100):
            viewer.put("drift", upto(n))
        assert viewer.dropped == 87
        await connection.until(2)
        assert page.take(connection.sent[-1])
        assert page.shows(upto(11))
        await connection.until(3)
        assert page.take(connection.sent[-1])
        assert page.shows(upto(99))
        assert page.added == 88
        # The same request again, and another: both are answered by all.
        for request in (1, 2):
            viewer.sent["drift"] = "newest"
            viewer.take(Watch(tracks=(1,), request=request))
            assert "drift" not in viewer.sent  # so that it is made, though nothing is new
            viewer.put("drift", upto(99, request))
            await connection.until(3 + request)
            assert page.take(connection.sent[-1])
            assert page.header["base"] is None
        # Another tab was looked at for a while: nothing is lost.
        viewer.take(Hold(hold=True))
        viewer.take(Hold(hold=False))
        viewer.put("drift", encode("problem", {"text": "not known"}))
        await connection.until(6)
        viewer.put("drift", upto(120, 2))
        await connection.until(7)
        assert page.take(connection.sent[-1])
        assert page.shows(upto(120, 2))
        assert page.added == 21
        task.cancel()

    asyncio.run(play())


def observations(
    archive: Archive,
    rng: np.random.Generator,
    frames: np.ndarray,
    tracks: np.ndarray,
    share: float,
    series: int = 0,
) -> None:
    """Add frames with some of the tracks on each."""
    seen = rng.random((len(frames), len(tracks))) < share
    row, track = np.nonzero(seen)
    n = len(row)
    base = len(archive.frames)
    number = np.full(len(frames), series, np.int32)
    times = TIME_NS + series * 10**11 + frames * 10**7
    ones = np.ones(len(frames), np.int64)
    archive.frames.append({"series": number, "frame": frames, "count": ones, "time_ns": times})
    sigma = rng.uniform(0.01, 0.1, (3, n))
    sigma[rng.random((3, n)) < 0.1] = np.nan
    place = 50 + rng.normal(size=(2, n))
    place[rng.random((2, n)) < 0.05] = np.nan
    archive.peaks.append(
        {
            "frame_row": base + row, "track": tracks[track], "row": place[0], "col": place[1],
            "row_sigma": sigma[0], "col_sigma": sigma[1], "d": rng.normal(2.0, 0.01, n),
            "d_sigma": sigma[2],
        }
    )  # fmt: skip


GEOMETRY = Geometry.from_beam((0.0, 40.0), distance_m=0.2, pixel_m=(75e-6, 75e-6))


@pytest.mark.parametrize("seed", range(24))
def test_a_drift_that_grew_is_the_one_that_is_read_at_once(tmp_path, seed):
    rng = np.random.default_rng(seed)
    archive = Archive(tmp_path)
    grown = Drifts(archive)
    tracks = np.arange(6)
    plots = [
        Plot("row", "frame", points=7),
        Plot("distance", "time", points=40),
        Plot("radial", "frame", begin=30.0, end=400.5, points=12, geometry=GEOMETRY),
        Plot("strain", "time", begin=TIME_NS * 1e-9 + 2.0, points=20, geometry=GEOMETRY),
        Plot("col", "frame", points=10_000, reference_frames=25),
    ]
    plot = plots[seed % len(plots)]
    known = {1: (50.0, 50.0, 2.0), 2: (math.nan, math.nan, 2.0), 3: (50.5, 49.0, math.nan)}
    frame, series, lengths = 0, 0, set()
    for turn in range(40):
        # A few at a time; now and then a gap, or another series that counts anew.
        n = int(rng.integers(0, 30))
        if rng.random() < 0.05:
            frame, series = 0, series + 1
        frame += int(rng.random() < 0.1) * 200
        if turn % 16 == 15 and len(archive.frames):  # what the first lost moves all behind it
            first = archive.frames["frame"][archive.frames["series"] == 0]
            lost = {"frame": [first.max() + 1], "count": [40]}
            archive.frames.append({name: np.array(values) for name, values in lost.items()})
        new = np.arange(frame, frame + n)
        observations(archive, rng, new, tracks, rng.uniform(0.1, 1.0), series)
        frame += n
        wanted = rng.permutation(tracks)[: rng.integers(1, 7)].tolist()
        curves = grown.curves(plot, wanted, known)
        fresh = Drifts(archive).curves(plot, wanted, known)
        for track in wanted:
            assert nearly_same(curves[track], fresh[track])
            assert len(curves[track].x) <= plot.points
            rows = archive.peaks.take(archive.observations(track))
            expected = by_hand(archive, rows, known.get(track), plot)
            assert nearly_same(curves[track], expected)
            lengths.add(len(expected.x))
    assert len(lengths) > 3 or plot.points < 10


def by_hand(archive: Archive, rows: np.ndarray, reference, plot: Plot) -> Curve:
    """Return a drift made in one go, with the parts that reports are made of."""
    names = ("row", "col", "row_sigma", "col_sigma", "d", "d_sigma")
    seen = Observations(*(rows[name].astype(np.float64) for name in names))
    y, sigma = displaced(
        seen, reference, plot.geometry, plot.quantity, reference_frames=plot.reference_frames
    )
    frames = archive.frames
    numbers, start = frames["frame"].astype(float), 0.0
    for series in range(int(frames["series"].max(initial=0)) + 1):
        mine = frames["series"] == series
        numbers[mine] += start
        start = (numbers + frames["count"])[mine].max(initial=start)
    x = {"time": frames["time_ns"] * 1e-9, "frame": numbers}[plot.x][rows["frame_row"]]
    wanted = np.isfinite(y)
    wanted &= (x >= (plot.begin or -math.inf)) & (x <= (plot.end or math.inf))
    return thinned(x[wanted], y[wanted], sigma[wanted], plot.points)


@pytest.mark.parametrize("merges", [False, True])
def test_what_is_not_held_in_memory_is_read_and_shown_alike(tmp_path, monkeypatch, merges):
    monkeypatch.setattr("streamer.results.merging.AT_ONCE", 4)
    rng, parts = np.random.default_rng(7), []
    for first in range(0, 400, 20):
        frames = np.arange(first, first + 20)
        tracks = np.tile([7, 8, 9], 20)
        columns = {name: rng.normal(50, 1, 60) for name in ("row", "col", "d")}
        sigmas = {f"{name}_sigma": rng.uniform(0.1, 0.2, 60) for name in columns}
        peaks = {"series": ["a"] * 60, "frame": np.repeat(frames, 3), "track": tracks}
        parts.append(tables(["a"] * 20, frames, ["done"] * 20, peaks | columns | sigmas))
        n_peaks = pa.array(np.full(20, 3, np.int32))
        parts[-1] = (parts[-1][0].set_column(5, "n_peaks", n_peaks), parts[-1][1])
    folder = make_run(tmp_path / "run")
    full, short = Archive(folder.path), None
    plots = [
        Plot("row", "time", points=30),
        Plot("distance", "frame", points=50),
        Plot("col", "frame", begin=33.0, end=61.0, points=100),
        Plot("strain", "frame", begin=150.0, points=100, geometry=GEOMETRY),
    ]
    known = {7: (50.0, 50.0, 2.0), 8: (50.5, 49.0, math.nan)}
    for number, (frames, peaks) in enumerate(parts):
        folder.write_part(number, frames, peaks, upto=0, next_track=0)
        while merges and merge_next(folder.path):
            pass
        if number == 10:
            monkeypatch.setattr("streamer.dashboard.archive._HELD", 100)
            monkeypatch.setattr("streamer.dashboard.archive._FAR", 1)
            short = Archive(folder.path)
            few = Drifts(short)
        if number < 10 or number % 3:
            continue
        monkeypatch.setattr("streamer.dashboard.archive._HELD", 10**6)
        full.refresh(10.0)
        monkeypatch.setattr("streamer.dashboard.archive._HELD", 100)
        short.refresh(10.0)
        assert len(short.peaks) == len(full.peaks)
        assert short.peaks.n_held <= 100
        for name in ("first", "n"):
            assert short.frames[name].tolist() == full.frames[name].tolist()
        for row in rng.integers(len(full.frames), size=5).tolist():
            theirs, mine = (one.peaks_in(one.peaks_of(row)) for one in (full, short))
            assert mine["row"].tolist() == theirs["row"].tolist()
        for plot in plots:
            expected = Drifts(full).curves(plot, [9, 7, 8, 4], known)
            shown = few.curves(plot, [9, 7, 8, 4], known)
            assert few.is_whole
            assert len(expected[9].x) > 10
            for track, curve in expected.items():
                assert nearly_same(shown[track], curve)


def test_drifts_that_take_long_to_read_are_shown_as_far_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.dashboard.archive._HELD", 100)
    folder, rng = make_run(tmp_path / "run"), np.random.default_rng(8)
    for number in range(5):
        frames, peaks = one_track(rng)
        folder.write_part(number, frames, peaks, upto=0, next_track=0)
    archive = Archive(folder.path)
    archive.refresh(10.0)
    drifts, plot, shown = Drifts(archive), Plot("row", "frame", points=1000), []
    for _ in range(5):
        shown.append(len(drifts.curves(plot, [7], {}, limit_s=1e-9)[7].x))
        assert drifts.is_whole == (len(shown) == 5)
    assert shown == [100, 200, 300, 400, 500]


def test_stretches_double_and_only_then_do_points_change_that_have_others_behind_them(tmp_path):
    rng = np.random.default_rng(4)
    archive = Archive(tmp_path)
    drifts, writer, page = Drifts(archive), DriftWriter(), Page()
    plot, wholes, added = Plot("row", "frame", points=100), 0, 0
    for frame in range(2000):
        observations(archive, rng, np.arange(frame, frame + 1), np.arange(1), 1.0)
        lines = Lines({}, drifts.curves(plot, [0], {0: (50.0, 50.0, 2.0)}))
        assert page.take(writer.write(lines))
        ((_, _, keep, add),) = page.header["lines"]
        wholes += add > 2 and keep == 0
        added += add
    assert page.shows(lines)
    assert 50 <= len(lines.curves[0].x) <= 100
    assert wholes <= 5  # 2, 4, 8, 16 and 32 frames
    assert added < 2500


def curve_of(archive: Archive, plot: Plot, reference=None) -> Curve:
    known = {} if reference is None else {7: reference}
    return Drifts(archive).curves(plot, [7], known)[7]


def test_drift_along_the_line_from_the_beam_and_its_sigma(tmp_path):
    rng = np.random.default_rng(3)
    archive = Archive(make_run(tmp_path / "run", one_track(rng)).path)
    archive.refresh(1.0)
    seen = archive.peaks.take(archive.observations(7))
    radial = Plot("radial", "frame", geometry=GEOMETRY)
    curve = curve_of(archive, radial, (30.0, 80.0, math.nan))
    np.testing.assert_allclose(curve.y, (seen["row"] - 30) * 0.6, atol=1e-6)  # 30, 40, 50
    expected = np.hypot(0.6 * seen["row_sigma"], 0.8 * seen["col_sigma"])
    np.testing.assert_allclose(curve.sigma, expected, rtol=1e-5)
    assert curve.x.tolist() == list(range(100))
    strain = curve_of(archive, Plot("strain", "time", geometry=GEOMETRY, reference_frames=1))
    reference = GEOMETRY.locate(30.0, 80.0).two_theta
    at_end = GEOMETRY.locate(seen["row"][-1], 80.0).two_theta
    ratio = math.sin(math.radians(reference) / 2) / math.sin(math.radians(at_end) / 2)
    assert strain.y[-1] == pytest.approx(ratio - 1, rel=1e-4)
    assert strain.x[-1] == pytest.approx(TIME_NS * 1e-9 + 0.99, abs=1e-6)
    part = curve_of(archive, Plot("row", "frame", begin=10, end=19.5))
    assert part.x.tolist() == list(range(10, 20))


def test_neighbours_are_averaged_by_their_weights(tmp_path):
    rng = np.random.default_rng(4)
    sigma = rng.uniform(0.01, 0.1, 100)
    sigma[:16], sigma[20] = np.nan, np.nan
    archive = Archive(make_run(tmp_path / "run", one_track(rng, row_sigma=sigma)).path)
    archive.refresh(1.0)
    curve = curve_of(archive, Plot("row", "frame", points=10), (30.0, 80.0, math.nan))
    assert len(curve.x) == 7
    assert curve.x[0] == pytest.approx(7.5)  # none known: all weigh the same
    assert math.isnan(curve.sigma[0])
    row = archive.peaks["row"] - 30
    for n, bounds in ((1, (16, 32)), (6, (96, 100))):
        weight = np.nan_to_num(1 / sigma[slice(*bounds)].astype(np.float32) ** 2)
        mean = np.sum(weight * row[slice(*bounds)]) / np.sum(weight)
        assert curve.y[n] == pytest.approx(mean, rel=1e-4)
        assert curve.sigma[n] == pytest.approx(np.sum(weight) ** -0.5, rel=1e-4)


def test_drifts_of_many_tracks_are_quick_and_what_is_new_of_them_is_quicker(tmp_path):
    rng = np.random.default_rng(5)
    n_frames, n_tracks = 10_000, 200
    archive = Archive(tmp_path)

    def grow(first: int, n: int) -> None:
        numbers = np.arange(first, first + n)
        ones = np.ones(n, np.int64)
        times = TIME_NS + numbers * 10**7
        archive.frames.append({"frame": numbers, "count": ones, "time_ns": times})
        archive.peaks.append(
            {
                "frame_row": np.repeat(numbers, n_tracks),
                "track": np.tile(np.arange(n_tracks), n),
                "row": rng.normal(size=n * n_tracks),
                "row_sigma": np.full(n * n_tracks, 0.1),
            }
        )

    grow(0, n_frames)
    archive.observations(0)
    plot, drifts = Plot("row", "time", points=2000), Drifts(archive)

    def seconds(tracks) -> float:
        start = time.thread_time()
        curves = drifts.curves(plot, tracks, {})
        took = time.thread_time() - start
        assert all(1000 <= len(curve.x) <= 2000 for curve in curves.values())
        return took

    whole = min(seconds(range(first, 200, 10)) for first in range(4))
    assert whole < 0.1
    new = []
    for turn in range(5):
        grow(n_frames + 10 * turn, 10)
        new.append(seconds(range(3, 200, 10)))
    assert min(new) < whole / 4
    assert archive.nbytes < 500 << 20


def test_where_the_common_motion_is_to_be_removed_the_page_draws_what_a_run_gives(tmp_path):
    run = a_run(tmp_path, "tracks.common_motion=remove")
    archive = Archive(run.path, exact_motion=True)
    archive.refresh(10.0)
    for quantity in ("radial", "strain"):
        plot = Plot(quantity, "frame", points=1000, geometry=run.geometry, still=True)
        curve = Drifts(archive).curves(plot, [3], references(run.tracks))[3]
        wanted = run.drift(3, quantity)
        y, sigma = (wanted[name].to_numpy()[3:] for name in (quantity, f"{quantity}_sigma"))
        assert len(curve.y) == len(y)
        np.testing.assert_allclose(curve.y, y, atol=1e-7)
        np.testing.assert_allclose(curve.sigma, sigma, rtol=1e-5)
    with closing(RunView(run.path)) as view:
        view.refresh()
        view.refresh_tables()
        assert view.drift(Watch(tracks=(3,), quantity="row")).header["still"]
