"""What is found out of a table, what is asked for, and what becomes of a file that changes."""

import os
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from streamer.cell.cycles import half_cycles
from streamer.cell.log import CellLog, open_cell
from streamer.config import CellConfig
from streamer.errors import UserError

BEGUN = datetime(2026, 4, 3, 10, tzinfo=UTC)
HEAD = "Time,Voltage (V),Current (mA)\n"


def row(date, volts=3.7, milliamps=1.0, form="%Y-%m-%d %H:%M:%S"):
    return f"{date.strftime(form)},{volts},{milliamps}\n"


def opened(path, text, encoding="utf-8", **options):
    path.write_text(text, encoding=encoding, newline="")
    return open_cell(CellConfig(file=str(path), **({"timezone": "UTC"} | options)))


def moments(readings):
    return [datetime.fromtimestamp(ns / 1e9, UTC) for ns in readings.time_ns.tolist()]


def refusal(path, text, **options):
    with pytest.raises(UserError) as caught:
        opened(path, text, **options)
    return str(caught.value)


SLASHES = "%d/%m/%Y %H:%M:%S"


def test_dates_that_leave_the_month_open_are_asked_for(tmp_path):
    text = HEAD + row(BEGUN, form=SLASHES)
    said = refusal(tmp_path / "c.csv", text)
    assert "03/04/2026" in said
    assert "set cell.date_form to dmy or mdy" in said
    for order, month in (("dmy", 4), ("mdy", 3)):
        (moment,) = moments(opened(tmp_path / "c.csv", text, date_form=order).poll())
        assert moment.month == month


@pytest.mark.parametrize("form", [SLASHES, "%m/%d/%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S"])
def test_a_day_beyond_the_twelfth_or_a_midnight_tells_the_month(tmp_path, form):
    for begun in (BEGUN.replace(day=30), BEGUN):
        dates = [begun + timedelta(hours=n) for n in range(24)]
        source = opened(tmp_path / "c.csv", HEAD + "".join(row(one, form=form) for one in dates))
        assert moments(source.poll()) == dates


def test_rows_wait_until_their_dates_are_understood(tmp_path, caplog):
    path = tmp_path / "c.csv"
    path.write_text(HEAD)
    log = CellLog(CellConfig(file=str(path), timezone="UTC"), tmp_path)
    dates = [BEGUN.replace(hour=22) + timedelta(hours=n) for n in range(4)]
    for n, date in enumerate(dates):
        with path.open("a") as file:
            file.write(row(date, form=SLASHES))
        log.poll()
        if n < 2:
            assert "set cell.date_form" in log.lost()
            assert log.record()["rows_not_read"] == n + 1
    assert caplog.text.count("set cell.date_form") == 1
    assert log.lost() == ""
    assert moments(log._readings) == dates


def test_no_row_that_can_be_read_is_a_mistake_from_the_start(tmp_path):
    path = tmp_path / "c.csv"
    text = HEAD + "".join(row(BEGUN, volts="over") for _ in range(5))
    assert "none of the 5 rows" in refusal(path, text)
    assert "4 cells in 3 columns" in refusal(path, HEAD + row(BEGUN, volts="3,7"))


def test_rows_that_cannot_be_read_are_counted(tmp_path):
    source = opened(tmp_path / "c.csv", HEAD + row(BEGUN) + row(BEGUN, volts="") + row(BEGUN))
    assert len(source.poll()) == 2
    (account,) = source.accounts()
    assert (account.n_read, account.n_unread) == (2, 1)
    assert "no voltage" in account.why


