"""Recording of what a source yields, as it came, into files that others read too."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import msgspec
import numpy as np
from numpy.typing import NDArray

from streamer.errors import UserError
from streamer.frames.codecs import decode, with_header
from streamer.frames.events import Event, Frame, Series, SeriesEnd
from streamer.frames.nexus import put_field, put_group
from streamer.sources.files.hdf5.kept import around_number

__all__ = ["Recorder", "check_path"]

logger = logging.getLogger(__name__)

_FILTERS: dict[str, Mapping[str, Any]] = {
    "raw": {},
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4": hdf5plugin.LZ4(),
}
_TIMES_CHUNK = 1024
_FLUSH_S = 1.0
_PAUSE_S = 1.0
"""From one attempt to make a file to the next."""
_MOST_REASONS = 20
_FARTHEST_JUMP = 10_000_000
_HORIZON = 64
"""So far behind a frame that seems to be too far from the others another one confirms it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Places below the detector group, as in the files of the detector's own writer.
_PLACES = {
    "beam_center_x": ("beam_center_x", "pixel"),
    "beam_center_y": ("beam_center_y", "pixel"),
    "count_time": ("count_time", "s"),
    "detector_description": ("description", None),
    "description": ("description", None),
    "detector_distance": ("detector_distance", "m"),
    "detector_serial_number": ("detector_number", None),
    "detector_number": ("detector_number", None),
    "pixel_size_x": ("x_pixel_size", "m"),
    "x_pixel_size": ("x_pixel_size", "m"),
    "pixel_size_y": ("y_pixel_size", "m"),
    "y_pixel_size": ("y_pixel_size", "m"),
    "sensor_material": ("sensor_material", None),
    "sensor_thickness": ("sensor_thickness", "m"),
    "threshold_energy": ("threshold_energy", "eV"),
}
_BEAM_PLACES = {
    "incident_wavelength": ("incident_wavelength", "angstrom"),
    "wavelength": ("incident_wavelength", "angstrom"),
    "incident_energy": ("incident_energy", "eV"),
    "photon_energy": ("incident_energy", "eV"),
}


