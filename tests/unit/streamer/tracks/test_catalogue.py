from __future__ import annotations

import numpy as np
import pytest

from streamer.frames.flags import NEIGHBOUR, POOR_FIT
from streamer.frames.geometry import Geometry
from streamer.results.schema import TRACKS
from streamer.tracks.catalogue import TrackCatalogue

GEOMETRY = Geometry.from_beam(
    (0.0, 0.0), distance_m=0.2, pixel_m=(1e-4, 1e-4), wavelength_a=0.5, source="test"
)
SECOND = 10**9


def observations(track, frames, row, col, sigma=0.05, flags=0, score=100.0):
    """Make the columns of the peaks of one track."""
    n = len(frames)
    return {
        "series": np.zeros(n, np.int32),
        "frame": np.asarray(frames, np.int64),
        "time_ns": (np.asarray(frames, np.int64) + 1) * SECOND,
        "score": np.full(n, score),
        "row": np.broadcast_to(row, n).astype(float),
        "col": np.broadcast_to(col, n).astype(float),
        "row_sigma": np.broadcast_to(sigma, n).astype(float),
        "col_sigma": np.broadcast_to(sigma, n).astype(float),
        "flags": np.broadcast_to(flags, n).astype(np.int32),
        "track": np.full(n, track, np.int64),
    }


