from __future__ import annotations

import numpy as np
import pyarrow as pa

from streamer.config import Config, TracksConfig
from streamer.frames.flags import POOR_FIT
from streamer.frames.geometry import Geometry
from streamer.report.track_truth import judge
from streamer.results.schema import PEAKS
from streamer.simulator.scene import Scene
from streamer.tracks.linker import anchors
from streamer.tracks.tracker import Tracker
from workers.detect.choice import make_finder
from workers.detect.correction import Correction
from workers.detect.node import find_in_frame
from workers.place.methods import make_method
from workers.place.node import place_peaks

NOISE = 0.03


def a_truth(frames, spots):
    """Make a truth table from (row, col, first frame, end) and a drift in columns."""
    rows = [
        (k, s, row, col + drift * k, first <= k < end)
        for k in range(frames)
        for s, (row, col, drift, first, end) in enumerate(spots)
    ]
    frame, spot, row, col, visible = zip(*rows, strict=True)
    return pa.table(
        {
            "frame": pa.array(frame, pa.int64()),
            "spot": pa.array(spot, pa.int32()),
            "row": pa.array(row, pa.float64()),
            "col": pa.array(col, pa.float64()),
            "visible": visible,
            "amplitude": [500.0 if seen else 0.0 for seen in visible],
        }
    )


def found(truth, seed=0):
    """Make the peaks of all visible spots, with noise; the track is that of the spot."""
    rng = np.random.default_rng(seed)
    seen = truth.filter(truth["visible"])
    n = seen.num_rows
    columns = {name: np.zeros(n) for name in PEAKS.names} | {
        "series": ["1"] * n,
        "frame": seen["frame"].to_numpy(),
        "time_ns": seen["frame"].to_numpy() * 10**9,
        "row": seen["row"].to_numpy() + rng.normal(0, NOISE, n),
        "col": seen["col"].to_numpy() + rng.normal(0, NOISE, n),
        "row_sigma": np.full(n, NOISE),
        "col_sigma": np.full(n, NOISE),
        "score": np.full(n, 100.0),
        "track": seen["spot"].to_numpy().astype(np.int64),
    }
    return pa.table(
        {name: pa.array(columns[name]).cast(PEAKS.field(name).type) for name in PEAKS.names}
    )


def renamed(peaks, track):
    return peaks.set_column(PEAKS.get_field_index("track"), "track", pa.array(track))


SPOTS = [(20 + 40 * i, 30 + 20 * i, 0.01 * i, 0, 100) for i in range(8)]


def test_tracks_that_follow_their_spots_are_pure_complete_and_honest():
    truth = a_truth(100, SPOTS)
    quality = judge(truth, found(truth), TracksConfig(), None)
    assert (quality.tracks, quality.spells) == (8, 8)
    assert (quality.purity, quality.completeness) == (1, 1)
    assert np.median(np.abs(quality.drift_error)) < 0.02
    assert 0.7 < np.std(quality.drift_error / quality.drift_sigma) < 1.1
    assert np.isnan(quality.strain_error).all()
    assert len(quality.in_words()) == 2


def test_a_track_that_goes_over_to_another_spot_is_impure():
    truth = a_truth(100, SPOTS[:2])
    peaks = found(truth)
    track, frame = peaks["track"].to_numpy().copy(), peaks["frame"].to_numpy()
    swap = frame >= 75
    track[swap] = 1 - track[swap]
    quality = judge(truth, renamed(peaks, track), TracksConfig(), None)
    assert quality.purity == quality.completeness == 0.75


def test_a_spot_cut_into_tracks_is_incomplete_unless_it_was_away():
    truth = a_truth(100, SPOTS[:1])
    peaks = found(truth)
    cut = renamed(peaks, (peaks["frame"].to_numpy() >= 60).astype(np.int64))
    quality = judge(truth, cut, TracksConfig(), None)
    assert (quality.purity, quality.completeness) == (1, 0.6)
    away = [(20, 30, 0, 0, 50), (20, 30, 0, 60, 100)]
    truth = a_truth(100, away)
    truth = truth.set_column(1, "spot", pa.array([0] * truth.num_rows, pa.int32()))
    quality = judge(truth, found(a_truth(100, away)), TracksConfig(), None)
    assert (quality.spells, quality.completeness) == (2, 1)


def test_a_run_without_peaks_has_no_tracks():
    truth = a_truth(3, SPOTS)
    quality = judge(truth, PEAKS.empty_table(), TracksConfig(), None)
    assert quality.tracks == 0
    assert np.isnan(quality.purity)
    assert len(quality.in_words()) == 1


