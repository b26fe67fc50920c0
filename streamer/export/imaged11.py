"""The peaks of a run as a column file of ImageD11."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from streamer.results.folder import RunFolder
from streamer.results.rows import batches

__all__ = ["write_flt"]

_MEASURED = (
    "background", "fwhm_major", "fwhm_minor", "angle", "asymmetry", "centre_row",
    "centre_col", "fwhm_radial", "fwhm_azimuthal",
)  # fmt: skip
_COLUMNS = {
    "sc": "row", "fc": "col", "omega": None, "s_raw": "row", "f_raw": "col",
    "sum_intensity": "intensity", "IMax_s": "peak_row", "IMax_f": "peak_col", "spot3d_id": None,
    "sc_sigma": "row_sigma", "fc_sigma": "col_sigma", "frame": "frame", "timestamp": "time_ns",
    "track": "track", "score": "score", "flags": "flags", "tth": "two_theta", "eta": "chi",
    "ds": "d", "series": "series", "sigs": None, "sigf": None, "covsf": None,
    "sum_intensity_sigma": "intensity_sigma", "lorentzian": "eta", "lorentzian_sigma": "eta_sigma",
    **{f"{name}{more}": f"{name}{more}" for name in _MEASURED for more in ("", "_sigma")},
}  # fmt: skip
"""Its names of columns, and ours that they come from; what it has no name for has ours, but for
``eta``, which is the azimuth there."""
_FWHM = math.sqrt(8.0 * math.log(2.0))


def write_flt(folder: RunFolder, out: Path) -> None:
    """Write a ``.flt`` file, one row for each peak.

    `s` is the slow axis, our rows, `f` the fast one, our columns, with the same convention: an
    integer is the centre of a pixel. There is no distortion to correct, so that ``sc`` is
    ``s_raw``. ``omega`` is 0: nothing turns. ``eta`` counts from the rows' axis towards the
    columns' axis, which is ImageD11's where rows point up and columns to the right, seen from the
    sample. ``sigs``, ``sigf`` and ``covsf`` are what ImageD11 makes of the second moments of a
    Gaussian that is as wide: the roots of the variances plus 1, and the covariance over both. What
    is not known (numbers of pixels) is not there, what was not measured of a peak is NaN.
    """
    begun: list[str] = []
    options = pcsv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    schema = pa.schema([(name, _type(name)) for name in _COLUMNS])
    with out.open("wb") as file:
        file.write(("#  " + "  ".join(_COLUMNS) + "\n").encode())
        file.flush()
        first = 0
        with pcsv.CSVWriter(file, schema, write_options=options) as writer:
            for table in batches(folder, "peaks"):
                begun += [one for one in table["series"].unique().to_pylist() if one not in begun]
                writer.write_table(_columns(table, begun, first, schema))
                first += len(table)


def _columns(table: pa.Table, series: list[str], first: int, schema: pa.Schema) -> pa.Table:
    names = table["series"].combine_chunks().dictionary_encode()
    number = np.array([series.index(name) for name in names.dictionary.to_pylist()], np.int64)
    made: dict[str, NDArray[np.generic]] = {
        "omega": np.zeros(len(table)),
        "spot3d_id": np.arange(first, first + len(table)),
        "timestamp": table["time_ns"].to_numpy() * 1e-9,
        "eta": 90.0 - table["chi"].to_numpy(),
        "ds": 1.0 / table["d"].to_numpy(),
        "series": number[names.indices.to_numpy()],
        **_moments(table),
    }
    made["eta"] = np.where(made["eta"] > 180.0, made["eta"] - 360.0, made["eta"])  # type: ignore[operator]
    columns = [made[to] if to in made else table[of] for to, of in _COLUMNS.items()]
    return pa.table(columns, schema=schema)


def _moments(table: pa.Table) -> dict[str, NDArray[np.float64]]:
    """Return widths along both axes and their covariance, as ImageD11 defines them."""
    major, minor = ((table[f"fwhm_{name}"].to_numpy() / _FWHM) ** 2 for name in ("major", "minor"))
    angle = np.radians(table["angle"].to_numpy())
    # A round spot has widths and no direction: it is as wide along both axes.
    is_round = np.isnan(angle)
    angle[is_round] = 0.0
    major[is_round] = minor[is_round] = (major[is_round] + minor[is_round]) / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    slow = np.sqrt(major * sine**2 + minor * cosine**2 + 1.0)
    fast = np.sqrt(major * cosine**2 + minor * sine**2 + 1.0)
    return {"sigs": slow, "sigf": fast, "covsf": (major - minor) * sine * cosine / (slow * fast)}


def _type(name: str) -> pa.DataType:
    whole = ("IMax_s", "IMax_f", "spot3d_id", "frame", "track", "flags", "series")
    return pa.int64() if name in whole else pa.float64()
