"""The column file that a run is exported as, read by ImageD11 itself."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from streamer.export.formats import export_run
from streamer.frames.geometry import Geometry
from tests.unit.runs import GEOMETRY, make_run

READER = Path(__file__).parent / "readers" / "columnfile.py"


GEOMETRIES = {
    "straight": GEOMETRY,
    "turned": Geometry(0.09, 0.002, 0.0025, 0.21, -0.13, 0.4, 75e-6, 90e-6, 0.62),
    "flipped": Geometry(0.09, 0.002, -0.0025, -0.2, 0.1, -2.5, 75e-6, -75e-6, 0.62),
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_imaged11_reads_the_peaks_and_finds_them_where_they_are(tmp_path, sender_python, geometry):
    run = make_run(tmp_path / "today", place=geometry)
    done = subprocess.run(
        [sender_python("imaged11"), READER, export_run(run.path, "flt")],
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    )
    # It may speak of what it misses before.
    columns = json.loads(done.stdout.splitlines()[-1])
    peaks = run.read("peaks").to_pandas()
    for theirs, ours in (
        ("sc", "row"), ("fc", "col"), ("sc_sigma", "row_sigma"), ("fc_sigma", "col_sigma"),
        ("sum_intensity", "intensity"), ("frame", "frame"), ("track", "track"),
        ("score", "score"), ("flags", "flags"), ("sum_intensity_sigma", "intensity_sigma"),
        ("fwhm_major", "fwhm_major"), ("fwhm_radial_sigma", "fwhm_radial_sigma"),
        ("lorentzian", "eta"), ("background", "background"), ("asymmetry", "asymmetry"),
    ):  # fmt: skip
        np.testing.assert_array_equal(columns[theirs], peaks[ours], err_msg=theirs)
    for angle in ("tth", "eta"):
        np.testing.assert_allclose(columns[angle], columns[f"its {angle}"], atol=1e-9)
    np.testing.assert_allclose(columns["ds"], 1.0 / peaks["d"], rtol=1e-15)