def together(*parts):
    """Put tracks together, frame after frame."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["frame"], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def only_row(catalogue, geometry=None):
    (row,) = catalogue.measure(geometry).to_pylist()
    return row


def test_a_drift_is_the_newest_mean_less_the_first():
    catalogue = TrackCatalogue(reference_frames=10)
    frames = np.arange(50)
    catalogue.extend(["a"], observations(7, frames, 100 + 0.1 * frames, 200.0))
    row = only_row(catalogue)
    assert (row["series"], row["track"], row["parent"], row["merged_into"]) == ("a", 7, -1, -1)
    assert (row["first_frame"], row["last_frame"], row["n_frames"]) == (0, 49, 50)
    assert (row["first_time_ns"], row["last_time_ns"]) == (SECOND, 50 * SECOND)
    assert row["ref_row"] == pytest.approx(100.45)
    assert row["row"] == pytest.approx(104.45)
    assert (row["drift_row"], row["drift_col"]) == pytest.approx((4.0, 0.0))
    assert row["drift"] == pytest.approx(4.0)
    assert row["rate"] == pytest.approx(360.0)
    alone = 0.05 * np.sqrt((1 + 9 * 0.07) / 10)
    assert row["row_sigma"] == pytest.approx(alone)
    assert row["drift_sigma"] == pytest.approx(np.sqrt(2) * alone, rel=5e-3)
    # Slightly less than 4 px in a direction that was known before.
    assert 0.99 < row["significance"] / (4.0 / row["drift_sigma"]) < 1.0
    assert np.isnan([row["d"], row["strain"], row["strain_sigma"]]).all()
    assert catalogue.measure(None).schema.equals(TRACKS)


def test_frames_without_times_have_a_rate_for_each_frame():
    catalogue = TrackCatalogue(reference_frames=10)
    frames = np.arange(100, 150)
    peaks = observations(7, frames, 100 + 0.1 * frames, 200.0)
    catalogue.extend(["a"], peaks | {"time_ns": np.zeros(50, np.int64)})
    row = only_row(catalogue)
    assert np.isnan([row["rate"], row["rate_sigma"]]).all()
    assert row["rate_per_frame"] == pytest.approx(0.1)
    assert 0 < row["rate_per_frame_sigma"] < 0.01
    assert row["drift"] == pytest.approx(4.0)
    timed = TrackCatalogue()
    timed.extend(["a"], peaks)
    assert np.isnan(only_row(timed)["rate_per_frame"])


def test_with_a_geometry_the_drift_is_that_away_from_the_beam():
    catalogue = TrackCatalogue()
    frames = np.arange(40)
    catalogue.extend(["a"], observations(0, frames, 300.0 - 0.1 * frames, 400 + 0.1 * frames))
    row = only_row(catalogue, GEOMETRY)
    away = GEOMETRY.radial(row["ref_row"], row["ref_col"])
    assert row["drift"] == pytest.approx(away @ [row["drift_row"], row["drift_col"]])
    assert 0 < row["drift"] < np.hypot(row["drift_row"], row["drift_col"])
    names = ("row", "col", "row_sigma", "col_sigma")
    now, ref = (GEOMETRY.locate(*(row[f"{when}{name}"] for name in names)) for when in ("", "ref_"))
    assert (row["d"], row["ref_d"]) == pytest.approx((now.d, ref.d))
    assert row["strain"] == pytest.approx(now.d / ref.d - 1)
    assert row["strain"] < 0
    relative = np.hypot(now.d_sigma / now.d, ref.d_sigma / ref.d)
    assert row["strain_sigma"] == pytest.approx(relative, rel=1e-2)


def test_strain_is_known_without_a_wavelength():
    silent = Geometry.from_beam((0, 0), distance_m=0.2, pixel_m=(1e-4, 1e-4))
    catalogue = TrackCatalogue()
    frames = np.arange(40)
    catalogue.extend(["a"], observations(0, frames, 300.0, 400 + 0.1 * frames))
    known, unknown = only_row(catalogue, GEOMETRY), only_row(catalogue, silent)
    assert unknown["strain"] == pytest.approx(known["strain"])
    assert unknown["strain_sigma"] == pytest.approx(known["strain_sigma"])
    assert np.isnan(unknown["d"])


def test_better_sightings_weigh_more():
    catalogue = TrackCatalogue(reference_frames=2)
    catalogue.extend(
        ["a"], observations(0, range(4), [10, 11, 12, 13], 5.0, sigma=[1, 0.5, 1, 0.5])
    )
    row = only_row(catalogue)
    assert row["ref_row"] == pytest.approx((10 + 4 * 11) / 5)
    assert row["row"] == pytest.approx((12 + 4 * 13) / 5)


def test_a_short_track_gives_half_of_its_sightings_to_each_mean():
    catalogue = TrackCatalogue(reference_frames=10)
    catalogue.extend(["a"], observations(0, range(5), np.arange(5.0), 5.0))
    row = only_row(catalogue)
    assert (row["ref_row"], row["row"]) == (0.5, 3.5)


def test_what_does_not_look_like_a_peak_counts_only_where_nothing_does():
    catalogue = TrackCatalogue(reference_frames=3)
    flags = np.where(np.arange(12) % 2, 0, POOR_FIT)
    at = np.where(flags, 90.0, 10.0)
    catalogue.extend(["a"], observations(0, range(12), at, at, flags=flags))
    catalogue.extend(["a"], observations(1, range(12, 24), 50.0, 50.0, flags=POOR_FIT))
    spot, hot = catalogue.measure(None).to_pylist()
    assert (spot["row"], spot["ref_row"], spot["n_frames"], spot["flags"]) == (10, 10, 12, 0)
    assert (hot["row"], hot["flags"]) == (50, POOR_FIT)
    assert len(catalogue.top(5)) == 1


def test_scatter_beyond_the_sigmas_makes_them_larger():
    rng = np.random.default_rng(0)
    at = 10 + rng.normal(0, 0.5, 20)
    rows = []
    for sigma in (0.05, np.nan):
        catalogue = TrackCatalogue()
        catalogue.extend(["a"], observations(0, range(20), at, at, sigma=sigma))
        rows.append(only_row(catalogue))
    assert 0.1 < rows[0]["row_sigma"] < 0.4
    # Where no sigma is known, the scatter is all there is.
    assert rows[1]["row_sigma"] == pytest.approx(rows[0]["row_sigma"])


def still_spots(n_frames, n=3000, claimed=1.0, seed=1):
    """Make tracks of spots that stand still, some claiming to be `claimed` of their sigma sure."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(np.arange(n_frames), n)
    tracks = observations(0, frames, 0.0, 0.0) | {"track": np.tile(np.arange(n), n_frames)}
    claims = np.where(rng.random(len(frames)) < 0.1, claimed, 1.0)
    for name, sigma in (("row", 0.05), ("col", 0.02)):
        true = sigma * np.exp(rng.normal(0, 0.2, len(frames)))
        tracks[name] = 500.0 + rng.normal(0, 1, len(frames)) * true
        tracks[f"{name}_sigma"] = claims * true
    return tracks


@pytest.mark.parametrize("n_frames", [4, 10, 20, 60])
@pytest.mark.parametrize("geometry", [None, GEOMETRY])
def test_where_nothing_moves_few_drifts_are_significant(n_frames, geometry):
    catalogue = TrackCatalogue()
    catalogue.extend(["a"], still_spots(n_frames))
    table = catalogue.measure(geometry)
    for name in ("drift_row", "drift_col"):
        pull = table[name].to_numpy() / table[f"{name}_sigma"].to_numpy()
        assert 0.88 < pull.std() < 1.02
    assert np.mean(table["significance"].to_numpy() > 3) < 0.005


