"""What a run rewrites every few seconds: its tracks, its geometry, its cell's channel."""

from __future__ import annotations

import pyarrow as pa

from streamer.frames.geometry import Geometry
from streamer.results.curves import Reference, references
from streamer.results.folder import RunFolder
from streamer.stamps import Stamp, stamp_of

__all__ = ["RunTables"]

_REFLECTION = "reflection"


class RunTables:
    """The tables of a run folder that are replaced as a whole, read again when they were.

    Parameters
    ----------
    folder
        Run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.geometry: Geometry | None = None
        self.tracks: pa.Table = pa.table({})
        """As in `streamer.results.schema.TRACKS`, with the reflection of each."""
        self.references: dict[int, Reference] = {}
        """Row, column and spacing that the drift of each track counts from: the reference of the
        first spot of its reflection."""
        self.tracks_version = 0
        self.cell_version = 0
        self._stamps: dict[str, Stamp] = {}
        self._n_whole = 0

    def cell(self) -> pa.Table:
        """Read the cell's channel."""
        return self._folder.read_cell()

    def refresh(self, n_frames: int, *, growing: bool) -> None:
        """Read what was rewritten.

        Parameters
        ----------
        n_frames
            Frames that were read so far.
        growing
            True while there may be more: the tables of a run that is over may be read before all
            the frames that they tell of, and are told again then.
        """
        is_whole = not growing and self._n_whole != n_frames
        if is_whole:
            self._n_whole = n_frames
        if self._is_new("geometry.json"):
            self.geometry = self._folder.read_geometry()
        if self._is_new("cell.parquet") or (is_whole and self.cell_version):
            self.cell_version += 1
        if self._is_new("tracks.parquet"):
            self.tracks = self._folder.read_tracks()
        elif not is_whole:
            return
        self.references = _of_reflections(self.tracks)
        self.tracks_version += 1

    def _is_new(self, name: str) -> bool:
        if (stamp := stamp_of(self._folder.path / name)) is None:
            return False
        was, self._stamps[name] = self._stamps.get(name), stamp
        return was != stamp


def _of_reflections(tracks: pa.Table) -> dict[int, Reference]:
    """Return what each track is compared with: a spot goes on where the one stood that it is of."""
    own = references(tracks)
    if not own:
        return own
    numbers, groups = (tracks[name].to_pylist() for name in ("track", _REFLECTION))
    # A reflection has the number of its first spot.
    return {one: own.get(group, own[one]) for one, group in zip(numbers, groups, strict=True)}
