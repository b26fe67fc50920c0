"""How well the tracks of a run follow the spots of a simulated one, and how far drifts are off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from streamer.config import TracksConfig
from streamer.frames.geometry import Geometry
from streamer.report.truth import points
from streamer.results.schema import Columns
from streamer.tracks.catalogue import TrackCatalogue
from streamer.tracks.linker import anchors

__all__ = ["TrackQuality", "judge"]

_STEP = 20
"""Frames from one look at the tracks to the next."""
_SIGMAS = 1.96
"""Standard deviations that 95 % of normal errors lie within."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrackQuality:
    """Tracks beside the spots they follow."""

    tracks: int
    """Tracks of spots that were seen often enough."""
    spells: int
    """Times a spot could be seen without a break longer than the tracks' memory."""
    purity: float
    """Share of the tracks' peaks that are of the spot that most of the track's peaks are of."""
    completeness: float
    """Share of the frames of all spells on which the spot is in the track that has most of it."""
    drift_error: Floats
    """Pixels, at each look at each track that goes on."""
    drift_sigma: Floats
    """Standard deviations that the tracks give themselves."""
    strain_error: Floats
    """The same of strains, without unit; NaN where no geometry is known."""
    strain_sigma: Floats

    @property
    def strain_within(self) -> float:
        """Share of strains within 1.96 standard deviations of the truth: 95 % of normal errors."""
        return float(np.mean(np.abs(self.strain_error) <= _SIGMAS * self.strain_sigma))

    @property
    def strain_sigmas(self) -> float:
        """Standard deviations that 95 % of the strains lie within; 1.96 of normal errors."""
        return float(np.percentile(np.abs(self.strain_error) / self.strain_sigma, 95))

    def in_words(self) -> list[str]:
        """Return two lines for a report."""
        lines = [
            f"{self.tracks} tracks of spots seen {self.spells} times: purity {self.purity:.2%}, "
            f"completeness {self.completeness:.2%}"
        ]
        if len(self.drift_error):
            error = np.abs(self.drift_error)
            lines.append(
                f"drift: median error {np.median(error):.3f} px, "
                f"{np.std(self.drift_error / self.drift_sigma):.2f} of its sigma"
            )
            if np.isfinite(self.strain_error).all():
                lines[-1] += (
                    f"; strain: median error {np.median(np.abs(self.strain_error)):.1e}, "
                    f"{self.strain_within:.0%} within 1.96 sigma, 95% within "
                    f"{self.strain_sigmas:.1f} sigma"
                )
        return lines


def judge(
    truth: pa.Table,
    peaks: pa.Table,
    config: TracksConfig,
    geometry: Geometry | None,
    gate_px: float = 2.0,
) -> TrackQuality:
    """Compare the tracks of a run with the spots they should follow.

    A peak is of the nearest spot, at most `gate_px` away. Drifts are compared with those of the
    true places of the spot on the same frames with the same weights.

    Parameters
    ----------
    truth
        Table of `streamer.simulator.truth`.
    peaks
        Table of the run folder, of one series, in the order of frames.
    config
        How the tracks of the run were kept.
    geometry
        The run's.
    """
    columns: Columns = {
        name: peaks[name].to_numpy() for name in peaks.column_names if name != "series"
    }
    columns["series"] = np.zeros(peaks.num_rows, np.int32)
    track = columns["track"]
    spot = _spots(truth, peaks, gate_px)
    numbers, index, counts = np.unique(track, return_inverse=True, return_counts=True)
    n_spots = int(truth["spot"].to_numpy().max()) + 1
    votes = np.zeros((len(numbers), n_spots), np.int64)
    np.add.at(votes, (index[spot >= 0], spot[spot >= 0]), 1)
    real = (counts >= config.confirm_frames) & (votes.max(axis=1) > 0) & (numbers >= 0)
    right, ours = votes.max(axis=1)[real].sum(), counts[real].sum()
    seen, visible, spells = _spells(truth, columns["frame"], track, spot, config.memory_frames)
    looked = _drifts(truth, columns, votes.argmax(axis=1)[index], real[index], config, geometry)
    return TrackQuality(
        int(real.sum()),
        spells,
        float(right / ours) if ours else float("nan"),
        seen / visible if visible else float("nan"),
        *looked,
    )