def a_scene(**changes):
    """Return a scene, its truth and its geometry."""
    scene = Scene(Config.model_validate({"simulate": changes}).simulate)
    header = scene.metadata()
    geometry = Geometry.from_beam(
        (header["beam_row"], header["beam_col"]),
        distance_m=header["detector_distance_m"],
        pixel_m=(header["pixel_size_m"],) * 2,
        wavelength_a=header["wavelength_angstrom"],
    )
    return scene, scene.truth(), geometry


def linked(frames):
    """Link the peaks of frames, given as columns of the peaks table, and return that table."""
    tracker = Tracker(3.0, 5, confirm=3)
    tables = []
    for frame, columns in enumerate(frames):
        n = len(columns["row"])
        where, flagged = anchors(columns, columns["peak_row"], columns["peak_col"])
        columns |= {
            "series": np.full(n, "1"),
            "frame": np.full(n, frame),
            "time_ns": np.full(n, frame * 10**9),
            "track": tracker.link(frame, where, flagged),
        }
        arrays = [
            pa.array(columns.get(field.name, np.zeros(n))).cast(field.type) for field in PEAKS
        ]
        tables.append(pa.Table.from_arrays(arrays, schema=PEAKS))
    return pa.concat_tables(tables)


def test_tracks_of_a_charge_cycle_follow_its_spots_through_both_phases():
    scene, truth, geometry = a_scene(spots=10, frames=200)
    config = Config()
    finder = make_finder("topology", config.detect.minval, config.detect.minscore)
    correction = Correction(bad=scene.pixel_mask)
    method = make_method(config.positions, 1)

    def seen(frame):
        peaks, patches = find_in_frame(scene.render(frame), correction, finder, method.patch_size)
        at = place_peaks(peaks, method.place(patches.counts, patches.valid))
        columns = {f"peak_{name}": peaks[name] for name in ("row", "col")}
        return columns | {"score": peaks["score"]} | {name: at[name] for name in at.dtype.names}

    peaks = linked(map(seen, range(200)))
    quality = judge(truth, peaks, TracksConfig(), geometry)
    assert quality.purity >= 0.98
    assert quality.completeness >= 0.98
    assert np.median(np.abs(quality.drift_error)) <= 0.02
    assert np.median(np.abs(quality.strain_error)) <= 1e-4
    # Where only one phase is there, nothing but noise and the pixel grid moves a position.
    drift, strain = [], []
    for first, last in ((0, 36), (80, 120), (164, 200)):
        frame = peaks["frame"].to_numpy()
        part = peaks.filter((frame >= first) & (frame < last))
        quality = judge(truth, part, TracksConfig(reference_frames=8), geometry)
        drift += (quality.drift_error / quality.drift_sigma).tolist()
        strain += (quality.strain_error / quality.strain_sigma).tolist()

    assert len(drift) >= 50
    assert 0.5 < np.std(drift) < 1.1
    assert np.mean(np.abs(strain) < 1.96) >= 0.9


def test_drift_and_strain_are_recovered_within_their_sigmas():
    """Spots of a charge cycle, misplaced by as much as their sigmas say, some missed or flagged."""
    _, truth, geometry = a_scene(spots=20, frames=400, seed=5)
    rng = np.random.default_rng(1)
    true = {name: truth[name].to_numpy(zero_copy_only=False) for name in truth.column_names}
    found = true["visible"] & (rng.random(truth.num_rows) > 0.02)

    def seen(frame):
        rows = np.flatnonzero(found & (true["frame"] == frame))
        blips = rng.uniform(0, 512, (rng.poisson(0.5), 2))
        at = np.concatenate([np.stack([true["row"][rows], true["col"][rows]], axis=1), blips])
        score = np.concatenate([true["amplitude"][rows], np.full(len(blips), 70.0)])
        sigma = 1.0 / np.sqrt(score)
        poor = rng.random(len(at)) < 0.01
        placed = at + rng.normal(0, 1, at.shape) * np.where(poor, 1.5, sigma)[:, None]
        return {
            **{name: np.rint(at[:, axis]) for axis, name in enumerate(("peak_row", "peak_col"))},
            **{name: placed[:, axis] for axis, name in enumerate(("row", "col"))},
            **dict.fromkeys(("row_sigma", "col_sigma"), sigma),
            "score": score,
            "flags": np.where(poor, POOR_FIT, 0),
        }

    quality = judge(truth, linked(map(seen, range(400))), TracksConfig(), geometry)
    assert quality.purity >= 0.98
    assert quality.completeness >= 0.97  # of 98 % that were found
    assert len(quality.drift_error) > 400
    assert np.median(np.abs(quality.drift_error)) <= 0.02
    # The sigmas allow for errors that neighbouring frames share; here there are none.
    assert 0.5 < np.std(quality.drift_error / quality.drift_sigma) < 0.9
    assert quality.strain_within >= 0.95
    assert quality.strain_sigmas <= 1.96
