from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.frames.geometry import Geometry
from streamer.results.motion import still
from streamer.results.schema import MOTION
from streamer.tracks.motion import CommonMotion
from streamer.tracks.similarity import fit

ABOUT = np.array([128.0, 300.0])
TRUTH = {"row": 0.5, "col": -0.2, "angle": 0.3, "scale": 0.001}
SIGMA = 0.02


def moved(places, row=0.0, col=0.0, angle=0.0, scale=0.0):
    """Return where spots are after a motion of all, angles from columns towards rows."""
    dr, dc = (places - ABOUT).T * (1.0 + scale)
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return ABOUT + np.stack([row + cosine * dr + sine * dc, col + cosine * dc - sine * dr], axis=1)


def told(places, now, n_frames, sigma=SIGMA):
    """Return the motion of frames on which all spots are."""
    frame = np.repeat(np.arange(n_frames), len(places))
    places = np.tile(places, (n_frames, 1))
    return fit(places, now, np.full(len(now), sigma), frame, n_frames, ABOUT).columns()


def a_scene(places, shifts, rng, *, sigma=SIGMA, born=None):
    """Return columns of peaks of spots that all move by `shifts`, (frames, 2), while they live."""
    frame, spot = (one.ravel() for one in np.indices((len(shifts), len(places))))
    alive = frame >= (0 if born is None else np.asarray(born)[spot])
    frame, spot = frame[alive], spot[alive]
    where = places[spot] + shifts[frame] + rng.normal(0, sigma, (len(spot), 2))
    sigmas = np.full(len(spot), sigma)
    return {
        "series": np.zeros(len(spot), np.int64), "frame": frame, "track": spot,
        "row": where[:, 0], "col": where[:, 1], "row_sigma": sigmas, "col_sigma": sigmas,
        "flags": np.zeros(len(spot), np.int64),
    }  # fmt: skip


def plainly(places, now, sigma):
    """Return shift about `ABOUT` and turn of a frame, by least squares with weights that change."""
    known = sigma > 0
    used = known if known.any() else np.ones(len(sigma), bool)
    places, now, sigma = places[used], now[used], np.where(known, sigma, 1.0)[used]
    lever, n = places - ABOUT, len(places)
    terms = np.zeros((n, 2, 4))
    terms[:, 0, 0] = terms[:, 1, 1] = 1.0
    terms[:, :, 2], terms[:, 0, 3], terms[:, 1, 3] = lever, lever[:, 1], -lever[:, 0]
    weight = np.ones(n)
    for turn in range(7):
        w = np.repeat(np.sqrt(weight) / sigma, 2)
        design, moved = terms.reshape(-1, 4), (now - places).ravel()
        found = np.linalg.lstsq(design * w[:, None], moved * w)[0]
        left = np.hypot(*(moved - design @ found).reshape(-1, 2).T) / sigma
        if turn <= 3:
            scatter = np.median(left) / 1.1774 * np.sqrt(n / (n - 2))
            scatter = max(scatter, 1.0) if known.any() else scatter
        far = left / scatter
        weight = 2 / np.maximum(far, 2) if turn < 3 else np.maximum(0, 1 - (far / 5) ** 2) ** 2
    return found


