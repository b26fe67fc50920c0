"""The column file that a run is exported as, read by ImageD11 itself."""

import json
import subprocess
from pathlib import Path

import numpy as np

from streamer.export.formats import export_run
from tests.unit.runs import GEOMETRY, make_run

READER = Path(__file__).parent / "readers" / "columnfile.py"


def test_imaged11_reads_the_peaks_and_finds_them_where_they_are(tmp_path, sender_python):
    run = make_run(tmp_path / "today")
    row, col = GEOMETRY.beam
    # Its z is up, along our rows, and its y to the left, against our columns, as it is by default.
    detector = {
        **{"z_center": row, "z_size": GEOMETRY.pixel1_m, "y_center": col},
        **{"y_size": GEOMETRY.pixel2_m, "distance": GEOMETRY.distance_m},
    }
    done = subprocess.run(
        [sender_python("imaged11"), READER, export_run(run.path, "flt"), json.dumps(detector)],
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
