"""A client of EPICS beside a whole run."""

from __future__ import annotations

import queue
import subprocess
import sys

import pytest

pytest.importorskip("p4p", reason="p4p is not installed: pip install 'braggstream[pva]'")

from p4p.client.thread import Context

from streamer.results.folder import RunFolder
from tests.pipeline.conftest import LAUNCH, QUICK
from tests.served import free_port
from tests.settings import sets

PATIENCE_S = 90.0


def test_a_client_reads_peaks_and_an_alarm_while_a_run_goes_on(recording, tmp_path):
    port, out = free_port(), tmp_path / "run"
    settings = [
        *QUICK, "source.loop=0", "source.speed=1", "dashboard.port=0",
        f"publish.pva={{prefix: 'TEST:', port: {port}}}",
        "alarms.drift={low: -1e-4, high: 1e-4}",
    ]  # fmt: skip
    words = sets(*settings)
    run = subprocess.Popen(
        [sys.executable, str(LAUNCH), "replay", str(recording), "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    where = {
        "EPICS_PVA_NAME_SERVERS": f"127.0.0.1:{port}",
        "EPICS_PVA_ADDR_LIST": "",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    }
    tables: queue.Queue = queue.Queue()
    alarms: queue.Queue = queue.Queue()
    try:
        with Context("pva", conf=where, useenv=False, nt=False) as client:
            client.monitor("TEST:Peaks", lambda one: len(one.labels) and tables.put(one))
            client.monitor("TEST:Alarms", lambda one: one.alarm.severity and alarms.put(one))
            table = tables.get(timeout=PATIENCE_S)
            alarm = alarms.get(timeout=PATIENCE_S)
            frame = client.get("TEST:Frame", timeout=PATIENCE_S).value
            track = int(alarm.value.split()[1].rstrip(":"))
            drift = client.get(f"TEST:Track{track}:Drift", timeout=PATIENCE_S)
            state = client.get("TEST:State", timeout=PATIENCE_S)
        assert run.poll() is None
    finally:
        run.terminate()
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert (state.value, state.alarm.severity) == ("running", 0)
    assert frame >= 0
    assert (alarm.alarm.severity, drift.alarm.message in ("low", "high")) == (1, True)
    peaks = RunFolder(out).read("peaks")
    known = set(zip(peaks["row"].to_pylist(), peaks["col"].to_pylist(), strict=True))
    seen = set(zip(table.value.row.tolist(), table.value.col.tolist(), strict=True))
    assert seen
    assert seen <= known