def test_sightings_that_claim_too_much_make_no_drift():
    catalogue = TrackCatalogue()
    catalogue.extend(["a"], still_spots(20, claimed=0.2))
    assert np.mean(catalogue.measure(GEOMETRY)["significance"].to_numpy() > 3) < 0.03


def test_a_spot_that_jumps_between_two_answers_has_not_moved():
    at = 50 + np.array([0, 0, 0, 0, 0, 0.9, 0.9, 0.9, 0, 0.9])
    catalogue = TrackCatalogue()
    catalogue.extend(["a"], observations(0, range(10), at, 500.0))
    assert only_row(catalogue, GEOMETRY)["significance"] < 3


def test_a_step_of_the_answer_is_in_the_sigma_of_the_drift():
    catalogue = TrackCatalogue()
    frames = np.arange(40)
    at = 300.0 + 0.6 * (frames >= 20)
    catalogue.extend(["a"], observations(0, frames, at, 400.0), steps={0: (0.36, 0.0)})
    row = only_row(catalogue, GEOMETRY)
    assert row["drift_row_sigma"] == pytest.approx(0.6, rel=0.01)
    assert row["drift_col_sigma"] < 0.05
    assert row["strain_sigma"] > np.abs(row["strain"]) * 0.9
    assert row["row_sigma"] < 0.05


def test_what_neighbouring_frames_share_cancels_where_a_spot_stands_still():
    still, moved = TrackCatalogue(), TrackCatalogue()
    frames = np.arange(40)
    still.extend(["a"], observations(0, frames, 300.0, 400.0))
    moved.extend(["a"], observations(0, frames, 300.0 + 0.2 * frames, 400.0))
    one, other = (only_row(catalogue, GEOMETRY) for catalogue in (still, moved))
    assert one["row_sigma"] == pytest.approx(other["row_sigma"])
    for name in ("drift_row_sigma", "strain_sigma"):
        assert one[name] * np.sqrt(1 + 9 * 0.07) == pytest.approx(other[name], rel=0.02)


@pytest.mark.parametrize(("first", "last", "ref"), [(0, 100, 49.5), (70, 100, 74.5), (0, 30, 24.5)])
def test_the_reference_is_taken_around_the_frame_that_was_chosen(first, last, ref):
    frames = np.arange(first, last)
    catalogue = TrackCatalogue(reference_frames=10, reference_frame=50)
    for start in range(0, 100, 7):
        part = frames[(frames >= start) & (frames < start + 7)]
        catalogue.extend(["a"], observations(0, part, part.astype(float), 0.0))
    assert only_row(catalogue)["ref_row"] == pytest.approx(ref)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_it_does_not_matter_how_peaks_are_cut_into_parts(step):
    rng = np.random.default_rng(3)
    tracks = []
    for k, start in enumerate(np.sort(rng.integers(0, 60, 20))):  # numbers grow
        n = int(rng.integers(1, 40))
        row, col = rng.normal(20 * k, 1, n), rng.normal(0, 1, n)
        flags = rng.choice([0, 0, POOR_FIT, NEIGHBOUR], n)
        tracks.append(observations(k, start + np.arange(n), row, col, flags=flags))
    peaks = together(*tracks)
    whole, cut = TrackCatalogue(), TrackCatalogue()
    whole.extend(["a"], peaks, {3: 1}, {5: 2})
    for start in range(0, 100, step):
        new = (peaks["frame"] >= start) & (peaks["frame"] < start + step)
        cut.extend(["a"], {name: column[new] for name, column in peaks.items()})
    cut.extend([], {name: column[:0] for name, column in peaks.items()}, {3: 1}, {5: 2})
    ours, theirs = whole.measure(GEOMETRY), cut.measure(GEOMETRY)
    for name in TRACKS.names:
        if TRACKS.field(name).type == "double":
            np.testing.assert_allclose(
                theirs[name].to_numpy(), ours[name].to_numpy(), rtol=1e-6, err_msg=name
            )
        else:
            assert theirs[name].to_pylist() == ours[name].to_pylist()


def test_tracks_that_are_too_short_have_no_row_and_are_forgotten():
    catalogue = TrackCatalogue(confirm_frames=3)
    for start in range(0, 10_000, 500):
        frames = np.arange(start, start + 500)
        blips = observations(0, frames, 50.0, 50.0) | {"track": frames + 1}
        catalogue.extend(["a"], together(observations(0, frames, 10.0, 10.0), blips))
    assert catalogue.n_confirmed == catalogue.measure(None).num_rows == 1
    assert catalogue._n < 5000