def test_optional_cells_may_be_empty(tmp_path):
    source = opened(tmp_path / "c.csv", HEAD + row(BEGUN, milliamps="") + row(BEGUN))
    np.testing.assert_array_equal(source.poll().current_a, [np.nan, 1e-3])


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("Step Time(s),Voltage(V)", "no column that looks like its time"),
        ("Time,Voltage 1(V),Voltage 2(V)", r"2 columns that look like its voltage: set cell.col"),
        ("Time,Voltage(V),Current(xA)", "the unit of the column Current(xA)"),
        ("Time,Voltage(furlong)", "the unit of the column Voltage(furlong)"),
    ],
)
def test_what_may_be_read_in_two_ways_is_asked_for(tmp_path, head, says):
    assert says in refusal(tmp_path / "c.csv", f"{head}\n0,1,2\n")


def test_times_of_steps_are_never_those_of_the_run(tmp_path):
    rows = [f"{60 * (n % 5)},{60 * n},3.7,1\n" for n in range(10)]
    source = opened(
        tmp_path / "c.csv", "Time,Total Time,Voltage,Current\n" + "".join(rows), start=BEGUN
    )
    assert np.diff(source.poll().time_ns).tolist() == [60 * 10**9] * 9
    alone = "Time,Voltage\n" + "".join(f"{60 * (n % 5)},3.7\n" for n in range(10))
    assert "start anew" in refusal(tmp_path / "c.csv", alone, start=BEGUN)


def test_times_that_start_anew_in_mid_run_are_left_out(tmp_path):
    path = tmp_path / "c.csv"
    source = opened(path, "Time,Voltage\n0,3.7\n60,3.7\n", start=BEGUN)
    with path.open("a") as file:
        file.write("0,3.8\n60,3.8\n120,3.8\n")
    assert source.poll().voltage_v.tolist() == [3.7, 3.7]
    assert len(source.poll()) == 0
    assert source.accounts()[0].n_unread == 3


@pytest.mark.parametrize(
    ("texts", "wanted_s"),
    [
        (["0d 00:00:00", "1d 02:03:04.5"], 93784.5),
        (["0-00:00:00", "1-02:03:04"], 93784.0),
        (["00:00:00", "125:30:00"], 451800.0),
        (["0:00:00:00", "1:02:03:04"], 93784.0),
        (["00:00.0", "12:30.5"], 750.5),
    ],
)
def test_times_since_a_start_with_days(tmp_path, texts, wanted_s):
    text = "Test Time,Voltage\n" + "".join(f"{one},3.7\n" for one in texts)
    times = opened(tmp_path / "c.csv", text, start=BEGUN).poll().time_ns
    assert (times[1] - times[0]) / 1e9 == wanted_s
    assert moments(opened(tmp_path / "c.csv", text, start=BEGUN).poll())[0] == BEGUN


