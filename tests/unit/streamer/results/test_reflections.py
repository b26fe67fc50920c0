"""Spots of one reflection through a two-phase region."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamer.config import Config
from streamer.frames.geometry import Geometry
from streamer.frames.lattice import Lattice
from streamer.results import members as members_module
from streamer.results import open_run
from streamer.results.derived import derived, write_derived
from streamer.results.folder import RunFolder
from streamer.results.lattices import LatticeFits
from streamer.results.members import members
from streamer.results.reflections import phases, reflections
from streamer.results.rows import batches
from streamer.results.schema import FRAMES, LATTICE, PEAKS, REFLECTIONS
from streamer.tracks.catalogue import TrackCatalogue

GEOMETRY = Geometry.from_beam(
    (900.0, 100.0), distance_m=0.15, pixel_m=(75e-6, 75e-6), wavelength_a=0.6199, source="made up"
)
A = 8.17
PLANES = np.sqrt([8.0, 11.0, 16.0, 19.0, 32.0])
GRAINS = 20
FRAMES_N = 200
SIGMA = 0.02
JUMP = -0.019
"""Strain from phase to phase."""


def lattice_parameters(frame):
    """Return those of both phases: the first strains, then the other rises, then it goes back."""
    charge = 1.0 - np.abs(2.0 * frame / (FRAMES_N - 1) - 1.0)
    first = A * (1.0 - 0.010 * np.minimum(charge, 0.4) / 0.4)
    second = A * (1.0 - 0.010 + JUMP - 0.008 * np.maximum(charge - 0.7, 0.0) / 0.3)
    return first, second, np.clip((charge - 0.4) / 0.3, 0.0, 1.0)


def made_peaks(rng, wander=0.0, grains=GRAINS):
    """Return columns of peaks, three tracks for each reflection, with parents and the truth."""
    frame, grain = np.divmod(np.arange(FRAMES_N * grains), grains)
    first, second, share = lattice_parameters(frame)
    azimuth = -0.2 - 1.1 * grain / grains
    off = rng.normal(0.0, wander, grains)[grain]
    rows = []
    middle = frame >= FRAMES_N / 2
    for a, part, track in (
        (first, 1.0 - share, np.where(middle, grain + 2 * grains, grain)),
        (second, share, grain + grains),
    ):
        d = a / PLANES[grain % len(PLANES)] * (1.0 + off)
        radius = 0.15 / 75e-6 * np.tan(2.0 * np.arcsin(0.6199 / (2.0 * d)))
        there = part > 0.02
        at = 900.0 + radius * np.sin(azimuth), 100.0 + radius * np.cos(azimuth)
        rows.append(np.stack([frame, track, *at, part, a, part, d])[:, there])
    frame, track, row, col, part, a, _, _ = np.concatenate(rows, axis=1)
    order = np.lexsort((track, frame))
    frame, track, row, col, part, a = (x[order] for x in (frame, track, row, col, part, a))
    n = len(frame)
    intensity = 1e4 * part + 100.0 * rng.normal(size=n)
    peaks = {
        "series": np.zeros(n, np.int32),
        "frame": frame.astype(np.int64),
        "time_ns": (frame.astype(np.int64) + 1) * 10**9,
        "score": np.full(n, 100.0),
        "row": row + rng.normal(0.0, SIGMA, n),
        "col": col + rng.normal(0.0, SIGMA, n),
        "row_sigma": np.full(n, SIGMA),
        "col_sigma": np.full(n, SIGMA),
        "flags": np.zeros(n, np.int32),
        "track": track.astype(np.int64),
        "intensity": intensity,
        "intensity_sigma": np.full(n, 100.0),
    }
    parents = {g + grains * k: g + grains * (k - 1) for g in range(grains) for k in (1, 2)}
    return peaks, parents, a, part


def make_run(path, rng, **wishes):
    peaks, parents, a, part = made_peaks(rng, **wishes)
    catalogue = TrackCatalogue(reference_frames=10)
    catalogue.extend(["s"], peaks, parents)
    folder = RunFolder.create(path)
    place = GEOMETRY.locate(*(peaks[x] for x in ("row", "col", "row_sigma", "col_sigma")))
    columns = {name: np.full(len(a), np.nan) for name in PEAKS.names} | peaks
    columns |= {"series": ["s"] * len(a), "d": place.d, "d_sigma": place.d_sigma}
    columns |= {"peak_row": np.zeros(len(a), int), "peak_col": np.zeros(len(a), int)}
    table = pa.table({name: columns[name] for name in PEAKS.names}).cast(PEAKS)
    n_peaks = np.bincount(peaks["frame"], minlength=FRAMES_N)
    frames = {name: np.full(FRAMES_N, np.nan) for name in FRAMES.names}
    frames |= {"series": ["s"] * FRAMES_N, "frame": np.arange(FRAMES_N), "n_peaks": n_peaks}
    frames |= {"time_ns": np.arange(1, FRAMES_N + 1) * 10**9, "state": ["done"] * FRAMES_N}
    frames |= {"reason": [""] * FRAMES_N, "count": np.ones(FRAMES_N, int)}
    frames = pa.table({name: frames[name] for name in FRAMES.names}).cast(FRAMES)
    folder.write_part(0, frames, table, upto=0, next_track=1000)
    crystal = Lattice((A, A, A, 90.0, 90.0, 90.0), "F")
    folder.write_tracks(catalogue.measure(GEOMETRY, crystal))
    folder.write_geometry(GEOMETRY)
    (path / "config.yaml").write_text(f"lattice: {{a: {A}, centring: F}}\n")
    folder.write_summary({"state": "done"})
    return folder, a, part


@pytest.fixture
def made(tmp_path):
    return make_run(tmp_path / "run", np.random.default_rng(11))


def within(found, true, sigma):
    return np.mean(np.abs(found - true) <= 1.96 * sigma)


def test_strains_go_on_through_the_two_phase_region(made):
    folder, a, part = made
    rows = pa.concat_tables(members(folder, folder.read_tracks(), GEOMETRY))
    assert rows.schema.equals(REFLECTIONS)
    found = {name: rows[name].to_numpy() for name in REFLECTIONS.names if name != "series"}
    order = np.lexsort((found["track"], found["frame"]))
    found = {name: column[order] for name, column in found.items()}
    # Each reflection is there on each frame, and counts from where it began.
    pairs = set(zip(found["frame"].tolist(), found["reflection"].tolist(), strict=True))
    assert len(pairs) == FRAMES_N * GRAINS
    start = lattice_parameters(np.arange(10))[0].mean()
    assert 0.94 < within(found["strain"], a / start - 1.0, found["strain_sigma"]) < 0.97
    assert found["strain"].min() < -0.03
    both = (part > 0.1) & (part < 0.9)
    share = within(found["share"][both], part[both], found["share_sigma"][both])
    assert 0.94 < share < 0.96
    expected = (found["track"] // GRAINS == 1).astype(int)
    np.testing.assert_array_equal(found["phase"], expected)


def test_rows_are_the_same_however_many_are_read_at_once(made, monkeypatch):
    folder, *_ = made
    whole = pa.concat_tables(members(folder, folder.read_tracks(), GEOMETRY))
    monkeypatch.setattr(members_module, "batches", lambda *a, **k: batches(*a, **k, rows=97))
    tables = list(members(folder, folder.read_tracks(), GEOMETRY))
    assert len(tables) > 50
    assert pa.concat_tables(tables).equals(whole)


def test_a_spot_too_far_for_a_parent_is_of_the_reflection_that_it_is_strained_from(made):
    folder, *_ = made
    tracks = folder.read_tracks()
    number = tracks["track"].to_numpy()
    whole = number % GRAINS
    parent = tracks["parent"].to_numpy().copy()
    parent[np.isin(number, [3 + GRAINS, 7 + 2 * GRAINS])] = -1

    def of(tracks, geometry, **changed):
        for name, column in changed.items():
            place = tracks.column_names.index(name)
            tracks = tracks.set_column(place, name, pa.array(column))
        return reflections(tracks, geometry)

    assert of(tracks, GEOMETRY, parent=parent).tolist() == whole.tolist()
    alone = of(tracks, None, parent=parent)
    assert alone[number == 3 + GRAINS].tolist() == [3 + GRAINS]
    # Elsewhere, or where nobody knows how far spots part, none is taken for its parent.
    row = tracks["ref_row"].to_numpy().copy()
    row[number == 3 + GRAINS] += 15.0
    assert of(tracks, GEOMETRY, parent=parent, ref_row=row)[number == 3 + GRAINS] == 3 + GRAINS
    nobody = np.full(len(number), -1)
    assert of(tracks, GEOMETRY, parent=nobody).tolist() == number.tolist()
    # Of two that it may come from, none.
    twin = tracks.filter(number == 3).to_pylist()[0] | {"track": 1000}
    more = pa.concat_tables([tracks, pa.Table.from_pylist([twin], tracks.schema)])
    found = of(more, GEOMETRY, parent=[*parent, -1])
    assert found[more["track"].to_numpy() == 3 + GRAINS] == 3 + GRAINS


def test_phases_are_named_by_what_was_first(made):
    folder, *_ = made
    tracks = folder.read_tracks()
    assert phases(tracks, GEOMETRY).tolist() == [0] * GRAINS + [1] * GRAINS + [0] * GRAINS
    assert set(phases(tracks, None)) == {-1}
    # A reflection of one spot, in a run where others part, is known only before they do.
    alone = tracks.filter(tracks["reflection"].to_numpy() != 3)
    more = tracks.filter(tracks["track"].to_numpy() == 3)
    early = more.set_column(
        more.column_names.index("last_time_ns"), "last_time_ns", pa.array([20 * 10**9])
    )
    assert phases(pa.concat_tables([alone, more]), GEOMETRY)[-1] == -1
    assert phases(pa.concat_tables([alone, early]), GEOMETRY)[-1] == 0


def test_a_successor_that_stands_further_off_is_of_the_other_phase(made):
    folder, *_ = made
    tracks = folder.read_tracks()
    gone = tracks["last_time_ns"].to_numpy().copy()
    gone[5] = tracks["first_time_ns"][5 + GRAINS].as_py() - 10**9  # ends before the next begins
    place = tracks.column_names.index("last_time_ns")
    tracks = tracks.set_column(place, "last_time_ns", pa.array(gone))
    tracks = tracks.filter(tracks["track"].to_numpy() != 5 + 2 * GRAINS)
    number = tracks["track"].to_numpy()
    assert phases(tracks, GEOMETRY)[number == 5 + GRAINS] == 1


def test_spots_that_part_without_a_difference_in_spacing_are_of_one_phase(made):
    folder, *_ = made
    tracks = folder.read_tracks().slice(0, 2)
    numbers = pa.array([0, 0])
    tracks = tracks.set_column(tracks.column_names.index("reflection"), "reflection", numbers)
    geometry = Geometry.from_beam(
        (900.0, 100.0), distance_m=0.15, pixel_m=(75e-6, 75e-6), wavelength_a=0.6199
    )
    for name in ("ref_row", "row", "ref_col", "col"):  # mirrored about the row of the beam
        value = tracks[name].to_numpy()[0]
        mirrored = 1800.0 - value if "row" in name else value
        column = pa.array([value, mirrored])
        tracks = tracks.set_column(tracks.column_names.index(name), name, column)
    assert phases(tracks, geometry).tolist() == [0, 0]


def test_lattice_parameters_come_back(tmp_path):
    shares, sigmas = [], []
    for seed in range(12):
        folder, *_ = make_run(tmp_path / f"{seed}", np.random.default_rng(seed), wander=3e-4)
        tracks = folder.read_tracks()
        fits = LatticeFits(Lattice((A, A, A, 90.0, 90.0, 90.0), "F"), tracks)
        rows = pa.concat_tables([fits.of(one) for one in members(folder, tracks, GEOMETRY)])
        assert rows.schema.equals(LATTICE)
        first, second, share = lattice_parameters(np.arange(FRAMES_N))
        frame, phase = rows["frame"].to_numpy(), rows["phase"].to_numpy()
        assert len(rows) == (share < 0.98).sum() + (share > 0.02).sum()
        assert set(rows["n_reflections"].to_pylist()) == {GRAINS}
        true = np.where(phase == 0, first[frame], second[frame])
        shares.append(within(rows["a"].to_numpy(), true, rows["a_sigma"].to_numpy()))
        sigmas.append(rows["scatter"].to_numpy().mean())
        assert set(rows["gamma_sigma"].to_pylist()) == {0.0}
    assert 0.85 < np.mean(shares) <= 1.0  # grains stay where they are: each run is one trial
    assert np.mean(sigmas) == pytest.approx(3e-4, rel=0.15)


def test_without_scatter_lattice_parameters_are_as_exact_as_spacings(made):
    folder, *_ = made
    tracks = folder.read_tracks()
    fits = LatticeFits(Lattice((A, A, A, 90.0, 90.0, 90.0), "F"), tracks)
    rows = pa.concat_tables([fits.of(one) for one in members(folder, tracks, GEOMETRY)])
    first, second, _ = lattice_parameters(rows["frame"].to_numpy())
    true = np.where(rows["phase"].to_numpy() == 0, first, second)
    assert 0.92 < within(rows["a"].to_numpy(), true, rows["a_sigma"].to_numpy()) < 0.98
    assert np.mean(rows["chi2"].to_numpy()) == pytest.approx(GRAINS - 1, rel=0.1)


def test_what_the_crystal_system_leaves_free_must_be_told_by_the_spacings(made):
    folder, *_ = made
    tracks = folder.read_tracks()
    rows = list(members(folder, tracks, GEOMETRY))
    # The planes are along one direction only where one kind of them is left.
    one = tracks.filter(tracks["reflection"].to_numpy() == 0)
    fits = LatticeFits(Lattice((A, A, A * 1.0001, 90.0, 90.0, 90.0), "F", 1e-3), one)
    assert sum(len(fits.of(table)) for table in rows) == 0


def test_a_run_keeps_them_and_computes_what_is_not_kept(made):
    folder, *_ = made
    config = Config(lattice={"a": A, "centring": "F"})
    computed = open_run(folder.path)
    reflections, lattice = computed.reflections, computed.lattice
    assert len(lattice) > FRAMES_N
    write_derived(folder, config)
    kept = pq.read_table(folder.path / "reflections.parquet")
    assert kept.replace_schema_metadata(None).equals(reflections)
    again = open_run(folder.path)
    assert again.reflections.equals(reflections)
    assert again.lattice.equals(lattice)
    pq.write_table(kept.slice(0, 5), folder.path / "reflections.parquet")
    assert sum(map(len, derived(folder, config, "reflections"))) == 5
    # What came after makes it stale.
    folder.write_part(1, FRAMES.empty_table(), PEAKS.empty_table(), upto=1, next_track=1000)
    assert pa.concat_tables(derived(folder, config, "reflections")).equals(reflections)


def test_a_reflection_has_means_weighted_by_shares(made):
    folder, *_ = made
    run = open_run(folder.path)
    rows = run.reflection(3 + GRAINS)
    assert set(rows["track"].to_pylist()) == {3, 3 + GRAINS, 3 + 2 * GRAINS}
    frames = rows["frame"].to_numpy()
    alone = rows.filter(pa.array(np.bincount(frames)[frames] == 1))
    assert alone["mean_strain"].equals(alone["strain"])
    np.testing.assert_allclose(alone["mean_d_sigma"], alone["d_sigma"])
    first, second, share = lattice_parameters(np.arange(FRAMES_N))
    good = []
    for number in range(GRAINS):
        rows = run.reflection(number)
        frame, a = rows["frame"].to_numpy(), (1.0 - share) * first + share * second
        both = (share[frame] > 0.1) & (share[frame] < 0.9)
        found, sigma = (rows[f"mean_{name}"].to_numpy()[both] for name in ("d", "d_sigma"))
        good.append(within(found, a[frame][both] / PLANES[number % len(PLANES)], sigma))
    assert 0.93 < np.mean(good) < 0.97
