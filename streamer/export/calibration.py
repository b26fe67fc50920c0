"""Where the detector is, in the files of other programs."""

from __future__ import annotations

import json
import math

import numpy as np

from streamer.frames.geometry import Geometry

__all__ = ["par_text", "poni_text"]


def par_text(geometry: Geometry) -> str:
    """Return the parameters of ImageD11, lengths in µm.

    The laboratory's x is along the beam and its z along our rows, where the detector is not
    turned, so that its y runs against our columns (``o22`` is -1). Its axes turn about the place
    where the beam meets the detector.
    """
    row, col = geometry.beam
    slow, fast = geometry.axes
    # (along the beam, against columns, along rows) of the detector's normal, y and z
    z = np.array([slow[2], -slow[1], slow[0]])
    y = np.array([-fast[2], fast[1], -fast[0]])
    x = np.cross(y, z)
    values: dict[str, float | int] = {
        "distance": geometry.beam_distance_m * 1e6,
        "o11": 1, "o12": 0, "o21": 0, "o22": -1,
        "tilt_x": math.atan2(-z[1], z[2]),
        "tilt_y": math.asin(min(max(z[0], -1.0), 1.0)),
        "tilt_z": math.atan2(-y[0], x[0]),
        "wavelength": geometry.wavelength_a,
        "y_center": col, "y_size": geometry.pixel2_m * 1e6,
        "z_center": row, "z_size": geometry.pixel1_m * 1e6,
        "chi": 0.0, "omegasign": 1.0, "t_x": 0.0, "t_y": 0.0, "t_z": 0.0, "wedge": 0.0,
    }  # fmt: skip
    if math.isnan(geometry.wavelength_a):
        del values["wavelength"]
    return "".join(f"{name} {value}\n" for name, value in sorted(values.items()))


def poni_text(geometry: Geometry) -> str | None:
    """Return a calibration file of pyFAI, version 2.1.

    None for an image whose rows or columns run against the axes: such a file must say how many
    pixels the detector has, which a geometry does not know.
    """
    if geometry.pixel1_m < 0 or geometry.pixel2_m < 0:
        return None
    detector = {"pixel1": geometry.pixel1_m, "pixel2": geometry.pixel2_m, "orientation": 3}
    lines = [
        f"# {geometry.source}".replace("\n", " "),
        "poni_version: 2.1",
        "Detector: Detector",
        f"Detector_config: {json.dumps(detector)}",
        f"Distance: {geometry.distance_m}",
        f"Poni1: {geometry.poni1_m}",
        f"Poni2: {geometry.poni2_m}",
        f"Rot1: {geometry.rot1}",
        f"Rot2: {geometry.rot2}",
        f"Rot3: {geometry.rot3}",
    ]
    if not math.isnan(geometry.wavelength_a):
        lines.append(f"Wavelength: {geometry.wavelength_a * 1e-10}")
    return "\n".join(lines) + "\n"