def test_zones_are_told_and_set(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        path, text = tmp_path / "c.csv", HEAD + row(BEGUN)
        for zone, hour in ((None, 8), ("America/Chicago", 15), ("+05:30", 4), ("UTC", 10)):
            source = opened(path, text, timezone=zone)
            (moment,) = moments(source.poll())
            assert moment.hour == hour
            assert source.accounts()[0].zone.startswith(zone or "CE")
        said = "Time (UTC),Voltage\n" + row(BEGUN)
        assert moments(opened(path, said.replace(",1.0", ""), timezone=None).poll()) == [BEGUN]
        source = opened(path, HEAD + row(BEGUN, form="%Y-%m-%dT%H:%M:%S-02:00"), timezone=None)
        assert moments(source.poll())[0].hour == 12
        assert source.accounts()[0].zone == ""
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_hour_that_comes_twice_goes_on(tmp_path):
    clock = ["02:30:00", "02:50:00", "02:10:00", "02:30:00", "03:00:00"]
    text = HEAD + "".join(f"2026-10-25 {one},3.7,1\n" for one in clock)
    times = opened(tmp_path / "c.csv", text, timezone="Europe/Berlin").poll().time_ns
    assert (np.diff(times) / 60e9).tolist() == [20, 20, 20, 30]


@pytest.mark.parametrize("unsigned", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_sign_of_the_current_is_that_of_the_state(tmp_path, unsigned, sign):
    steps = [("CC Chg", 1)] * 5 + [("Rest", 0)] * 5 + [("CC DChg", -1)] * 5
    rows = [
        f"{n},3.7,{abs(way) if unsigned else sign * way},{kind}\n"
        for n, (kind, way) in enumerate(steps)
    ]
    text = "Time,Voltage,Current(A),State\n" + "".join(rows)
    got = opened(tmp_path / "c.csv", text, start=BEGUN).poll()
    assert got.current_a.tolist() == [way for _, way in steps]
    assert half_cycles(got)[1].tolist() == [way for _, way in steps]


def test_state_of_the_cycler_is_believed_whatever_the_current(tmp_path):
    kinds = ["Rest"] * 2 + ["CV Chg"] * 1 + ["Rest"] * 2 + ["Pulse"] * 4
    rows = [f"{n},3.7,{1e-9 if n < 5 else -1},{kind}\n" for n, kind in enumerate(kinds)]
    text = "Time,Voltage,Current(A),Step Type\n" + "".join(rows)
    got = opened(tmp_path / "c.csv", text, start=BEGUN).poll()
    assert half_cycles(got)[1].tolist() == [0, 0, 1, 0, 0, -1, -1, -1, -1]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "latin-1", "cp437", "mac_roman", "utf-16", "utf-16-be"]
)
def test_micro_in_any_encoding(tmp_path, encoding):
    text = "Time;Voltage/mV;Current/µA\n" + f"{BEGUN:%Y-%m-%d %H:%M:%S};3700;500\n"
    got = opened(tmp_path / "c.csv", text, encoding).poll()
    assert got.current_a.tolist() == [pytest.approx(5e-4)]
    assert got.voltage_v.tolist() == [pytest.approx(3.7)]


@pytest.mark.parametrize("says_length", [True, False])
def test_words_before_a_table_are_no_names_of_columns(tmp_path, says_length):
    words = [
        "Limit E > 4.2 V for t > 10 s",
        "E and I averaged over time",
        "time, voltage, current:",
    ]
    head = [
        "EC-Lab ASCII FILE",
        "Nb header lines : 7",
        "Acquisition started on : 04/03/2026 10:00:00",
    ]
    lines = [*head, *words, "time/s\tEwe/V\tI/mA", "0\t3.7\t1", "60\t3.8\t1"]
    source = opened(
        tmp_path / "c.mpt", "\n".join(lines[:1] * says_length + lines[1:]) + "\n", date_form="mdy"
    )
    assert source.poll().voltage_v.tolist() == [3.7, 3.8]


def test_binary_file_is_no_table(tmp_path):
    (tmp_path / "c.csv").write_bytes(b"PK\3\4" + bytes([0, 1, 2]) * 500)
    with pytest.raises(UserError, match="is no text"):
        open_cell(CellConfig(file=str(tmp_path / "c.csv")))


@pytest.mark.parametrize("suffix", [".res", ".xlsx", ".mps"])
def test_files_that_are_not_read_are_told_with_what_to_do(tmp_path, suffix):
    with pytest.raises(UserError, match=r"CSV|name the"):
        open_cell(CellConfig(file=str(tmp_path / f"cell{suffix}")))


def test_last_line_without_an_end_is_read_once_nobody_writes(tmp_path):
    path = tmp_path / "c.csv"
    source = opened(path, HEAD + row(BEGUN) + row(BEGUN).strip())
    assert len(source.poll()) == 1
    assert len(source.poll()) == 0
    os.utime(path, (0, 0))
    assert len(source.poll()) == 1


def test_a_large_file_is_read_to_its_end_with_no_line_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.cell.lines._MOST_BYTES", 1000)
    path = tmp_path / "c.csv"
    text = HEAD + "".join(dated(n, f"3.{n:06}") for n in range(500))
    path.write_text(text)
    os.utime(path, (0, 0))
    log = CellLog(CellConfig(file=str(path), timezone="UTC"), tmp_path)
    assert log._readings.voltage_v.tolist() == [float(f"3.{n:06}") for n in range(500)]
    assert log.lost() == ""


