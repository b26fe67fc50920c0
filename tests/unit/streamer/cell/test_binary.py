"""Binary files of cyclers: BioLogic's as galvani reads them, Neware's as fastnda does."""

import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from streamer.cell.cycles import half_cycles, kinds_from
from streamer.cell.log import CellLog, open_cell
from streamer.config import CellConfig
from streamer.errors import UserError

BEGUN = datetime(2026, 11, 22, 9, tzinfo=UTC)
BEGUN_NS = round(BEGUN.timestamp()) * 10**9
MAGIC = b"BIO-LOGIC MODULAR FILE\x1a                         \0\0\0\0"


def module(name, data):
    head = struct.pack("<10s25sII8s", name.ljust(10), b"".ljust(25), len(data), 0, b"11/22/26")
    return b"MODULE" + head + data


def mpr(rows, *, is_over=True):
    """Write rows of (mode, s, V, mA, mAh) as EC-Lab does; the log with the date comes last."""
    columns = bytes([1, 4, 6, 8, 13])
    head = struct.pack("<IB", len(rows), len(columns)) + columns
    records = b"".join(struct.pack("<Bdffd", *row) for row in rows)
    days = (BEGUN.replace(tzinfo=None) - datetime(1899, 12, 30)) / timedelta(days=1)  # noqa: DTZ001
    log = module(b"VMP LOG", bytes(465) + struct.pack("<d", days) + bytes(200))
    return (
        MAGIC
        + module(b"VMP Set", b"")
        + module(b"VMP data", head.ljust(100, b"\0") + records)
        + log * is_over
    )


ROWS = [(1 if n % 10 else 3, 60.0 * n, 3.5 + n / 64, 0.5, n / 128) for n in range(20)]


def test_mpr(tmp_path):
    path = tmp_path / "cell.mpr"
    path.write_bytes(mpr(ROWS[:12]))
    source = open_cell(CellConfig(file=str(path), timezone="UTC"))
    got = source.poll()
    assert len(source.poll()) == 0
    path.write_bytes(mpr(ROWS))
    got = got.then(source.poll())
    assert got.time_ns.tolist() == [BEGUN_NS + round(row[1] * 1e9) for row in ROWS]
    assert got.voltage_v.tolist() == [row[2] for row in ROWS]
    np.testing.assert_allclose(got.current_a, 5e-4)
    np.testing.assert_allclose(got.capacity_ah, [row[4] / 1000 for row in ROWS])
    assert half_cycles(got)[1].tolist() == [0 if row[0] == 3 else 1 for row in ROWS]
    assert set(kinds_from(got)) == {"cycler", "current"}
    (account,) = source.accounts()
    assert account.columns["voltage"] == "Ewe/V"
    assert (account.n_read, account.zone) == (20, "UTC")


def test_mpr_that_is_being_written(tmp_path):
    path = tmp_path / "cell.mpr"
    path.write_bytes(mpr(ROWS, is_over=False))
    with pytest.raises(UserError, match=r"set cell\.start"):
        open_cell(CellConfig(file=str(path)))
    config = CellConfig(file=str(path), start=BEGUN)
    log = CellLog(config, tmp_path)
    assert log._readings.time_ns[0] == BEGUN_NS
    path.write_bytes(mpr(ROWS)[:300])
    log.poll()
    assert "half written" in log.lost()
    path.write_bytes(mpr([*ROWS, (1, 1200.0, 4.0, 0.5, 0.0)]))
    log.poll()
    assert len(log._readings) == 21
    assert log.lost() == ""


class Table:
    """As much of a data frame of polars as is used."""

    def __init__(self, columns):
        self.columns = list(columns)
        self._values = columns

    def __len__(self):
        return len(next(iter(self._values.values())))

    def __getitem__(self, name):
        values = np.array(self._values[name])
        return SimpleNamespace(to_numpy=lambda: values, to_list=values.tolist)


@pytest.mark.parametrize("suffix", [".nda", ".ndax"])
def test_nda(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"cell{suffix}"
    path.write_bytes(b"NEWARE")
    kinds = ["Rest", "CC_Chg", "CC_Chg", "CV_Chg", "CC_DChg"]
    columns = {
        "unix_time_s": [BEGUN.timestamp() + 60 * n for n in range(5)],
        "total_time_s": [60.0 * n for n in range(5)],
        "voltage_V": [3.5, 3.6, 3.7, 3.8, 3.7],
        "current_mA": [0.0, 0.5, 0.5, 0.1, -0.5],
        "capacity_mAh": [0.0, 0.1, 0.2, 0.3, 0.4],
        "step_type": kinds,
    }
    made = SimpleNamespace(read=lambda path, cycle_mode: Table(columns))
    monkeypatch.setitem(sys.modules, "fastnda", made)
    got = open_cell(CellConfig(file=str(path))).poll()
    assert got.time_ns.tolist() == [BEGUN_NS + 60 * 10**9 * n for n in range(5)]
    np.testing.assert_allclose(got.current_a, [0, 5e-4, 5e-4, 1e-4, -5e-4])
    assert half_cycles(got)[1].tolist() == [0, 1, 1, 1, -1]
    del columns["unix_time_s"]
    with pytest.raises(UserError, match=r"set cell\.start"):
        open_cell(CellConfig(file=str(path)))
    again = open_cell(CellConfig(file=str(path), start=BEGUN)).poll()
    assert again.time_ns.tolist() == got.time_ns.tolist()


@pytest.mark.parametrize(("name", "package"), [("a.ndax", "fastnda"), ("a.mpr", "galvani")])
def test_package_that_is_missing_or_cannot_read_it_is_told(tmp_path, monkeypatch, name, package):
    path = tmp_path / name
    path.write_bytes(b"no such thing")
    pytest.importorskip(package)
    with pytest.raises(UserError, match="cannot read the cell file"):
        open_cell(CellConfig(file=str(path)))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"install {package}"):
        open_cell(CellConfig(file=str(path)))


def test_fastnda_takes_the_place_of_nothing_in_the_standard_library(tmp_path):
    code = f"""
import contextlib, zlib
from pathlib import Path
from streamer.cell.neware import nda_loader
from streamer.config import CellConfig

kept, path = (zlib.decompress, zlib.decompressobj), Path({str(tmp_path / "a.ndax")!r})
path.write_bytes(b"PK")
with contextlib.suppress(Exception):
    nda_loader(CellConfig(), path)(path)
assert (zlib.decompress, zlib.decompressobj) == kept
"""
    subprocess.run([sys.executable, "-c", code], check=True)
