"""A run as a notebook reads it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamer.config import Config
from streamer.errors import RunError, UserError
from streamer.frames.geometry import Geometry
from streamer.results import alongside
from streamer.results.curves import QUANTITIES, Quantity, available, displaced, references
from streamer.results.folder import RunFolder
from streamer.results.histories import observations
from streamer.results.members import weighted_means
from streamer.results.motion import to_remove
from streamer.results.schema import TABLES
from streamer.results.threshold_files import thresholds_table
from streamer.results.thresholds import read_changes

if TYPE_CHECKING:
    from streamer.results.pixels import Recorded

__all__ = ["Run", "open_run"]

_GROWS = ("summary", "geometry", "frames", "peaks", "tracks", "reflections", "lattice", "cell",
          "thresholds")  # fmt: skip
"""What a run that goes on adds to or writes anew."""


def open_run(path: Path | str) -> Run:
    """Open the folder of a run, going on or over.

    Parameters
    ----------
    path
        What the run was given as ``--out``.

    Raises
    ------
    UserError
        There is no such folder, or it is not that of a run.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder; give the one that a run has as --out")
    return Run(RunFolder.open(path))


class Run:
    """The results of a run.

    What is asked for is read from the folder once, the first time, and kept: what was computed from
    it stays true to it while the run goes on. `refresh` lets go of it, so that the next access
    reads what is there by then. Frames and peaks are of one moment, each row is there once, and
    each frame with all of its peaks; tracks and the cell are as they were last written, seconds
    before. Tables are Arrow's: ``.to_pandas()`` makes data frames of them where pandas is there.
    Each field has its unit and meaning as metadata.

    Parameters
    ----------
    folder
        Run folder; `open_run` takes its path.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"open_run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of ``run.json``; ``"state"`` is ``"running"`` while the run goes on."""
        return self._folder.read_summary()

    @cached_property
    def config(self) -> Config:
        """The configuration, with defaults filled in.

        Raises
        ------
        UserError
            It has a key that this version does not know.
        """
        return self._folder.read_config()

    @cached_property
    def geometry(self) -> Geometry | None:
        """Where the detector stands: lengths in m, angles in rad, the wavelength in angstroms.

        None when that is not known, and a wavelength of NaN when that is not.
        """
        return self._folder.read_geometry()

    @cached_property
    def frames(self) -> pa.Table:
        """One row for each frame number: its state (done, failed, missing, shed), why, its peaks.

        Numbers that follow each other and never came share a row: it stands for ``count`` of them,
        from ``frame`` on, and who counts frames adds up ``count``.

        Columns are those of ``streamer.results.schema.TABLES["frames"]``: times in ns since 1970
        (UTC), latencies in ms.
        """
        return TABLES["frames"].told(self._folder.read("frames"))

    @cached_property
    def peaks(self) -> pa.Table:
        """One row for each peak, in the order of the frames.

        Columns are those of ``streamer.results.schema.TABLES["peaks"]``: positions in px, an
        integer being the centre of a pixel, intensities in counts, angles in degrees, ``q`` in
        1/angstrom, ``d`` in angstroms, times in ns since 1970 (UTC). NaN where not known.

        Raises
        ------
        RunError
            There are fewer than the frames say.
        """
        count = self._n_peaks  # first: what comes after is of later frames
        peaks = self._folder.read("peaks").slice(0, count)
        if len(peaks) < count:
            raise RunError(f"{self.path}: {count - len(peaks):,} of {count:,} peaks are not there")
        return TABLES["peaks"].told(peaks)

    @cached_property
    def tracks(self) -> pa.Table:
        """One row for each spot that was followed over ``tracks.confirm_frames`` frames or more.

        Columns are those of ``streamer.results.schema.TABLES["tracks"]``: positions and drifts in
        px, rates in px/h, spacings in angstroms. NaN where not known.
        """
        return TABLES["tracks"].told(self._folder.read_tracks())

    @cached_property
    def reflections(self) -> pa.Table:
        """One row for each spot of each reflection on each frame that it was seen on.

        Columns are those of ``streamer.results.schema.TABLES["reflections"]``: drifts in px,
        spacings in angstroms, intensities in counts, shares of the intensity of the reflection.
        Drifts and strains count from where the reflection was first, whichever of its spots is
        looked at, so that they go on where it splits in two. NaN where not known.
        """
        return self._derived("reflections")

    @cached_property
    def lattice(self) -> pa.Table:
        """One row for each frame and phase, none without ``lattice.a``, geometry and wavelength.

        Columns are those of ``streamer.results.schema.TABLES["lattice"]``: edges in angstroms,
        angles in degrees, the volume in cubic angstroms.
        """
        return self._derived("lattice")

    @cached_property
    def cell(self) -> pa.Table:
        """One row for each reading of the cell, none without ``cell.file``.

        Columns are those of ``streamer.results.schema.TABLES["cell"]``: V, A, Ah, and times in ns
        since 1970 (UTC).
        """
        return TABLES["cell"].told(self._folder.read_cell())

    @cached_property
    def thresholds(self) -> pa.Table:
        """One row for each change of the thresholds while the run went on.

        Columns are those of ``streamer.results.schema.TABLES["thresholds"]``: counts, NaN for
        ``auto``. Before the first, ``config.detect`` has what held.
        """
        return thresholds_table(read_changes(self.path))

    @property
    def clean_peaks(self) -> pa.Table:
        """Those of `peaks` that no flag says anything of."""
        return self.peaks.filter(pc.equal(self.peaks["flags"], 0))

    def drift(
        self, track: int, quantity: Quantity | None = None, *, with_cell: bool = False
    ) -> pa.Table:
        """Return how far a track stood from its reference on each frame that it was seen on.

        It is what the dashboard and the report draw, without averages. With ``tracks.common_motion:
        remove`` the shift and rotation that all spots of a frame share are taken out, and drifts
        are NaN on frames where that is not known.

        Parameters
        ----------
        track
            Its number, as in ``tracks`` and ``peaks``; also one that was seen too rarely for the
            former, which is compared with its first observations.
        quantity
            ``"radial"`` (px, away from the direct beam), ``"distance"`` (px), ``"row"``,
            ``"col"`` (px), ``"d"`` (angstrom, the spacing itself) or ``"strain"``. Default:
            ``"radial"`` where the detector's place is known, else ``"distance"``.
        with_cell
            Have the cell beside it: ``voltage_v``, ``current_a`` and ``capacity_ah``, between its
            readings on a straight line, NaN where there is none before or after.

        Returns
        -------
        drift
            Columns ``series``, ``frame``, ``time_ns``, the quantity and its standard deviation,
            ``..._sigma``: that of the observation alone, without that of the reference, which is
            common to all. Units are in the metadata of the fields.

        Raises
        ------
        UserError
            No peak has this track, or the quantity needs a geometry that is not known.
        """
        if quantity is None:
            quantity = "distance" if self.geometry is None else "radial"
        choices = list(dict.fromkeys([*available(self.geometry), "distance"]))
        if quantity not in choices:
            why = (
                "" if quantity not in QUANTITIES else " without the detector's place or wavelength"
            )
            raise UserError(f"no drift as {quantity!r}{why}: take one of {', '.join(choices)}")
        wanted = np.array([track] if track >= 0 else [], np.int64)  # -1 is no track
        motion = to_remove(self._folder, self.config, self.geometry)
        history = next(observations(self._folder, wanted, most=self._n_peaks, motion=motion), None)
        if history is None:
            raise UserError(f"{self.path}: no peak has track {track}")
        y, sigma = displaced(
            history.seen,
            references(self.tracks).get(track),
            self.geometry,
            quantity,
            reference_frames=self.config.tracks.reference_frames,
        )
        unit = {"unit": QUANTITIES[quantity][1]}
        kept = TABLES["peaks"].schema
        schema = [kept.field(name) for name in ("series", "frame", "time_ns")]
        schema += [
            pa.field(name, pa.float64(), metadata=unit) for name in (quantity, f"{quantity}_sigma")
        ]
        columns = [history.series, history.frame, history.time_ns, y, sigma]
        drift = pa.table(columns, schema=pa.schema(schema))
        return alongside.with_cell(drift, self.cell) if with_cell else drift

    def reflection(self, track: int) -> pa.Table:
        """Return the spots of the reflection that a track belongs to, frame after frame.

        They are all tracks that have the same number in the column `reflection` of `tracks`.

        Parameters
        ----------
        track
            Number of any of its spots; that of the reflection is that of the first.

        Returns
        -------
        spots
            Rows of `reflections`, and the means over the spots of a frame, weighted by their
            shares: ``mean_d``, ``mean_strain`` and ``mean_drift``, each with ``..._sigma``. Where
            there are two spots and errors of intensities are not known these sigmas are NaN.

        Raises
        ------
        UserError
            There is no such row in `tracks`.
        """
        numbers = self.tracks["track"].to_numpy()
        if track not in numbers:
            raise UserError(f"{self.path}: no track {track} was seen often enough to be in tracks")
        wanted = self.tracks["reflection"].to_numpy()[numbers == track][0]
        spots = self._derived("reflections", wanted)
        for name, mean in weighted_means(spots, ("d", "strain", "drift")).items():
            spots = spots.append_column(name, pa.array(mean))
        return spots

    def frame(self, frame: int, series: str | None = None) -> NDArray[Any]:
        """Return the counts of a frame, as `pixels` does, of the only series of the run or another.

        Raises
        ------
        UserError
            They cannot be had, or there are several series and none is named.
        """
        if series is None:
            known = self.frames["series"].unique().to_pylist()
            if len(known) > 1:
                raise UserError(
                    f"{self.path} has {len(known)} series: say which, series={known[0]!r}"
                )
            series = known[0] if known else ""
        return self.pixels(series, frame)

    def pixels(self, series: str, frame: int) -> NDArray[Any]:
        """Return the counts of a frame, (rows, cols), as the source has them, masked ones too.

        They are read from the files that the run read, or that ``--record`` kept.

        Parameters
        ----------
        series
            Its name, as in `frames`.
        frame
            Number in its series.

        Raises
        ------
        UserError
            They cannot be had: the run has no such frame, the stream was not recorded, the files
            are gone or cannot be read.
        """
        # It knows all file formats, which take a while to import.
        from streamer.results.pixels import decoded

        frames = self.frames
        after = pc.subtract(pa.scalar(frame, pa.int64()), frames["frame"])
        here = pc.and_(pc.greater_equal(after, 0), pc.less(after, frames["count"]))
        here = pc.and_(here, pc.equal(frames["series"], series))
        times = frames.filter(here)["time_ns"].to_pylist()
        if not times:
            known = ", ".join(frames["series"].unique().to_pylist()) or "none yet"
            raise UserError(f"{self.path}: no frame {frame} of series {series}; series: {known}")
        found = self._recorded.frame(series, frame, times[0])
        pixels = found if isinstance(found, str) else decoded(found)
        if isinstance(pixels, str):
            raise UserError(f"no pixels of frame {frame} of series {series}: {pixels}")
        return pixels

    def refresh(self) -> None:
        """Let go of what was read, so that what is asked for next is read anew."""
        for name in _GROWS:
            vars(self).pop(name, None)

    def close(self) -> None:
        """Release the files that pixels were read from."""
        if "_recorded" in vars(self):
            self._recorded.close()

    def _derived(self, name: str, reflection: int | None = None) -> pa.Table:
        """Return a table that follows from peaks and tracks, or its rows of one reflection."""
        # It knows crystals, which take a while to import.
        from streamer.results.derived import derived

        kept = [TABLES[name].schema.empty_table()]
        for table in derived(self._folder, self.config, name, most=self._n_peaks):
            if reflection is not None:
                table = table.filter(pc.equal(table["reflection"], reflection))
            kept.append(table)
        return TABLES[name].told(pa.concat_tables(kept)).combine_chunks()

    @property
    def _n_peaks(self) -> int:
        """How many peaks the frames have."""
        return int(self.frames["n_peaks"].to_numpy().sum())

    @cached_property
    def _recorded(self) -> Recorded:
        from streamer.results.originals import originals
        from streamer.results.pixels import Recorded

        return Recorded(*originals(self._folder))
