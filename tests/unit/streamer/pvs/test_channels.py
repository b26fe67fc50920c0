"""What a client of PVAccess reads of a run."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("p4p", reason="p4p is not installed: pip install 'braggstream[pva]'")

from p4p.client.thread import Context

from streamer.config import AlarmsConfig, PvaConfig
from streamer.pvs.channels import Channels
from tests.unit.runs import make_run

LIMITS = AlarmsConfig.model_validate({"drift": {"low": -1, "high": 1}, "tracks": {3: {}}})
ROWS = {"row": [1.25, 2.5], "track": [7, -1], "flags": [0, 16]}


@pytest.fixture
def channels():
    made = Channels(PvaConfig(prefix="T:", port=0, tracks=3), LIMITS)
    yield made
    made.close()


@pytest.fixture
def client(channels):
    where = {
        "EPICS_PVA_NAME_SERVERS": f"127.0.0.1:{channels.port}",
        "EPICS_PVA_ADDR_LIST": "",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    }
    with Context("pva", conf=where, useenv=False, nt=False) as context:
        yield lambda name: context.get(name, timeout=10.0)


def test_peaks_of_a_frame_are_a_table_with_the_time_of_the_frame(channels, client):
    names = ("row_sigma", "col", "col_sigma", "intensity", "score", "two_theta", "d")
    columns = {name: np.array(ROWS.get(name, [0.5, math.nan])) for name in (*ROWS, *names)}
    channels.post_peaks("first", 12, 1_700_000_000_250_000_000, columns)
    table = client("T:Peaks")
    assert table.getID() == "epics:nt/NTTable:1.0"
    assert {"row", "col", "d", "track", "flags"} < set(table.labels)
    for name, values in ROWS.items():
        np.testing.assert_array_equal(table.value[name], values)
    assert (table.timeStamp.secondsPastEpoch, table.timeStamp.nanoseconds) == (
        1_700_000_000,
        250_000_000,
    )
    assert (client("T:Frame").value, client("T:Series").value) == (12, "first")


def test_a_run_that_says_nothing_is_in_an_invalid_state(channels, client):
    channels.post_state("running", {"FramesDone": 40, "FramesMissing": 2}, 12.5)
    state = client("T:State")
    assert (state.value, state.alarm.severity) == ("running", 0)
    assert (client("T:FramesDone").value, client("T:FramesMissing").value) == (40, 2)
    assert (client("T:Latency").value, client("T:Latency").display.units) == (12.5, "ms")
    channels.post_state("", {}, 12.5)
    assert client("T:State").alarm.severity == 3
    assert client("T:FramesDone").value == 40


def changed(tracks: pa.Table, **columns: list[float]) -> pa.Table:
    for name, values in columns.items():
        tracks = tracks.set_column(tracks.column_names.index(name), name, pa.array(values))
    return tracks


def test_tracks_have_values_units_limits_and_alarms(channels, client, tmp_path):
    tracks = make_run(tmp_path / "run").read_tracks().slice(0, 3)
    tracks = changed(
        tracks, track=[4, 5, 6], drift=[-1.5, 0.25, 0.5], flags=pa.array([0] * 3, pa.int32())
    )
    channels.post_tracks(tracks)
    drift = client("T:Track4:Drift")
    assert (drift.value, drift.display.units) == (-1.5, "px")
    assert (drift.alarm.severity, drift.alarm.message) == (1, "low")
    limits = drift.valueAlarm
    assert (limits.lowWarningLimit, limits.highWarningLimit, limits.active) == (-1, 1, True)
    assert math.isnan(limits.highAlarmLimit)
    assert client("T:Track5:Drift").alarm.severity == 0
    assert client("T:Track5:D").value == pytest.approx(tracks["d"][1].as_py())
    assert client("T:Alarms").alarm.severity == 1
    assert client("T:Alarms").value.startswith("track 4: drift -1.5 px is below low -1")
    assert sorted(client("T:Tracks").value["track"]) == [4, 5, 6]
    channels.post_tracks(changed(tracks, drift=[0.0, 0.0, 0.0]).slice(0, 2))
    assert client("T:Track4:Drift").alarm.severity == 0
    assert (client("T:Alarms").value, client("T:Alarms").alarm.severity) == ("", 0)
    gone = client("T:Track6:Drift")
    assert (gone.value, gone.alarm.severity) == (0.5, 3)
    assert gone.alarm.message == "the track has ended"


def test_there_are_no_more_tracks_than_were_asked_for_and_those_in_alarm_come_first(
    channels, client, tmp_path
):
    tracks = make_run(tmp_path / "run").read_tracks()
    n = tracks.num_rows
    drift = [0.0] * (n - 1) + [9.0]
    tracks = changed(
        tracks, drift=drift, flags=pa.array([0] * n, pa.int32()), last_time_ns=[10**18] * n
    )
    channels.post_tracks(tracks)
    shown = client("T:Tracks").value["track"].tolist()
    assert len(shown) == 3
    assert {tracks["track"][n - 1].as_py(), 3} <= set(shown)  # in alarm, and with limits of its own
