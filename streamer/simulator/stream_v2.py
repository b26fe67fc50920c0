"""Messages of DECTRIS stream V2: CBOR maps whose arrays are compressed typed arrays.

Each message starts with the self-describe tag, without which DECTRIS' own receiver rejects it, and
its first key is `type`. Arrays are tag 40 (row-major, RFC 8746) of typed arrays, whose bytes are
DECTRIS' compression tag 56500 around a bitshuffle-LZ4 chunk in HDF5 framing.
"""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any

import cbor2
import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from streamer.simulator.panel import NO_DATA
from streamer.simulator.scene import Scene

__all__ = ["CHANNEL", "SATURATION", "SeriesMessages", "encode_bslz4"]

CHANNEL = "threshold_1"
SATURATION = NO_DATA - 1
"""Largest valid count."""

_SELF_DESCRIBE, _MULTI_DIMENSIONAL, _COMPRESSED = 55799, 40, 56500
_TYPED = {"|u1": 64, "<u2": 69, "<u4": 70, "<f4": 85}

_TIME_BASE = 50_000_000
"""Hz; times of images are counted in its periods."""
_HC = 12398.42
"""Planck's constant times the speed of light in eV angstrom."""

_encoding = threading.Lock()


def encode_bslz4(array: NDArray[Any]) -> bytes:
    """Compress an array with bitshuffle and LZ4 in HDF5 framing.

    The HDF5 filter itself makes the bytes, in a file that is never written to disk: they are those
    of a chunk of an Eiger file.
    """
    with _encoding:
        dataset = _chunk(array.shape, array.dtype.str)
        dataset.id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(array))
        coded: bytes = dataset.id.read_direct_chunk((0,) * array.ndim)[1]
    return coded


@cache
def _scratch() -> h5py.File:
    return h5py.File("scratch", "w", driver="core", backing_store=False)


@cache
def _chunk(shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    return _scratch().create_dataset(
        f"{shape} {dtype}", shape, dtype, chunks=shape, compression=hdf5plugin.Bitshuffle()
    )


class SeriesMessages:
    """The messages of one series.

    Parameters
    ----------
    scene
        What is measured.
    series_id
        Number of the series; a detector counts them up.
    date
        When the series was armed and its clock started; default: now.
    """

    def __init__(self, scene: Scene, series_id: int, date: datetime | None = None) -> None:
        self.scene = scene
        self.series_id = series_id
        self.date = date or datetime.now(UTC)
        self.unique_id = str(uuid.uuid4())

    def start(self) -> bytes:
        """Return the message sent when the detector is armed."""
        scene, geometry = self.scene, self.scene.geometry
        rows, cols = scene.shape
        energy = _HC / geometry.wavelength
        return _dumps(
            {
                "type": "start",
                "arm_date": self.date,
                "beam_center_x": geometry.beam[1],
                "beam_center_y": geometry.beam[0],
                "channels": [CHANNEL],
                "count_time": scene.count_time,
                "countrate_correction_enabled": False,
                "countrate_correction_lookup_table": _typed(np.arange(NO_DATA, dtype=np.uint32)),
                "detector_description": "Simulated detector",
                "detector_serial_number": f"S-{scene.config.seed:04d}",
                "detector_translation": [0.0, 0.0, geometry.distance],
                "flatfield": {CHANNEL: _array(np.ones(scene.shape, np.float32))},
                "flatfield_enabled": True,
                "frame_time": scene.frame_time,
                "goniometer": {"omega": {"increment": 0.0, "start": 0.0}},
                "image_dtype": "uint16",
                "image_size_x": cols,
                "image_size_y": rows,
                "incident_energy": energy,
                "incident_wavelength": geometry.wavelength,
                "number_of_images": scene.n_frames,
                "pixel_mask": {CHANNEL: _array(scene.panel.mask_bits)},
                "pixel_mask_enabled": True,
                "pixel_size_x": geometry.pixel_size,
                "pixel_size_y": geometry.pixel_size,
                "saturation_value": SATURATION,
                "sensor_material": "Si",
                "sensor_thickness": 450e-6,
                "series_id": self.series_id,
                "series_unique_id": self.unique_id,
                "threshold_energy": {CHANNEL: energy / 2.0},
                "user_data": {},
                "virtual_pixel_interpolation_enabled": False,
            }
        )

    def image(self, index: int, coded: bytes, start_s: float) -> bytes:
        """Return the message of one frame.

        Parameters
        ----------
        index
            Number of the frame, from 0.
        coded
            Its pixels, uint16, from `encode_bslz4`.
        start_s
            Start of its exposure in seconds since the series' date.
        """
        start = round(start_s * _TIME_BASE)
        exposure = round(self.scene.count_time * _TIME_BASE)
        return _dumps(
            {
                "type": "image",
                "data": {CHANNEL: _multi_dimensional(self.scene.shape, "<u2", coded)},
                "image_id": index,
                "real_time": [exposure, _TIME_BASE],
                "series_date": self.date,
                "series_id": self.series_id,
                "series_unique_id": self.unique_id,
                "start_time": [start, _TIME_BASE],
                "stop_time": [start + exposure, _TIME_BASE],
                "user_data": {},
            }
        )

    def end(self) -> bytes:
        """Return the message sent when the series is over, complete or not."""
        return _dumps(
            {"type": "end", "series_id": self.series_id, "series_unique_id": self.unique_id}
        )


def _dumps(message: dict[str, Any]) -> bytes:
    encoded: bytes = cbor2.dumps(cbor2.CBORTag(_SELF_DESCRIBE, message))
    return encoded


def _array(array: NDArray[Any]) -> cbor2.CBORTag:
    return _multi_dimensional(array.shape, array.dtype.str, encode_bslz4(array))


def _multi_dimensional(shape: tuple[int, ...], dtype: str, coded: bytes) -> cbor2.CBORTag:
    return cbor2.CBORTag(_MULTI_DIMENSIONAL, [list(shape), _compressed(dtype, coded)])


def _typed(array: NDArray[Any]) -> cbor2.CBORTag:
    return _compressed(array.dtype.str, encode_bslz4(array))


def _compressed(dtype: str, coded: bytes) -> cbor2.CBORTag:
    data = cbor2.CBORTag(_COMPRESSED, ["bslz4", np.dtype(dtype).itemsize, coded])
    return cbor2.CBORTag(_TYPED[dtype], data)