def check_path(path: Path) -> None:
    """Check that a recording can be written there.

    Raises
    ------
    UserError
        The name does not fit, there is such a file, or none can be made there.
    """
    if path.suffix.lower() not in (".h5", ".hdf5", ".nxs"):
        raise UserError(f"{path}: name a recording like series_1.h5")
    if path.exists():
        raise UserError(f"{path} exists: choose another name or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.unlink()
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


class Recorder:
    """Writes each series into an HDF5 file of the layout of a detector's file writer.

    The coded pixels go into the file as they came, one chunk for each frame, and the file can be
    read, and replayed, while it grows (HDF5's single writer, multiple readers). A frame that did
    not come has no chunk: readers of the file see its pixels as masked, and a replay says which are
    missing. What a stream says of a series is kept as it was said in
    ``/entry/instrument/detector/detectorSpecific/stream_header``, as JSON.

    A disk that is full does not stop the stream: frames that cannot be written are counted in
    ``counters["not recorded"]``, why is logged once, and a file that could not be made is tried
    again.

    Parameters
    ----------
    path
        The file of the first series, see `check_path`; those of later ones, and of a recorder that
        was started again, get ``_2``, ``_3`` ... behind the name.
    """

    def __init__(self, path: Path) -> None:
        self.counters = {"not recorded": 0}
        self.files: list[Path] = []
        """Those written so far."""
        self.n_bytes = 0
        """Coded pixels written so far."""
        self._path = path
        self._number = 1  # of the next file
        self._file: _SeriesFile | None = None
        self._unopened: Series | None = None
        self._again_s = 0.0
        self._said: set[str] = set()

    def take(self, events: Sequence[Event]) -> None:
        """Write events, in the order in which they came."""
        for event in events:
            try:
                self._write(event)
            except Exception as error:  # of any type, as h5py lets through
                if isinstance(event, Frame):
                    self.counters["not recorded"] += 1
                self._say(f"cannot record {type(event).__name__}: {error}")

    def close(self) -> None:
        """Bring the open file to its end."""
        self._close("stopped")

    def _write(self, event: Event) -> None:
        if isinstance(event, Series):
            self._unopened, self._again_s = event, 0.0
            self._close("new series")
        if self._unopened is not None and time.monotonic() >= self._again_s:
            self._open(self._unopened)
        if self._file is None:
            if isinstance(event, Frame):
                raise ValueError("its series could not be opened")
        elif isinstance(event, Frame):
            self._file.put(event)
            self.n_bytes += len(event.data)
        elif isinstance(event, SeriesEnd):
            self._close(event.reason)

    def _open(self, series: Series) -> None:
        self._again_s = time.monotonic() + _PAUSE_S
        path = self._free_path()
        self._file = _SeriesFile(path, series)
        self.files.append(path)
        self._unopened = None

    def _say(self, what: str) -> None:
        """Log what is so from now on, once."""
        if what not in self._said and len(self._said) < _MOST_REASONS:
            self._said.add(what)
            logger.error("%s", what)

    def _close(self, reason: str) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close(reason)

    def _free_path(self) -> Path:
        """Name the next file; none is ever overwritten."""
        start, end = around_number(self._path)
        while True:
            behind = f"_{self._number}" if self._number > 1 else ""
            path = self._path.with_name(f"{start}{behind}{end}")
            if not path.exists():
                return path
            self._number += 1


class _SeriesFile:
    """The file of one series; it is laid out when the first frame says what frames are like."""

    def __init__(self, path: Path, series: Series) -> None:
        self._series = series
        self._file = h5py.File(path, "w", libver=("v110", "latest"))
        self._data: h5py.Dataset | None = None
        self._times: h5py.Dataset | None = None
        self._start_ns = 0
        self._offsets: dict[int, float] = {}  # by frame, those that are not in the file
        self._n_frames = 0
        self._doubted = 0
        self._flushed_s = time.monotonic()

    def put(self, frame: Frame) -> None:
        """Write a frame at its place."""
        if self._data is None:
            self._lay_out(frame)
        data = self._data
        if data is None or (frame.shape, frame.dtype) != (data.shape[1:], data.dtype.str):
            raise ValueError(f"{frame.shape} {frame.dtype} does not fit the series")
        self._check_number(frame.frame)
        if frame.frame >= data.shape[0]:
            data.resize(frame.frame + 1, axis=0)
        coded, skipped = self._coded(frame)
        data.id.write_direct_chunk((frame.frame, 0, 0), coded, skipped)
        self._n_frames = max(self._n_frames, frame.frame + 1)
        self._offsets[frame.frame] = (frame.time_ns - self._start_ns) * 1e-9
        if time.monotonic() - self._flushed_s > _FLUSH_S:
            self._flush()

    def close(self, reason: str) -> None:
        """Cut the file to the frames that came and close it."""
        try:
            if self._data is None:
                self._describe(None)
            else:
                self._flush()
                self._end_reason[...] = reason[:200]
        finally:
            self._file.close()

    def _coded(self, frame: Frame) -> tuple[bytes | memoryview, int]:
        """Return the chunk of a frame, and 1 if the dataset's filter does not apply to it."""
        if frame.encoding == self._encoding:
            return with_header(frame.data, frame.encoding, frame.dtype, frame.shape), 0
        pixels = decode(frame.data, frame.encoding, frame.dtype, frame.shape)
        stored = np.ascontiguousarray(pixels, frame.dtype)
        return stored.reshape(-1).view(np.uint8).data, 0 if self._encoding == "raw" else 1

    def _lay_out(self, frame: Frame) -> None:
        """Make the datasets; after that HDF5 lets nothing be added but frames."""
        self._encoding = frame.encoding if frame.encoding in _FILTERS else "raw"
        dtype = np.dtype(frame.dtype)
        start = _EPOCH + timedelta(microseconds=frame.time_ns // 1000)
        self._start_ns = frame.time_ns // 1000 * 1000
        entry = self._describe(frame)
        entry["start_time"] = start.isoformat(timespec="microseconds")
        group = entry["data"]
        # What was not received reads as the value that marks masked pixels.
        fill = np.iinfo(dtype).max if dtype.kind == "u" else (-1 if dtype.kind == "i" else np.nan)
        data = group.create_dataset(
            "data",
            (0, *frame.shape),
            dtype,
            maxshape=(None, *frame.shape),
            chunks=(1, *frame.shape),
            fillvalue=fill,
            **_FILTERS[self._encoding],
        )
        data.attrs["image_nr_low"] = 1
        group["data_000001"] = h5py.SoftLink("/entry/data/data")
        self._times = group.create_dataset(
            "start_time", (0,), np.float64, maxshape=(None,), chunks=(_TIMES_CHUNK,)
        )
        self._times.attrs["units"] = "s"
        self._end_reason = entry.create_dataset("end_reason", (), "S200")
        self._file.swmr_mode = True
        self._data = data

    def _describe(self, frame: Frame | None) -> h5py.Group:
        """Write what the series says where readers look for it."""
        series = self._series
        self._file.attrs["default"] = "entry"
        entry = put_group(self._file, "entry", "NXentry")
        entry.attrs["default"] = "data"
        entry["definition"] = "NXmx"
        entry["title"] = series.name
        put_group(entry, "data", "NXdata").attrs["signal"] = "data"
        put_group(entry, "instrument", "NXinstrument")
        detector = put_group(entry, "instrument/detector", "NXdetector")
        beam = put_group(entry, "instrument/beam", "NXbeam")
        specific = put_group(detector, "detectorSpecific", "NXcollection")
        specific["stream_header"] = json.dumps(msgspec.to_builtins(series.metadata))
        for group, places in ((detector, _PLACES), (beam, _BEAM_PLACES)):
            for key, (place, units) in places.items():
                value = series.metadata.get(key)
                if isinstance(value, int | float | str) and place not in group:
                    put_field(group, place, value, units)
        if series.frame_time_s is not None:
            put_field(detector, "frame_time", series.frame_time_s, "s")
        if series.saturation is not None:
            detector["saturation_value"] = series.saturation
        if series.n_frames is not None:
            specific["nimages"] = series.n_frames
            specific["ntrigger"] = 1
        for name, image in (
            ("pixel_mask", _as_u4(series.pixel_mask)),
            ("flatfield", series.flatfield),
        ):
            if image is not None:
                detector.create_dataset(name, data=image, **_FILTERS["bslz4"])
        if frame is not None:
            specific["y_pixels_in_detector"], specific["x_pixels_in_detector"] = frame.shape
            detector["bit_depth_image"] = 8 * np.dtype(frame.dtype).itemsize
        return entry

    def _check_number(self, number: int) -> None:
        """Check that a frame does not make a file of nothing but holes.

        Raises
        ------
        ValueError
            Its number is damaged, or is the first behind a very long gap.
        """
        before, self._doubted = self._doubted, number
        if number - self._n_frames > _FARTHEST_JUMP and not 0 < number - before <= _HORIZON:
            raise ValueError(f"frame {number} is too far behind frame {self._n_frames - 1}")

    def _flush(self) -> None:
        """Let readers see what has come so far."""
        if self._data is None or self._times is None:
            return
        if self._offsets:
            self._times.resize(self._n_frames, axis=0)
            numbers = np.array(sorted(self._offsets))
            for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1):
                offsets = [self._offsets[number] for number in run.tolist()]
                self._times[run[0] : run[-1] + 1] = offsets
        self._offsets = {}
        self._data.flush()
        self._times.flush()
        self._flushed_s = time.monotonic()


def _as_u4(mask: NDArray[np.bool_] | None) -> NDArray[np.uint32] | None:
    return None if mask is None else mask.astype(np.uint32)