def dated(n, volts=3.7):
    return row(BEGUN + timedelta(minutes=n), volts)


@pytest.mark.parametrize("how", ["replaced", "rewritten", "truncated", "shorter"])
def test_file_that_is_replaced_goes_on(tmp_path, how):
    path = tmp_path / "c.csv"
    path.write_text(HEAD + "".join(dated(n) for n in range(6)))
    log = CellLog(CellConfig(file=str(path), timezone="UTC"), tmp_path)
    names = "Voltage (V),Time,Current (mA)\n"
    whole = names + "".join(
        "{1},{0},{2}".format(*dated(n).split(",", 2))
        for n in (range(8) if how != "shorter" else [9])
    )
    if how == "replaced":
        (tmp_path / "new").write_text(whole)
        (tmp_path / "new").replace(path)
    elif how == "truncated":
        path.write_text("")
        log.poll()
        path.write_text(whole[: len(names) - 5])
        log.poll()
    path.write_text(whole)
    log.poll()
    log.poll()
    minutes = (log._readings.time_ns - log._readings.time_ns[0]) // (60 * 10**9)
    assert minutes.tolist() == ([*range(6), 9] if how == "shorter" else [*range(8)])
    assert log._readings.voltage_v.tolist() == [3.7] * len(minutes)
    assert log.lost() == ""


def test_files_of_one_cell_are_read_as_one(tmp_path):
    for n in (2, 10, 1):
        path = tmp_path / f"cell_{n}.csv"
        path.write_text(HEAD + "".join(dated(60 * n + k, 3.0 + n / 10) for k in range(3)))
    (tmp_path / "cell_3.mps").write_text("settings")
    log = CellLog(CellConfig(file=str(tmp_path / "cell_*"), timezone="UTC"), tmp_path)
    assert log._readings.voltage_v.tolist() == [3.1] * 3 + [3.2] * 3 + [4.0] * 3
    (tmp_path / "cell_11.csv").write_text("rubbish\n")
    log.poll()
    assert log.record()["files"][-1]["why"]
    (tmp_path / "cell_11.csv").write_text(HEAD + dated(700))
    with (tmp_path / "cell_10.csv").open("a") as file:
        file.write(dated(610))
    log.poll()
    assert len(log._readings) == 11
    assert [file["n_read"] for file in log.record()["files"]] == [3, 3, 4, 1]


def test_files_of_two_cells_are_not_put_together(tmp_path):
    for name in "ab":
        (tmp_path / f"cell_{name}.csv").write_text(HEAD + "".join(dated(n) for n in range(5)))
    with pytest.raises(UserError, match="written at the same time"):
        open_cell(CellConfig(file=str(tmp_path / "cell_*.csv")))
    with pytest.raises(UserError, match="there is no cell file"):
        open_cell(CellConfig(file=str(tmp_path / "no_*.csv")))


NUMBERS = [
    ('"3,650.5"', 3650.5), ("3650.5", 3650.5), ('"3650,5"', None), ("3.6505E+03", 3650.5),
    ("\N{MINUS SIGN}1.5", -1.5), ("1_000", None), ("0x10", None), ("inf", None), ('"3,650"', None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), NUMBERS)
def test_numbers_among_those_with_points(tmp_path, text, wanted):
    rows = HEAD + row(BEGUN, 1.5) * 9 + row(BEGUN, text)
    got = opened(tmp_path / "c.csv", rows).poll().voltage_v.tolist()
    assert got[9:] == ([] if wanted is None else [wanted])


