"""The simulated scene: the same bytes again, and the physics it claims."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

from streamer.config import SimulateConfig
from streamer.errors import UserError
from streamer.simulator.cell import cell_state, lattice, phase_fraction
from streamer.simulator.noise import poisson
from streamer.simulator.panel import NO_DATA
from streamer.simulator.profiles import draw_spots, prominences
from streamer.simulator.scene import DETECTABLE, Scene

SMALL = SimulateConfig(frames=40, rows=200, cols=220, spots=6, seed=3)
REFLECTIONS = np.array([(2, 2, 0), (3, 1, 1), (4, 0, 0), (3, 3, 1), (5, 1, 1), (4, 4, 0)])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(SimulateConfig())


@pytest.fixture(scope="module")
def truth(scene: Scene) -> dict[str, np.ndarray]:
    """Each column of the truth as (frames, spots)."""
    table = scene.truth()
    return {name: table[name].to_numpy().reshape(480, 60) for name in table.column_names}


@pytest.fixture(scope="module")
def radius(scene: Scene, truth: dict[str, np.ndarray]) -> np.ndarray:
    row, col = scene.geometry.beam
    return np.hypot(truth["row"] - row, truth["col"] - col)


# Determinism


def test_same_seed_same_bytes_in_any_order() -> None:
    one, two = Scene(SMALL), Scene(SMALL)
    forwards = [one.render(i).tobytes() for i in range(5)]
    backwards = [two.render(i).tobytes() for i in reversed(range(5))]
    assert forwards == backwards[::-1]
    assert one.truth().equals(two.truth())
    assert len(set(forwards)) == 5


def test_other_seed_other_scene() -> None:
    other = Scene(SMALL.model_copy(update={"seed": 4}))
    assert not np.array_equal(Scene(SMALL).render(0), other.render(0))
    assert not Scene(SMALL).truth().equals(other.truth())


@pytest.mark.parametrize("index", [-1, 40])
def test_no_frame_outside_the_cycle(index: int) -> None:
    with pytest.raises(IndexError, match=f"frame {index} of 40"):
        Scene(SMALL).render(index)


def test_too_many_spots_is_a_users_mistake() -> None:
    config = SimulateConfig(rows=64, cols=64, spots=100)
    with pytest.raises(UserError, match=r"spots=100 do not fit on 64 x 64 pixels: \d+ do"):
        Scene(config)


# The cell


def test_voltage_is_monotone_in_each_half_and_has_a_plateau(truth: dict[str, np.ndarray]) -> None:
    soc, voltage = truth["soc"][:, 0], truth["voltage_v"][:, 0]
    step = np.diff(soc)
    assert soc.min() == 0.0
    assert soc.max() == 1.0
    assert (np.diff(voltage)[step > 0] > 0).all()
    assert (np.diff(voltage)[step < 0] < 0).all()
    charge = np.flatnonzero(step > 0)
    discharge = np.flatnonzero(step < 0)[::-1]
    up = np.interp([0.1, 0.4, 0.65, 0.95], soc[charge], voltage[charge])
    down = np.interp([0.1, 0.4, 0.65, 0.95], soc[discharge], voltage[discharge])
    assert (up - down > 0.02).all()
    assert (up - down < 0.15).all()
    slopes = np.diff(up)
    assert slopes[1] < 0.02 < min(slopes[0], slopes[2])


def test_phases_follow_lever_rule_and_vegards_law() -> None:
    soc = np.linspace(0.0, 1.0, 501)
    still = np.zeros_like(soc)
    share = phase_fraction(soc, still)
    assert share[0] == 0.0
    assert share[-1] == 1.0
    between = (share > 0.0) & (share < 1.0)
    assert np.ptp(np.diff(share[between])) < 1e-12
    lithiated, delithiated = lattice(soc, still)
    assert (lithiated > delithiated + 0.1).all()
    assert (np.diff(lithiated[soc < 0.3]) < 0).all()
    assert (np.diff(delithiated[soc > 0.75]) < 0).all()
    # Of one composition while both exist, but for the rounded ends of the region.
    inner = (share > 0.1) & (share < 0.9)
    assert np.ptp(lithiated[inner]) < 0.005
    assert np.ptp(delithiated[inner]) < 0.005


def test_rest_lets_the_voltage_relax() -> None:
    state = cell_state(np.array([0.4801, 0.485, 0.519]))
    assert state.voltage[0] > state.voltage[1] > state.voltage[2]
    assert state.soc[1] == state.soc[2] == 1.0


# Spots


def test_spots_stand_on_rings_by_braggs_law(scene: Scene, radius: np.ndarray) -> None:
    spacing = 8.17 / np.sqrt((REFLECTIONS**2).sum(axis=1))
    two_theta = 2.0 * np.arcsin(scene.geometry.wavelength / 2.0 / spacing)
    rings = np.tan(two_theta) * scene.geometry.distance / scene.geometry.pixel_size
    off = np.abs(radius[0, :30, None] - rings).min(axis=1)
    assert off.max() < 0.43  # 0.3 px of wander along each axis


def test_drift_is_a_few_pixels_and_smooth(truth: dict[str, np.ndarray], radius: np.ndarray) -> None:
    drifts = [np.ptp(radius[truth["visible"][:, k], k]) for k in range(30)]
    assert min(drifts) > 1.5
    assert max(drifts) < 9.0
    steps = np.hypot(np.diff(truth["row"], axis=0), np.diff(truth["col"], axis=0))
    assert 0.03 < steps.max() < 0.2


def test_each_spot_splits_into_itself_and_a_child(
    truth: dict[str, np.ndarray], radius: np.ndarray
) -> None:
    parents, children = slice(0, 30), slice(30, 60)
    assert_array_equal(truth["parent"][0], [*([-1] * 30), *range(30)])
    together = truth["visible"][:, parents] & truth["visible"][:, children]
    split = (radius[:, children] - radius[:, parents])[together]
    assert together.any(axis=0).sum() >= 26
    assert split.min() > 4.0
    assert split.max() < 14.0
    amplitude = truth["amplitude"]
    assert (amplitude[0, children] == 0.0).all()
    assert (amplitude[240, parents] == 0.0).all()
    assert np.abs(np.diff(amplitude, axis=0)).max() < 100.0
    assert 150.0 < amplitude[0, parents].min() < 400.0
    assert 3500.0 < amplitude[0, parents].max() < 5500.0


def test_spots_broaden_while_they_split(truth: dict[str, np.ndarray]) -> None:
    sigma = truth["sigma_major"]
    assert (sigma[130] > 1.1 * sigma[0]).all()
    assert truth["sigma_minor"].min() >= 0.9
    assert sigma.max() <= 2.5
    assert 0.2 < (truth["eta"][0] > 0).mean() < 0.8


@pytest.mark.parametrize("seed", range(4))
def test_spots_keep_apart_and_mostly_away_from_gaps(seed: int) -> None:
    scene = Scene(SimulateConfig(seed=seed, frames=30))
    table = scene.truth()
    centres = np.stack([table["row"].to_numpy(), table["col"].to_numpy()], axis=-1)
    centres = centres.reshape(30, 60, 2)
    distance = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=-1)
    number = np.arange(60)
    distance[:, number[:, None] % 30 == number % 30] = np.inf
    assert distance.min() >= 16.0
    gaps = np.pad(scene.panel.mask_bits, 6, constant_values=1) == 1
    near = set()
    for frame in np.rint(centres).astype(int):
        for spot, (row, col) in enumerate(frame):
            if gaps[row + 1 : row + 12, col + 1 : col + 12].any():
                near.add(spot % 30)
    assert 1 <= len(near) <= 4


def test_truth_is_where_the_light_is(scene: Scene, truth: dict[str, np.ndarray]) -> None:
    checked = 0
    for frame in (0, 240):
        signal = scene.expected(frame).astype(float) - scene.background
        for k in np.flatnonzero(truth["visible"][frame] & (truth["eta"][frame] == 0.0)):
            row, col = truth["row"][frame, k], truth["col"][frame, k]
            r, c = round(row), round(col)
            if not (8 <= r < 504 and 8 <= c < 504):
                continue
            window = signal[r - 8 : r + 9, c - 8 : c + 9]
            # Lorentzian outskirts of other spots are an even level here.
            window = np.clip(window - np.median(window), 0.0, None)
            dr, dc = np.mgrid[-8:9, -8:9]
            centroid = np.array([(window * dr).sum(), (window * dc).sum()]) / window.sum()
            error = np.hypot(centroid[0] + r - row, centroid[1] + c - col)
            assert error < 0.05
            checked += 1
    assert checked > 15


def test_truth_table_is_typed(scene: Scene) -> None:
    schema = scene.truth().schema
    assert str(schema.field("frame").type) == "int64"
    assert {str(schema.field(name).type) for name in ("spot", "parent")} == {"int32"}
    assert str(schema.field("visible").type) == "bool"
    floats = set(schema.names) - {"frame", "spot", "parent", "visible"}
    assert {str(schema.field(name).type) for name in floats} == {"double"}
    assert scene.truth()["time_s"].to_numpy()[-1] == pytest.approx(4.79)


def test_visible_spots_are_on_live_pixels_and_detectable(
    scene: Scene, truth: dict[str, np.ndarray]
) -> None:
    visible = truth["visible"]
    row, col = (np.rint(truth[name][visible]).astype(int) for name in ("row", "col"))
    assert not scene.pixel_mask[row, col].any()
    assert truth["amplitude"][visible].min() >= DETECTABLE
    assert 25 < visible.sum(axis=1).min()
    assert visible.sum(axis=1).max() < 60
    assert (truth["background"] > 2.0).all()
    assert truth["background"].max() < 16.0


# Profiles


def _spot(row: float, col: float, **shape: float) -> np.ndarray:
    values = {"amplitude": 1000.0, "major": 1.5, "minor": 1.5, "angle": 0.0, "eta": 0.0} | shape
    return np.array([[row, col, *values.values()]])


@pytest.mark.parametrize("eta", [0.0, 0.4])
def test_narrow_spots_are_integrated_over_pixels(eta: float) -> None:
    spot = _spot(15.3, 14.8, major=1.1, minor=0.9, angle=0.7, eta=eta)
    image = np.zeros((31, 31), np.float32)
    draw_spots(image, spot)
    fine = (np.arange(31 * 25) - 12) / 25
    y, x = fine[:, None] - 15.3, fine[None, :] - 14.8
    along, across = np.cos(0.7) * x + np.sin(0.7) * y, np.cos(0.7) * y - np.sin(0.7) * x
    r2 = (along / 1.1) ** 2 + (across / 0.9) ** 2
    profile = (1 - eta) * np.exp(-r2 / 2) + eta / (1 + r2 / (2 * np.log(2)))
    expected = 1000.0 * profile.reshape(31, 25, 31, 25).mean(axis=(1, 3))
    assert np.abs(image - expected).max() < 0.6


def test_major_axis_turns_towards_growing_rows() -> None:
    image = np.zeros((31, 31), np.float32)
    draw_spots(image, _spot(15.0, 15.0, major=3.0, minor=1.3, angle=np.pi / 4))
    assert image[17, 17] > 2 * image[17, 13]
    assert image[15, 15] == pytest.approx(1000.0)


def test_spots_beyond_the_frame_are_cut_off() -> None:
    image = np.zeros((20, 20), np.float32)
    draw_spots(image, np.concatenate([_spot(-1.0, 19.5), _spot(200.0, -90.0)]))
    assert image[0, 19] > 500
    assert image[8:, :12].max() == 0


def test_a_child_on_its_parents_flank_does_not_stand_out() -> None:
    parent = _spot(10.0, 10.0)
    child = _spot(10.0, 13.0, amplitude=100.0)
    apart = _spot(10.0, 20.0, amplitude=100.0)
    assert prominences(child, parent)[0] == pytest.approx(0.0, abs=1e-6)
    assert prominences(apart, parent)[0] == pytest.approx(100.0, rel=0.05)
    assert prominences(parent, child)[0] == 1000.0


# Noise and faulty pixels


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.4, 3.0, 11.7, 31.9, 32.0, 900.0])
def test_counts_are_poisson_distributed(mean: float) -> None:
    n = 1_000_000
    counts = poisson(np.full((1000, 1000), mean, np.float32), np.random.default_rng(5)).ravel()
    if mean == 0.0:
        assert not counts.any()
        return
    edges = np.unique(stats.poisson.ppf(np.linspace(0.001, 0.999, 15), mean))
    observed = np.diff(np.searchsorted(np.sort(counts), [-1, *edges, 70_000], side="right"))
    shares = np.diff(stats.poisson.cdf([-1, *edges, 70_000], mean))
    assert stats.chisquare(observed, n * shares).pvalue > 1e-4


def test_counts_stay_below_the_value_of_no_data(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bright = np.full(scene.shape, 1e6, np.float32)
    monkeypatch.setattr(Scene, "expected", lambda scene, index: bright)
    assert scene.render(0)[scene.panel.mask_bits == 0].max() == NO_DATA - 1


def test_faulty_pixels_always_show_the_same(scene: Scene) -> None:
    bits, first, later = scene.panel.mask_bits, scene.render(0), scene.render(300)
    gap = bits == 1
    assert gap[:, 300].sum() == 12
    assert gap[100, :].sum() == 8
    assert (first[gap] == 65535).all()
    assert (first[bits == 2] == 0).all()
    assert (bits == 2).sum() == 20
    hot = (first > 15_000) & ~gap
    assert hot.sum() == 10
    assert (bits[hot] == 16).sum() == 5
    assert (bits[hot] == 0).sum() == 5
    assert first[hot].max() < 65535
    assert_array_equal(first[hot], later[hot])
    assert_array_equal(scene.pixel_mask, bits != 0)
    assert not scene.pixel_mask[(first > 0) & (first < 15_000)].any()
