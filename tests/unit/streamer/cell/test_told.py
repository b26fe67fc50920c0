"""Where a user reads what was taken of the cell: console, page, report, run folder."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from streamer.cell.check import check_cell
from streamer.cell.cycles import spans
from streamer.cell.log import CellLog
from streamer.config import CellConfig
from streamer.dashboard.archive import Archive
from streamer.dashboard.cell import cell_message
from streamer.dashboard.state import RunState
from streamer.report.run import write_report
from streamer.results.folder import RunFolder
from streamer.run.console import LiveView, PlainView, print_summary
from tests.unit.runs import BEGIN, STEP, make_run
from tests.unit.streamer.dashboard.test_server import decode
from tests.unit.streamer.run.test_console import shown, snapshot


@pytest.fixture
def run(tmp_path):
    """A run beside whose frames voltages were read, and once none could be."""
    folder = make_run(tmp_path / "run", source="none.npy")
    times = BEGIN + np.arange(60) * STEP
    volts = np.concatenate([np.linspace(3.5, 4.2, 30), np.linspace(4.2, 3.5, 30)])
    rows = [f"{one},{volt:.5f}\n" for one, volt in zip(times, volts, strict=True)]
    (tmp_path / "cell.csv").write_text("time_ns,voltage/V\n" + "".join(rows) + "rubbish,1\n")
    log = CellLog(CellConfig(file=str(tmp_path / "cell.csv")), folder.path)
    log.close()
    summary = folder.read_summary()
    folder.write_summary(summary | {"cell": log.record(), "troubles": {}})
    return folder


def test_run_json_and_table_say_what_was_taken(run):
    cell = run.read_summary()["cell"]
    assert (cell["rows_read"], cell["rows_not_read"]) == (60, 1)
    (file,) = cell["files"]
    assert file["columns"] == {"time": "time_ns", "voltage": "voltage/V"}
    assert file["times"] == "ns since 1970"
    assert "rubbish" in file["why"]
    assert "a guess" in cell["kinds"]
    table = pq.read_table(run.path / "cell.parquet")
    assert set(table["kind_from"].to_pylist()) == {"guess"}
    assert [one.is_guess for one in spans(table)] == [True, True]


def test_readings_of_another_time_than_the_frames_are_told(run, tmp_path):
    log = CellLog(CellConfig(file=str(tmp_path / "cell.csv")), tmp_path)
    times = np.append(BEGIN + np.arange(60) * STEP, 0)
    for shift_ns, is_told in ((0, False), (3600 * 10**9, True), (-3600 * 10**9, True)):
        lost = log.record(np.where(times > 0, times + shift_ns, 0))["lost"]
        assert ("see cell.timezone, cell.offset_s and cell.start" in lost) == is_told
        log.close()


def test_console_says_it(run):
    out = io.StringIO()
    print_summary(Console(file=out, width=300), run.read_summary())
    for words in ("60 readings; charge and discharge by a guess", "1 rows of", "rubbish"):
        assert words in out.getvalue()
    lost = run.read_summary()["cell"]["lost"]
    assert lost == "1 rows of the cell's file not read"
    for view, terminal in ((PlainView, False), (LiveView, True)):
        assert lost in shown(view, terminal, snapshot(cell=lost))


def test_page_says_it(run):
    lost = run.read_summary()["cell"]["lost"]
    assert lost in RunState(run.path).health(Archive(run))["lost"]
    message = cell_message(run.read_cell(), BEGIN + np.arange(60) * STEP, np.arange(60))
    assert [one["guess"] for one in decode(message)[0]["half_cycles"]] == [True, True]
    summary = run.read_summary()
    del summary["cell"]
    run.write_summary(summary | {"state": "running"})
    (run.path / "live.json").write_text(json.dumps({"cell": "2 rows"}))
    assert "2 rows" in RunState(run.path).health(Archive(run))["lost"]


def test_report_says_it(run, tmp_path):
    text = write_report(run.path, tmp_path / "out").read_text()
    for words in ("guessed by the slope of the voltage", "60 read, 1 not read", "ns since 1970"):
        assert words in text


@pytest.mark.parametrize("rest", ["", "rubbish,2\n"])
def test_check_says_it_before_a_run(tmp_path, rest):
    path = tmp_path / "cell.csv"
    path.write_text(f"time,voltage,current(mA)\n1772366400,3.5,1\n1772366460,3.5,1\n{rest}")
    out = io.StringIO()
    assert check_cell(CellConfig(file=str(path)), Console(file=out, width=200)) is not bool(rest)
    for words in (
        "voltage: voltage (no unit named: taken as V); current: current(mA)",
        "times s since 1970",
        f"2 rows read, {int(bool(rest))} not read",
        "charge, discharge and rest by the current, which is never below zero",
        "from 2026-03-01 12:00:00+00:00 to 2026-03-01 12:01:00+00:00",
    ):
        assert words in out.getvalue()


def test_folder_of_a_run_without_a_cell_has_none(tmp_path):
    folder = make_run(tmp_path / "run", source="none.npy", cell=False)
    assert RunFolder.open(folder.path).read_cell().num_rows == 0
    assert "cell" not in folder.read_summary()
