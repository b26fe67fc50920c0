"""The cell's channel: tables that grow, half-cycles, and what is kept in the run folder."""

import csv
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from streamer.cell.base import Readings
from streamer.cell.cycles import half_cycles
from streamer.cell.lines import GrowingLines
from streamer.cell.log import CellLog, open_cell
from streamer.cell.tables import TableSource
from streamer.config import CellConfig, load_config
from streamer.errors import UserError
from streamer.results.folder import RunFolder
from streamer.simulator.cycler import Cycler
from streamer.simulator.scene import Scene

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
START_NS = int(START.timestamp()) * 10**9


def readings(current=None, voltage=None, step_s=60.0):
    n = len(current if current is not None else voltage)
    time_ns = START_NS + np.rint(np.arange(n) * step_s * 1e9).astype(np.int64)
    unknown = np.full(n, np.nan)
    return Readings(
        time_ns,
        unknown if voltage is None else np.asarray(voltage, float),
        unknown if current is None else np.asarray(current, float),
        unknown,
    )


@pytest.mark.parametrize(
    ("head", "line", "wanted"),
    [
        ("time_s,voltage_v,current_a,capacity_ah", "{t},3.9,0.5,0.2", (3.9, 0.5, 0.2)),
        ("Time,Voltage [mV],Current [mA],Capacity [mAh]", "{t},3900,500,200", (3.9, 0.5, 0.2)),
        ("time/s\tEwe/V\tI/mA\t(Q-Qo)/mA.h", "{t}\t3.9\t-500\t200", (3.9, -0.5, 0.2)),
        ("Time;Voltage (V);Current (A)", "{t};3,9;-0,5", (3.9, -0.5, np.nan)),
        ("timestamp,U", "{iso},3.9", (3.9, np.nan, np.nan)),
        ("Date Time,v", "{iso},3.9", (3.9, np.nan, np.nan)),
    ],
)
def test_tables_of_several_instruments(tmp_path, head, line, wanted):
    path = tmp_path / "cell.csv"
    moments = [START + timedelta(seconds=30 * n) for n in range(3)]
    rows = [line.format(t=moment.timestamp(), iso=moment.isoformat()) for moment in moments]
    if "Ewe" in head:
        head, rows = head, [row.replace("(Q-Qo)", "Q") for row in rows]
        head = head.replace("(Q-Qo)/mA.h", "Q/mA.h")
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    source = TableSource(path, CellConfig())
    got = source.poll()
    source.close()
    assert got.time_ns.tolist() == [START_NS + 30 * 10**9 * n for n in range(3)]
    values = (got.voltage_v[0], got.current_a[0], got.capacity_ah[0])
    np.testing.assert_allclose(values, wanted)
    assert source.n_unreadable == 0


