"""What the simulated detector sees, frame by frame, and where the spots on it truly are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamer.simulator.cell import CAPACITY_AH, CURRENT_A, cell_state, current
from streamer.simulator.grains import Grains
from streamer.simulator.noise import poisson
from streamer.simulator.panel import NO_DATA, Geometry, Panel
from streamer.simulator.profiles import draw_spots, prominences

if TYPE_CHECKING:
    from streamer.config import SimulateConfig

__all__ = ["DETECTABLE", "Scene"]

DETECTABLE = 100.0
"""Counts by which a visible spot stands out from its surroundings."""

_FREE_RUN_FRAME_TIME = 0.01
"""Seconds from frame to frame that are reported when no rate is set."""
_DUTY = 0.98
"""Share of that time in which photons are counted."""


class Scene:
    """A charge and a discharge of a cell, with known truth.

    The same configuration gives the same frames, byte by byte, in whatever order they are
    rendered. Threads may render at the same time.

    Parameters
    ----------
    config
        Size, length and seed. A larger detector stands farther away, so that drifts in pixels
        grow with its smaller side: up to 20 px on 512 x 512.

    Raises
    ------
    UserError
        So many spots do not fit on the detector.
    """

    def __init__(self, config: SimulateConfig) -> None:
        rng = np.random.default_rng(config.seed)
        self.config = config
        self.n_frames = config.frames
        self.geometry = Geometry((config.rows, config.cols))
        self.grains = Grains.make(self.geometry, config.spots, rng)
        self.panel = Panel.make(self._apart_from_spots(), rng)
        self.background = self.geometry.background()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.geometry.shape

    @property
    def pixel_mask(self) -> NDArray[np.bool_]:
        """(rows, cols), True where the detector says that a pixel must not be used."""
        return np.asarray(self.panel.mask_bits != 0)

    @property
    def frame_time(self) -> float:
        """Time from the start of one exposure to that of the next in seconds."""
        return 1.0 / self.config.rate_hz if self.config.rate_hz else _FREE_RUN_FRAME_TIME

    @property
    def count_time(self) -> float:
        """Length of an exposure in seconds."""
        return _DUTY * self.frame_time

    def metadata(self) -> dict[str, Any]:
        """Return what one must know to read the truth: plain JSON types."""
        row, col = self.geometry.beam
        return {
            "simulate": self.config.model_dump(mode="json"),
            "detectable_counts": DETECTABLE,
            "frame_time_s": self.frame_time,
            "beam_row": row,
            "beam_col": col,
            "detector_distance_m": self.geometry.distance,
            "pixel_size_m": self.geometry.pixel_size,
            "wavelength_angstrom": self.geometry.wavelength,
        }

    def render(self, index: int) -> NDArray[np.uint16]:
        """Return frame `index`, (rows, cols), counted from 0."""
        expected = self.expected(index)
        seeds = np.random.SeedSequence([self.config.seed, index])
        drawn = poisson(expected, np.random.Generator(np.random.SFC64(seeds)))
        counts = np.minimum(drawn, NO_DATA - 1).astype(np.uint16)
        self.panel.stamp(counts)
        return counts

    def expected(self, index: int) -> NDArray[np.float32]:
        """Return the mean counts of frame `index`, (rows, cols): no noise, no faulty pixels."""
        if not 0 <= index < self.n_frames:
            raise IndexError(f"frame {index} of {self.n_frames}")
        image = self.background.copy()
        draw_spots(image, self._spots(np.array([index]))[0])
        return image

    def truth(self) -> pa.Table:
        """Return where each spot stands on each frame.

        Returns
        -------
        table
            One row per frame and spot: `frame`, `time_s` (start of the exposure, since that of
            frame 0), `voltage_v`, `soc` (state of charge, 0 to 1), `spot`, `parent` (the spot
            that this one splits off from, or -1), `row`, `col`, `amplitude` (counts above
            background at the centre), `sigma_major`, `sigma_minor` (pixels), `angle` (of the
            major axis to the column axis, in radians, towards growing rows), `eta` (Lorentzian
            share), `background` (counts per pixel) and `visible`: the spot stands out by
            `DETECTABLE` counts, and the pixel under its centre is on the detector and not masked.
        """
        frames = np.arange(self.n_frames)
        cell = cell_state(frames / self.n_frames)
        spots = self._spots(frames)
        n = spots.shape[1]
        pixels = np.rint(spots[..., :2]).astype(int)
        inside = np.clip(pixels, 0, np.array(self.shape) - 1)
        row, col = inside[..., 0], inside[..., 1]
        live = (pixels == inside).all(axis=-1) & ~self.pixel_mask[row, col]
        siblings = np.roll(spots, n // 2, axis=1)
        visible = prominences(spots.reshape(-1, 7), siblings.reshape(-1, 7)) >= DETECTABLE
        numbers = np.arange(n, dtype=np.int32)
        parents = np.where(numbers < n // 2, -1, numbers - n // 2).astype(np.int32)
        shape = ("row", "col", "amplitude", "sigma_major", "sigma_minor", "angle", "eta")
        return pa.table(
            {
                "frame": np.repeat(frames.astype(np.int64), n),
                "time_s": np.repeat(frames * self.frame_time, n),
                "voltage_v": np.repeat(cell.voltage, n),
                "soc": np.repeat(cell.soc, n),
                "spot": np.tile(numbers, frames.size),
                "parent": np.tile(parents, frames.size),
                **{name: spots[..., column].ravel() for column, name in enumerate(shape)},
                "background": self.background[row, col].astype(np.float64).ravel(),
                "visible": visible & live.ravel(),
            }
        )

    def cell(self, index: int) -> tuple[float, float, float]:
        """Return what a cycler reads at frame `index`: voltage in V, current in A, charge in Ah."""
        cycles = np.array([index / self.n_frames])
        state = cell_state(cycles)
        return (
            float(state.voltage[0]),
            CURRENT_A * float(current(cycles)[0]),
            CAPACITY_AH * float(state.soc[0]),
        )

    def _spots(self, frames: NDArray[np.intp]) -> NDArray[np.float64]:
        cycles = frames / self.n_frames
        return self.grains.spots(cycles, cell_state(cycles), self.geometry)

    def _apart_from_spots(self) -> NDArray[np.bool_]:
        """(rows, cols), True where no spot ever comes near: a hot pixel there is alone."""
        apart = np.ones(self.shape, bool)
        frames = np.unique(np.linspace(0, self.n_frames - 1, 100).astype(int))
        centres = np.unique(
            np.rint(self._spots(frames)[..., :2]).astype(int).reshape(-1, 2), axis=0
        )
        for row, col in centres:
            apart[max(row - 12, 0) : row + 13, max(col - 12, 0) : col + 13] = False
        return apart
