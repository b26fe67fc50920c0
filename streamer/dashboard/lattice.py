"""The lattice parameters of each phase as curves, of a run that has ended."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streamer.config import Config
from streamer.dashboard.archive import Archive
from streamer.dashboard.drifts import Parameter, Plot
from streamer.frames.lattice import Lattice
from streamer.results.derived import written
from streamer.results.folder import RunFolder
from streamer.results.parts import readable
from streamer.results.schema import LATTICE, TABLES
from streamer.results.thinning import Curve, Thinning
from streamer.stamps import Stamp, stamp_of

__all__ = ["PARAMETERS", "LatticeCurves"]

PARAMETERS: dict[Parameter, str] = {name: name.split("_")[1] for name in get_args(Parameter)}
"""Columns of the table of the lattice, by the names of the quantities."""


class LatticeCurves:
    """Reads what was fitted when the run ended; before, to fit it would hold up who looks.

    Parameters
    ----------
    folder
        Run folder.
    config
        Its configuration.
    archive
        Its frames.
    """

    def __init__(self, folder: RunFolder, config: Config, archive: Archive) -> None:
        self.version = 0
        """Changes with the table."""
        self._folder, self._archive = folder, archive
        lattice = Lattice.from_config(config.lattice)
        self._free = () if lattice is None else lattice.free
        self._table = LATTICE.empty_table()
        self._stamp: Stamp | None = None

    @property
    def offered(self) -> list[Parameter]:
        """What there are curves of."""
        if not len(self._table):
            return []
        return [name for name, column in PARAMETERS.items() if column in self._free]

    def refresh(self) -> None:
        """Read the table if it is new."""
        stamp = stamp_of(self._folder.path / "lattice.parquet")
        if not self._free or stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        path = written(self._folder, "lattice")
        if path is None:  # the run went on since
            return
        names = ["series", "frame", "time_ns", "phase"]
        names += [f"{name}{more}" for name in self._free for more in ("", "_sigma")]
        with readable(path):
            self._table = pq.read_table(path, columns=names)
        self.version += 1

    def unit(self, quantity: Parameter) -> str:
        """Return the unit of a quantity."""
        return TABLES["lattice"][PARAMETERS[quantity]].unit

    def curves(self, quantity: Parameter, plot: Plot) -> dict[int, tuple[str, Curve]]:
        """Return the curve of each phase and its name, by a number below those of tracks."""
        if quantity not in self.offered:  # which a link may ask for too early
            return {}
        table, column = self._table, PARAMETERS[quantity]
        x = self._places(table, plot)
        y, sigma = (table[f"{column}{more}"].to_numpy() for more in ("", "_sigma"))
        inside = np.isfinite(x) & np.isfinite(y)
        if plot.begin is not None:
            inside &= x >= plot.begin
        if plot.end is not None:
            inside &= x <= plot.end
        phases = table["phase"].to_numpy()
        found = {}
        for phase in np.unique(phases).tolist():
            here = np.flatnonzero(inside & (phases == phase))
            # Errors of frames that follow each other are not independent: no mean is more exact.
            values, sigmas = (Thinning(plot.points) for _ in range(2))
            for thinning, part in ((values, y), (sigmas, sigma)):
                thinning.add(x[here], part[here], np.full(len(here), math.nan))
            curve = values.curve()
            found[-1 - phase] = (f"phase {phase}", Curve(curve.x, curve.y, sigmas.curve().y))
        return found

    def _places(self, table: pa.Table, plot: Plot) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return where the frames of rows are along x, in their order; NaN where not known."""
        if plot.x == "time":
            times = table["time_ns"].to_numpy()
            return np.where(times > 0, times * 1e-9, math.nan)
        starts, known = self._archive.starts, self._archive.series
        names = table["series"].combine_chunks().dictionary_encode()
        start = [
            float(starts[known.index(name)]) if name in known else math.nan
            for name in names.dictionary.to_pylist()
        ]
        return np.asarray(table["frame"].to_numpy() + np.array(start)[names.indices.to_numpy()])