@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.booleans())
@settings(max_examples=60)
def test_a_motion_is_that_of_weighted_least_squares(seed, n, is_known):
    rng = np.random.default_rng(seed)
    places = rng.uniform(20, 236, (n, 2))
    sigma = np.where(rng.random(n) < 0.8, rng.uniform(0.01, 0.1, n), np.nan)
    sigma = sigma if is_known and (sigma > 0).sum() >= 4 else np.full(n, np.nan)
    now = moved(places, **TRUTH) + rng.normal(0, 0.05, (n, 2))
    now[rng.random(n) < 0.1] += 3.0
    shift, turn = fit(places, now, sigma, np.zeros(n, np.int64), 1, ABOUT)[1:3]
    expected = plainly(places, now, sigma)
    np.testing.assert_allclose([*shift[0], *turn[0]], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n_spots", [3, 5, 14, 50])
@pytest.mark.parametrize("side", [0.0, 1.0])
def test_a_motion_is_told_with_its_error(n_spots, side):
    rng = np.random.default_rng(n_spots)
    places = rng.uniform(20, 236, (n_spots, 2)) + side * np.array([0.0, 900.0])
    now = np.tile(moved(places, **TRUTH), (500, 1))
    motion = told(places, now + rng.normal(0, SIGMA, now.shape), 500)
    for name, true in TRUTH.items():
        pull = (motion[f"motion_{name}"] - true) / motion[f"motion_{name}_sigma"]
        assert abs(pull.mean()) < 0.2, name
        assert 0.8 < pull.std() < 1.12, name


def test_spots_that_move_by_themselves_do_not_pull_the_others_along():
    rng = np.random.default_rng(3)
    places = rng.uniform(20, 236, (20, 2))
    now = np.tile(moved(places, **TRUTH), (300, 1)) + rng.normal(0, SIGMA, (6000, 2))
    now.reshape(300, 20, 2)[:, :4] += [0.4, 0.0]
    motion = told(places, now, 300)
    for name, true in TRUTH.items():
        pull = (motion[f"motion_{name}"] - true) / motion[f"motion_{name}_sigma"]
        assert abs(pull.mean()) < 0.3, name
        assert 0.8 < pull.std() < 1.2, name


def test_scatter_beyond_the_standard_deviations_makes_the_error_larger():
    rng = np.random.default_rng(4)
    places = rng.uniform(20, 236, (20, 2))
    now = np.tile(moved(places, **TRUTH), (300, 1)) + rng.normal(0, 5 * SIGMA, (6000, 2))
    for sigma in (SIGMA, np.nan):
        motion = told(places, now, 300, sigma)
        pull = (motion["motion_row"] - TRUTH["row"]) / motion["motion_row_sigma"]
        assert 0.8 < pull.std() < 1.2


def test_two_spots_or_spots_at_one_place_tell_nothing():
    places = np.array([[10.0, 20.0], [100.0, 50.0]])
    assert np.isnan(told(places, places, 1)["motion_row"]).all()
    places = np.full((5, 2), 40.0)
    motion = told(places, places, 1)
    assert all(np.isnan(motion[name]).all() for name in MOTION)


def test_with_shift_and_rotation_taken_out_places_are_those_before_with_their_errors():
    rng = np.random.default_rng(5)
    places = rng.uniform(20, 236, (14, 2)) + np.array([0.0, 500.0])
    now = np.tile(moved(places, **TRUTH), (400, 1))
    motion = told(places, now + rng.normal(0, SIGMA, now.shape), 400)
    motion = {name: np.repeat(column, 14) for name, column in motion.items()}
    exact = dict.fromkeys(("row_sigma", "col_sigma"), np.zeros(len(now)))
    found = still({"row": now[:, 0], "col": now[:, 1], **exact}, motion)
    wanted = np.tile(moved(places, scale=TRUTH["scale"]), (400, 1))
    for axis, name in enumerate(("row", "col")):
        pull = (found[name] - wanted[:, axis]) / found[f"{name}_sigma"]
        assert 0.85 < pull.std() < 1.15, name


def test_spots_that_come_later_are_told_from_where_they_were_before_the_motion():
    rng = np.random.default_rng(6)
    places = rng.uniform(20, 236, (16, 2))
    shifts = np.linspace(0, 4.0, 200)[:, None] * [1.0, -0.5]
    peaks = a_scene(places, shifts, rng, born=np.where(np.arange(16) < 6, 0, 12 * np.arange(16)))
    motion = CommonMotion().measure(peaks, tuple(ABOUT))
    assert np.isnan(motion["motion_row"][:3]).all()
    assert np.isfinite(motion["motion_row"][3:]).all()
    error = motion["motion_row"] - shifts[:, 0] + shifts[:3, 0].mean()
    assert np.nanmax(np.abs(error)) < 0.06
    assert abs(motion["motion_scale"][-20:].mean()) < 3e-4


def test_what_is_told_of_a_frame_does_not_depend_on_the_part_that_it_is_in():
    rng = np.random.default_rng(7)
    places = rng.uniform(20, 236, (16, 2))
    shifts = np.cumsum(rng.normal(0, 0.05, (90, 2)), axis=0)
    peaks = a_scene(places, shifts, rng, born=rng.integers(0, 80, 16))
    whole = CommonMotion().measure(peaks)
    motion, parts, start = CommonMotion(), [], 0
    for stop in (1, 2, 7, 30, 31, 90):
        here = (peaks["frame"] >= start) & (peaks["frame"] < stop)
        part = {name: column[here] for name, column in peaks.items()}
        motion.measure(part)  # it could not be written
        parts.append(motion.measure(part))
        motion.commit()
        again = CommonMotion()
        again.restore(motion.state())
        motion, start = again, stop
    for name in MOTION:
        got = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(got, whole[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_where_the_beam_is_told_later_motions_go_on_about_it():
    rng = np.random.default_rng(8)
    places = rng.uniform(20, 236, (16, 2))
    peaks = a_scene(places, np.linspace(0, 2.0, 60)[:, None] * [1.0, 0.0], rng)
    motion = CommonMotion()
    halves = [{name: column[part] for name, column in peaks.items()}
              for part in (peaks["frame"] < 30, peaks["frame"] >= 30)]  # fmt: skip
    before = motion.measure(halves[0])
    motion.commit()
    after = motion.measure(halves[1], Geometry.from_beam(
        (128.0, 700.0), distance_m=0.1, pixel_m=(75e-6, 75e-6)
    ).beam)  # fmt: skip
    assert before["motion_about_col"][-1] == pytest.approx(places[:, 1].mean(), abs=0.2)
    assert after["motion_about_col"][-1] == pytest.approx(700.0)
    assert after["motion_row"][-1] == pytest.approx(1.85, abs=5 * after["motion_row_sigma"][-1])