def test_lines_are_read_as_they_are_completed(tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text("time,voltage\n1772366400,3.5\n17723")
    source = TableSource(path, CellConfig())
    assert source.poll().voltage_v.tolist() == [3.5]
    assert len(source.poll()) == 0
    with path.open("a") as file:
        file.write("66430,3.6\n\n# a remark\nrubbish,line\n1772366460,")
    assert source.poll().voltage_v.tolist() == [3.6]
    assert source.n_unreadable == 1
    with path.open("a") as file:
        file.write("3.7\n")
    assert source.poll().voltage_v.tolist() == [3.7]
    source.close()


def test_biologic_text(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    import time

    time.tzset()
    path = tmp_path / "cell.mpt"
    path.write_text(
        "EC-Lab ASCII FILE\nNb header lines : 5\nAcquisition started on : 03/01/2026 12:00:00.000\n"
        "\ntime/s\tEwe/V\t<I>/mA\n0.0\t3.5\t1.0\n10.0\t3.6\t1.0\n",
        encoding="latin-1",
    )
    source = TableSource(path, CellConfig(columns={"current": "<I>/mA"}))
    got = source.poll()
    source.close()
    assert got.time_ns.tolist() == [START_NS, START_NS + 10**10]
    assert got.voltage_v.tolist() == [3.5, 3.6]
    np.testing.assert_allclose(got.current_a, 1e-3)


def test_times_that_count_from_the_start_need_one(tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text("time,voltage\n0,3.5\n60,3.6\n")
    with pytest.raises(UserError, match=r"set cell\.start"):
        CellLog(CellConfig(file=str(path)), tmp_path)
    source = open_cell(CellConfig(file=str(path), start=START))
    assert source.poll().time_ns.tolist() == [START_NS, START_NS + 60 * 10**9]
    source.close()


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        ("", {}, "no line with the names"),
        ("a,b\n", {}, "looks like its time: set cell.columns.time to one of a, b"),
        ("time,b\n", {}, "looks like its voltage"),
        ("time,b\n", {"voltage": "c"}, "no column 'c': set cell.columns from time, b"),
    ],
)
def test_tables_that_do_not_fit_are_told(tmp_path, text, columns, says):
    path = tmp_path / "cell.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        open_cell(CellConfig(file=str(path), columns=columns))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(UserError, match="cannot read the cell file"):
        open_cell(CellConfig(file=str(tmp_path / "cell.csv")))
    (tmp_path / "cell.mpr").write_bytes(b"no such thing")
    with pytest.raises(UserError, match="cannot read the cell file"):
        open_cell(CellConfig(file=str(tmp_path / "cell.mpr")))


def test_half_cycles_by_the_current():
    current = [0] * 5 + [1] * 20 + [0] * 5 + [1] * 5 + [0] * 3 + [-1] * 20 + [0.001] * 4 + [1] * 9
    number, sign = half_cycles(readings(current=current))
    wanted = [-1] * 5 + [0] * 20 + [-1] * 5 + [0] * 5 + [-1] * 3 + [1] * 20 + [-1] * 4 + [2] * 9
    assert number.tolist() == wanted
    assert sign.tolist() == np.sign(np.round(current)).astype(int).tolist()


def test_half_cycles_by_the_voltage():
    rising, falling = np.linspace(3.5, 4.5, 40), np.linspace(4.5, 3.5, 40)
    number, _ = half_cycles(readings(voltage=[*rising, *falling]))
    assert number[5] == 0
    assert number[-5] == 1
    assert set(number.tolist()) <= {-1, 0, 1}
    assert half_cycles(readings(voltage=[3.5] * 10))[0].tolist() == [-1] * 10


def test_spikes_part_no_half_cycle():
    current = np.ones(40)
    current[[10, 20, 21]] = -1
    number, _ = half_cycles(readings(current=current))
    assert number.tolist() == [0] * 40


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_readings(n):
    assert len(half_cycles(readings(current=np.ones(n)))[0]) == n
    assert len(half_cycles(readings(voltage=np.ones(n)))[0]) == n


def test_run_folder_keeps_the_channel_as_it_grows(tmp_path):
    now = [0.0]
    path = tmp_path / "cycler.csv"
    path.write_text("time,voltage,current\n1772366400,3.5,1\n")
    log = CellLog(CellConfig(file=str(path), offset_s=2.5), tmp_path, lambda: now[0])
    kept = tmp_path / "cell.parquet"
    assert pq.read_table(kept)["time_ns"].to_pylist() == [START_NS + 2_500_000_000]
    with path.open("a") as file:
        file.write("".join(f"{1772366400 + n},3.6,1\n" for n in range(1, 10)))
    log.poll()
    assert pq.read_table(kept).num_rows == 1, "it is not written at every poll"
    now[0] = 10.0
    log.poll()
    table = pq.read_table(kept)
    assert table["kind"].to_pylist() == ["charge"] * 10
    assert table["half_cycle"].to_pylist() == [0] * 10
    with path.open("a") as file:
        file.write("1772366410,3.7,0\n")
    log.close()
    assert pq.read_table(kept).num_rows == 11


BAD_LINES = [
    "60,3.6",
    "1e300,3.6",
    "-1e300,3.6",
    "1772366400000,3.6",
    "9999-12-31 00:00:00,3.6",
    "0001-01-01T00:00:00+14:00,3.6",
    "x" * 140_000 + ",3.6",
    "1772366\r430,3.6",
    "nan,3.6",
    "1772366430",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_line_that_does_not_fit_is_left_out_and_told(tmp_path, line, caplog):
    path = tmp_path / "cell.csv"
    path.write_text("time,voltage\n1772366400,3.5\n")
    log = CellLog(CellConfig(file=str(path)), tmp_path)
    for second in (30, 60):  # beside others, and alone
        with path.open("a", newline="") as file:
            file.write(f"{line}\n{1772366400 + second},3.{second}\n{line}\n")
        log.poll()
        with path.open("a", newline="") as file:
            file.write(f"{line}\n")
        log.poll()
    log.close()
    table = pq.read_table(tmp_path / "cell.parquet")
    assert table["voltage_v"].to_pylist() == [3.5, 3.3, 3.6]
    assert caplog.text.count("a line is left out") == 1


@pytest.mark.parametrize(
    "head", ["x" * 140_000 + ",time,voltage", "Nb header lines : " + "9" * 5000]
)
def test_head_of_any_kind_is_told(tmp_path, head):
    path = tmp_path / "cell.csv"
    path.write_text(f"EC-Lab ASCII FILE\n{head}\n" if "Nb" in head else f"{head}\n1,2,3\n")
    with pytest.raises(UserError):
        open_cell(CellConfig(file=str(path)))


@pytest.mark.parametrize(
    "error",
    [
        UserError("set cell.start"),
        OSError("the share is gone"),
        OverflowError("too large"),
        IndexError("out of range"),
        csv.Error("field too long"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("fails", ["poll", "write_cell"])
def test_whatever_the_channel_raises_is_told_once_and_tried_again(tmp_path, caplog, error, fails):
    now = [0.0]
    path = tmp_path / "cycler.csv"
    path.write_text("time,voltage\n1772366400,3.5\n")
    log = CellLog(CellConfig(file=str(path)), tmp_path, lambda: now[0])
    with path.open("a") as file:
        file.write("1772366401,3.6\n")
    place = log._source if fails == "poll" else log._folder

    def fail(*_):
        raise error

    works = getattr(place, fails)
    setattr(place, fails, fail)
    for _ in range(3):
        now[0] += 1.5
        log.poll()
    assert len(caplog.records) == 1
    assert (str(error) or "MemoryError") in caplog.text
    setattr(place, fails, works)
    now[0] += 10.0
    log.poll()
    assert pq.read_table(tmp_path / "cell.parquet").num_rows == 2
    setattr(place, fails, fail)
    log.close()


def test_a_head_alone_is_waited_for_and_what_follows_may_need_a_start(tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text("Time,Voltage/V,Current/A\n")
    logs = [
        CellLog(CellConfig(file=str(path), **start), tmp_path / name)
        for name, start in (("none", {}), ("told", {"start": "2026-11-22T09:30:00+01:00"}))
    ]
    with path.open("a") as file:
        file.write("0.0,3.7,0.1\n")
    for log in logs:
        log.poll()
    without, told = logs
    assert "count from the start of the measurement: set cell.start to when" in without.lost()
    assert (told.lost(), told.record()["rows_read"]) == ("", 1)
    for log in logs:
        log.close()


def test_a_channel_that_grew_and_does_no_more_is_said_to_be_silent(tmp_path):
    path, now = tmp_path / "cycler.csv", [0.0]
    path.write_text("time,voltage\n1772366400,3.5\n1772366401,3.5\n")
    log = CellLog(CellConfig(file=str(path)), tmp_path, clock=lambda: now[0])
    now[0] = 1000.0
    log.poll()
    assert log.missed() == ""  # as a file that is whole
    with path.open("a") as file:
        file.write("1772366402,3.5\n1772366403,3.5\n")
    log.poll()
    now[0] += 15.0
    assert log.missed() == ""
    now[0] += 25.0
    log.poll()
    assert log.missed() == "cell silent for 40 s"
    with path.open("a") as file:
        file.write("1772366444,3.5\n")
    log.poll()
    assert log.missed() == ""
    log.close()


def test_channel_that_fails_ends_nothing(tmp_path, caplog):
    path = tmp_path / "cycler.csv"
    path.write_text("time,voltage\n1772366400,3.5\n")
    log = CellLog(CellConfig(file=str(path)), tmp_path)

    def fail():
        raise OSError("the share is gone")

    log._source.poll = fail
    log.poll()
    log.poll()
    assert caplog.text.count("the share is gone") == 1
    log.close()


def test_simulated_cycler_writes_what_the_truth_says(tmp_path):
    sizes = ["simulate.frames=100", "simulate.rows=128", "simulate.cols=128", "simulate.spots=2"]
    scene = Scene(load_config(None, sizes).simulate)
    path = tmp_path / "cell.csv"
    with Cycler(scene, path) as cycler:
        for index in range(scene.n_frames):
            cycler.note(index, START.timestamp() + index)
    source = open_cell(CellConfig(file=str(path)))
    got = source.poll()
    source.close()
    truth = scene.truth()
    first = np.unique(truth["frame"].to_numpy(), return_index=True)[1]
    np.testing.assert_allclose(got.voltage_v, truth["voltage_v"].to_numpy()[first], atol=1e-5)
    number, sign = half_cycles(got)
    assert number[30] == 0
    assert sign[30] == 1
    assert number[70] == 1
    assert sign[70] == -1
    assert os.path.getsize(path) > 0


def test_readings_of_a_pv_outlive_the_launcher_that_took_them(tmp_path, monkeypatch):
    class Pv:
        """Gives each reading once, like a PV."""

        def __init__(self, time_ns):
            self.new = Readings(np.array([time_ns]), *np.array([[3.5], [0.1], [np.nan]]))

        def poll(self):
            new, self.new = self.new, Readings.empty()
            return new

        def close(self):
            pass

    RunFolder.create(tmp_path / "run")
    config = CellConfig(file="pva://cell", offset_s=-2.0)
    for time_ns in (10**18, 10**18 + 5):
        monkeypatch.setattr("streamer.cell.log.open_cell", lambda _, now=time_ns: Pv(now))
        CellLog(config, tmp_path / "run").close()
    table = RunFolder(tmp_path / "run").read_cell()
    begin = 10**18 - 2 * 10**9
    assert table["time_ns"].to_pylist() == [begin, begin + 5]
    assert table["voltage_v"].to_pylist() == [3.5, 3.5]


@pytest.mark.parametrize("year", [1, 9999])
def test_a_start_in_the_year_9999_makes_no_time_that_no_table_holds(tmp_path, year):
    path = tmp_path / "cell.csv"
    path.write_text("time/s,voltage\n1,3.9\n2,3.8\n", encoding="utf-8")
    with pytest.raises(UserError):
        TableSource(path, CellConfig(start=datetime(year, 12, 31, tzinfo=UTC))).poll()


def test_a_line_without_end_takes_no_memory_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.cell.lines._LONGEST_LINE", 100)
    monkeypatch.setattr("streamer.cell.lines._MOST_BYTES", 64)
    path = tmp_path / "cell.csv"
    path.write_text(f"time,voltage\n1767261602,{'9' * 1000}\n1767261603,3.8\n", encoding="utf-8")
    growing, lines = GrowingLines(path), []
    for _ in range(20):
        lines += growing.read()[0]
        assert len(growing._rest) <= 100
    assert (lines[0], lines[-1]) == ("time,voltage", "1767261603,3.8")
    assert len(lines[1]) < 200