def _spots(truth: pa.Table, peaks: pa.Table, gate_px: float) -> Ints:
    """Return the spot of each peak, -1 for none."""
    strong = np.flatnonzero(truth["amplitude"].to_numpy() > 1.0)
    linked = points(peaks)
    pixels = (peaks[name].to_numpy() for name in ("peak_row", "peak_col"))
    linked[:, 1:], _ = anchors(
        {name: peaks[name].to_numpy() for name in ("row", "col", "flags")}, *pixels
    )
    distance, near = cKDTree(points(truth)[strong]).query(linked, distance_upper_bound=gate_px)
    found = np.isfinite(distance)
    spot = np.full(peaks.num_rows, -1, np.int64)
    spot[found] = truth["spot"].to_numpy()[strong[near[found]]]
    return spot


def _spells(
    truth: pa.Table, frame: Ints, track: Ints, spot: Ints, memory: int
) -> tuple[int, int, int]:
    """Return frames in the best track of each spell, frames of all spells, and their number."""
    visible = truth["visible"].to_numpy(zero_copy_only=False)
    true_frame, true_spot = truth["frame"].to_numpy(), truth["spot"].to_numpy()
    visible = visible & np.isin(true_frame, frame)
    best = total = spells = 0
    for one in np.unique(true_spot[visible]):
        frames = np.sort(true_frame[visible & (true_spot == one)])
        mine = spot == one
        for spell in np.split(frames, np.flatnonzero(np.diff(frames) > memory + 1) + 1):
            tracks = track[mine & np.isin(frame, spell) & (track >= 0)]
            best += int(np.unique(tracks, return_counts=True)[1].max(initial=0))
            total += len(spell)
            spells += 1
    return best, total, spells


def _drifts(
    truth: pa.Table,
    columns: Columns,
    spot: Ints,
    real: NDArray[np.bool_],
    config: TracksConfig,
    geometry: Geometry | None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return errors and standard deviations of drifts and strains."""
    places = dict(
        zip(
            zip(truth["frame"].to_pylist(), truth["spot"].to_pylist(), strict=True),
            zip(truth["row"].to_pylist(), truth["col"].to_pylist(), strict=True),
            strict=True,
        )
    )
    ours = {name: column[real] for name, column in columns.items()}
    frame = ours["frame"]
    true_at = [places[one] for one in zip(frame.tolist(), spot[real].tolist(), strict=True)]
    theirs = ours | dict(zip(("row", "col"), np.array(true_at).reshape(-1, 2).T, strict=True))
    catalogues = [
        TrackCatalogue(config.confirm_frames, config.reference_frames, config.reference_frame)
        for _ in range(2)
    ]
    found: list[Floats] = [np.empty((4, 0))]
    for start in range(0, int(frame.max(initial=-1)) + 1, _STEP):
        new = (frame >= start) & (frame < start + _STEP)
        tables = []
        for catalogue, peaks in zip(catalogues, (ours, theirs), strict=True):
            catalogue.extend([""], {name: column[new] for name, column in peaks.items()})
            tables.append(catalogue.measure(geometry))
        table, true = tables
        goes_on = table["last_frame"].to_numpy() >= start
        whole = table["n_frames"].to_numpy() >= 2 * config.reference_frames
        pairs = [
            (table[name].to_numpy() - true[name].to_numpy(), table[f"{name}_sigma"].to_numpy())
            for name in ("drift", "strain")
        ]
        found.append(np.array([column for pair in pairs for column in pair])[:, goes_on & whole])
    drift_error, drift_sigma, strain_error, strain_sigma = np.concatenate(found, axis=1)
    return drift_error, drift_sigma, strain_error, strain_sigma