def test_tracks_are_measured_in_pieces_while_others_come_and_go(monkeypatch):
    monkeypatch.setattr("streamer.tracks.catalogue.AT_ONCE", 100)
    catalogue = TrackCatalogue(confirm_frames=3)
    catalogue._check = 10**6  # nothing is forgotten before this is measured
    long = np.arange(1000, 1050)
    for track in range(900):  # most are seen once
        frames = long if track % 10 == 0 else long[:1]
        catalogue.extend(["a"], observations(track, frames - 1000 + 50 * track, 9.0, 9.0))
    pieces = catalogue.measuring(None)
    for n in range(3):
        assert next(pieces) is None
        known = catalogue._n
        catalogue.extend(["a"], observations(900 + n, 10**6 + long, 9.0, 9.0))
    catalogue._check = 0
    catalogue.extend(["a"], observations(903, 10**7 + long, 9.0, 9.0))
    assert catalogue._n < known
    *_, table = pieces
    assert table["track"].to_pylist() == [*range(0, 900, 10), 900, 901, 902, 903]
    assert set(table["n_frames"].to_pylist()) == {50}


def test_the_most_significant_drifts_come_first():
    catalogue = TrackCatalogue()
    frames = np.arange(40)
    catalogue.extend(
        ["a"],
        together(*(observations(k, frames, 50 * k + 0.01 * k * frames, 0.0) for k in range(5))),
    )
    assert catalogue.top(3) == []
    table = catalogue.measure(None)
    top = catalogue.top(3)
    assert [track for track, *_ in top] == [4, 3, 2]
    assert [track for track, *_ in catalogue.top(3, also={3, 0})] == [4, 3, 2, 0]
    assert [drift for _, drift, *_ in top] == table["drift"].to_pylist()[:1:-1]
    assert all(sigma > 0 for _, _, sigma, *_ in top)
    assert len(catalogue.top(100)) == 5


def test_an_empty_book_has_an_empty_table():
    catalogue = TrackCatalogue()
    assert catalogue.measure(GEOMETRY).schema.equals(TRACKS)
    assert catalogue.measure(GEOMETRY).num_rows == catalogue.n_confirmed == 0


def test_a_spot_and_what_it_split_into_are_one_reflection():
    catalogue = TrackCatalogue(reference_frames=3)
    spots = together(*(observations(n, np.arange(12), 100.0, 20.0 * n) for n in range(5)))
    catalogue.extend(["a"], spots, {3: 1}, {4: 3})
    table = catalogue.measure(None)
    assert table["reflection"].to_pylist() == [0, 1, 2, 1, 1]


@pytest.mark.parametrize("pieces", [1, 7, 80])
def test_an_excursion_is_where_a_track_was_farthest_however_peaks_come(pieces):
    catalogue = TrackCatalogue(reference_frames=10)
    frames = np.arange(80)
    row = 100.0 + np.minimum(frames, 79 - frames) / 10.0
    peaks = observations(7, frames, row, 200.0)
    for rows in np.array_split(np.arange(80), pieces):
        catalogue.extend(["a"], {name: column[rows] for name, column in peaks.items()})
    found = only_row(catalogue, GEOMETRY)
    assert found["drift_row"] == pytest.approx(0.0)
    far, ref = row[30:40].mean(), row[:10].mean()
    along = GEOMETRY.radial(ref, 200.0)[0]
    assert found["excursion"] == pytest.approx(along * (far - ref))
    alone = 0.05 * np.sqrt((1 + 9 * 0.05) / 10)
    assert found["excursion_sigma"] == pytest.approx(np.sqrt(2) * alone, rel=0.1)
    spacing = GEOMETRY.locate(far, 200.0).d / GEOMETRY.locate(ref, 200.0).d
    assert found["strain_excursion"] == pytest.approx(spacing - 1.0)


def test_a_track_that_never_was_farther_than_now_is_at_its_excursion():
    catalogue = TrackCatalogue(reference_frames=10)
    frames = np.arange(47)
    catalogue.extend(["a"], observations(7, frames, 100 + 0.1 * frames, 200.0))
    found = only_row(catalogue)
    assert (found["excursion"], found["excursion_sigma"]) == (found["drift"], found["drift_sigma"])