@pytest.mark.parametrize("form", ["%y/%m/%d %H:%M:%S", "%d/%m/%y %H:%M:%S"])
def test_years_of_two_digits_are_asked_for_where_they_can_be_days(tmp_path, form):
    begun = BEGUN.replace(month=11, day=22)
    text = HEAD + row(begun, form=form)
    said = refusal(tmp_path / "c.csv", text)
    assert "may begin with the year or the day: set cell.date_form to ymd or dmy" in said
    order = "ymd" if form.startswith("%y") else "dmy"
    assert moments(opened(tmp_path / "c.csv", text, date_form=order).poll()) == [begun]
    # A month of the name 26 there is none.
    american = HEAD + row(begun, form="%m/%d/%y %H:%M:%S")
    assert moments(opened(tmp_path / "c.csv", american).poll()) == [begun]


@pytest.mark.parametrize("written", ["{:.4e}", "{:.1f}"])
def test_times_that_were_rounded_away_are_refused(tmp_path, written):
    """As a spreadsheet does with Unix times, and with days of which it shows a digit."""
    seconds = [BEGUN.timestamp() + n for n in range(20)]
    if written == "{:.1f}":
        seconds = [25569 + one / 86400 for one in seconds]
    rows = "".join(f"{written.format(one)},3.7,1\n" for one in seconds)
    said = refusal(tmp_path / "c.csv", HEAD + rows)
    assert "are rounded to" in said
    assert "export them with all their digits" in said


def test_modified_julian_days_are_not_taken_for_those_of_a_spreadsheet(tmp_path):
    said = refusal(tmp_path / "c.csv", HEAD + "61133.41667,3.7,1\n61133.41736,3.7,1\n")
    assert "count from the start of the measurement: set cell.start" in said


def test_voltages_without_a_unit_that_are_no_volts_are_asked_for(tmp_path):
    text = "Time,Voltage,Current\n" + row(BEGUN, volts=3700.0)
    said = refusal(tmp_path / "c.csv", text)
    assert "names no unit of Voltage, and 3700 V is no voltage of a cell" in said
    assert "cell.columns.voltage='Voltage [mV]'" in said
    source = opened(tmp_path / "c.csv", text, columns={"voltage": "Voltage [mV]"})
    assert source.poll().voltage_v.tolist() == [3.7]
    # A unit that the file names is its own matter.
    assert opened(tmp_path / "c.csv", HEAD + row(BEGUN, volts=400.0)).poll().voltage_v == [400.0]


def test_marks_of_an_overload_are_no_readings(tmp_path):
    dates = [BEGUN + timedelta(seconds=n) for n in range(4)]
    volts = (3.7, 9.9e37, 9.91e37, 3.8)
    rows = [row(date, volts=v) for date, v in zip(dates, volts, strict=True)]
    source = opened(tmp_path / "c.csv", HEAD + "".join(rows))
    assert source.poll().voltage_v.tolist() == [3.7, 3.8]
    (account,) = source.accounts()
    assert account.n_unread == 2
    assert "no number of a reading: 9.9e+37" in account.why


def test_what_follows_under_other_names_is_not_read_as_if_it_were_the_same(tmp_path):
    """A program that was set anew writes its names again, and its columns in another order."""
    dates = [BEGUN + timedelta(seconds=n) for n in range(4)]
    again = HEAD + row(dates[1])  # the same names do no harm
    other = "Time,Current (mA),Voltage (V)\n" + row(dates[2], volts=1.0, milliamps=3.7)
    path = tmp_path / "c.csv"
    source = opened(path, HEAD + row(dates[0]) + again + other)
    assert source.poll().voltage_v.tolist() == [3.7, 3.7]
    with path.open("a") as file:
        file.write(row(dates[3], volts=1.0, milliamps=3.7))
    assert not len(source.poll())
    (account,) = source.accounts()
    assert (account.n_read, account.n_unread) == (2, 4)
    # A file that is written anew is another matter.
    path.write_text(HEAD + row(dates[0], volts=3.9))
    assert source.poll().voltage_v.tolist() == [3.9]
