"""Recordings of the simulated detector: the files that an Eiger's file writer leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from streamer.errors import UserError
from streamer.frames.nexus import put_field, put_group
from streamer.simulator.rendering import coded_frames
from streamer.simulator.scene import Scene
from streamer.simulator.stream_v2 import SATURATION
from streamer.simulator.truth import truth_path_for, write_truth

__all__ = ["write_recording"]

_SUFFIX = "_master.h5"


def write_recording(
    scene: Scene, path: Path, *, truth: bool = False, images_per_file: int = 1000
) -> None:
    """Write a scene as HDF5: a master file and the data files that it links to.

    The frames are bitshuffle-LZ4 chunks, one for each. Every file appears under its name only when
    it is complete, the master file last.

    Parameters
    ----------
    scene
        What to record.
    path
        The master file, `x_master.h5`; its data files are `x_data_000001.h5` and so on.
    truth
        Also write the truth, to `streamer.simulator.truth.truth_path_for(path)`.
    images_per_file
        Frames in one data file; the last may have fewer.

    Raises
    ------
    UserError
        The name does not fit, the file exists, or it cannot be written.
    """
    if not path.name.endswith(_SUFFIX):
        raise UserError(f"{path}: name a recording like series_1{_SUFFIX}")
    if path.exists():
        raise UserError(f"{path} exists: choose another name or remove it")
    stem = path.name.removesuffix(_SUFFIX)
    started = datetime.now(UTC).isoformat()
    names: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with coded_frames(scene) as frames:
            for first in range(0, scene.n_frames, images_per_file):
                names.append(f"{stem}_data_{len(names) + 1:06d}.h5")
                count = min(images_per_file, scene.n_frames - first)
                _write_data(path.with_name(names[-1]), scene, first, islice(frames, count), count)
        if truth:
            write_truth(truth_path_for(path), scene.truth(), scene.metadata())
        _write_master(path, scene, names, started)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def _write_data(path: Path, scene: Scene, first: int, frames: Iterator[bytes], count: int) -> None:
    with _new_file(path) as file:
        put_group(file, "entry", "NXentry")
        data = put_group(file, "entry/data", "NXdata").create_dataset(
            "data",
            (count, *scene.shape),
            np.uint16,
            chunks=(1, *scene.shape),
            compression=hdf5plugin.Bitshuffle(),
        )
        # Images are counted from 1 here.
        data.attrs["image_nr_low"] = first + 1
        data.attrs["image_nr_high"] = first + count
        for index, coded in enumerate(frames):
            data.id.write_direct_chunk((index, 0, 0), coded)


def _write_master(path: Path, scene: Scene, names: list[str], started: str) -> None:
    geometry = scene.geometry
    rows, cols = scene.shape
    with _new_file(path) as file:
        entry = put_group(file, "entry", "NXentry")
        entry["definition"] = "NXmx"
        entry["start_time"] = started
        links = put_group(entry, "data", "NXdata")
        for number, name in enumerate(names, start=1):
            links[f"data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        put_group(entry, "instrument", "NXinstrument")
        beam = put_group(entry, "instrument/beam", "NXbeam")
        put_field(beam, "incident_wavelength", geometry.wavelength, "angstrom")
        detector = put_group(entry, "instrument/detector", "NXdetector")
        detector["description"] = "Simulated detector"
        detector["detector_number"] = f"S-{scene.config.seed:04d}"
        detector["bit_depth_image"] = 16
        detector["saturation_value"] = SATURATION
        detector["sensor_material"] = "Si"
        put_field(detector, "sensor_thickness", 450e-6, "m")
        put_field(detector, "count_time", scene.count_time, "s")
        put_field(detector, "frame_time", scene.frame_time, "s")
        put_field(detector, "beam_center_x", geometry.beam[1], "pixel")
        put_field(detector, "beam_center_y", geometry.beam[0], "pixel")
        put_field(detector, "detector_distance", geometry.distance, "m")
        put_field(detector, "x_pixel_size", geometry.pixel_size, "m")
        put_field(detector, "y_pixel_size", geometry.pixel_size, "m")
        detector["pixel_mask"] = scene.panel.mask_bits
        specific = put_group(detector, "detectorSpecific", "NXcollection")
        specific["nimages"] = scene.n_frames
        specific["ntrigger"] = 1
        specific["x_pixels_in_detector"] = cols
        specific["y_pixels_in_detector"] = rows
        specific["compression"] = "bslz4"
        specific["countrate_correction_count_cutoff"] = SATURATION
        specific["data_collection_date"] = started
        specific["pixel_mask"] = detector["pixel_mask"]


@contextmanager
def _new_file(path: Path) -> Iterator[h5py.File]:
    """Give a file that appears under its name when the context is left without an error."""
    partial = path.with_name(f".{path.name}.part")
    try:
        with h5py.File(partial, "w") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
