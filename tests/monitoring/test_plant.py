"""A running pipeline, scraped by a real Prometheus: its start, two faults, its end."""

from __future__ import annotations

import json
import math
import os
import signal
import urllib.request

import pytest

from streamer.run.targets import TARGETS_FILE
from tests.monitoring.conftest import (
    Plant,
    expressions,
    needs_prometheus,
    needs_promtool,
    promtool,
    wait_until,
)

NODES = {"sink", "gpu-0", "detector-0", "detector-1", "ingest"}


def all_nodes_are_found_by_the_written_list_and_are_up(plant: Plant) -> None:
    wait_until(lambda: plant.prometheus.values('up{run="plant"}') == [1.0] * len(NODES))
    active = plant.prometheus.ask("targets")["activeTargets"]
    assert {target["labels"]["node"] for target in active} == NODES
    for target in active:
        labels = target["labels"]
        assert labels["instance"] == f"plant/{labels['node']}"
        assert labels["role"] == labels["node"].partition("-")[0]
    lists = [path.read_text() for path in (plant.out / TARGETS_FILE, plant.targets / "plant.json")]
    assert lists[0] == lists[1]


def what_a_node_serves_passes_promtool(plant: Plant) -> None:
    for entry in json.loads((plant.out / TARGETS_FILE).read_text()):
        url = f"http://{entry['targets'][0]}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            done = promtool("check", "metrics", input=page.read().decode())
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), entry["labels"]["node"]


def unanswered(plant: Plant) -> set[str]:
    """Return the expressions that have no number."""
    empty = set()
    for where, expr in expressions():
        asked = expr.replace("$run", "plant").replace("$__rate_interval", "20s")
        if not any(math.isfinite(value) for value in plant.prometheus.values(asked)):
            empty.add(where)
    return empty


def every_panel_has_data(plant: Plant) -> None:
    # Alerts leave a mark on both dashboards; none fires yet.
    notes = {"drift: annotation Alerts", "operations: annotation Alerts"}
    found: list[set[str]] = []

    def answered() -> bool:
        found.append(unanswered(plant))
        return found[-1] <= notes

    try:
        wait_until(answered, 120)  # what numba has not compiled yet, it does now
    except AssertionError:
        pytest.fail(f"no data: {sorted(found[-1] - notes)}")
    assert plant.prometheus.values('run:braggstream_frames_lost:ratio{run="plant"}') == [0.0]
    (voltage,) = plant.prometheus.values('braggstream_cell_voltage_volts{run="plant"}')
    assert 3 < voltage < 6


def a_hung_node_and_one_that_died_are_told_of(plant: Plant) -> None:
    assert not plant.prometheus.firing()
    hung, dead = plant.node("detector-1"), plant.node("detector-0")
    is_down, came_back = (
        ("BraggstreamNodeDown", "detector-1"),
        ("BraggstreamNodeRestarted", "detector-0"),
    )
    os.kill(dead, signal.SIGKILL)
    os.kill(hung, signal.SIGSTOP)
    try:
        wait_until(lambda: {is_down, came_back} <= plant.prometheus.firing())
        wait_until(lambda: not unanswered(plant))  # with the marks of the alerts
    finally:
        os.kill(hung, signal.SIGCONT)
    wait_until(lambda: is_down not in plant.prometheus.firing())
    assert plant.node("detector-0") != dead
    # The one that was started again has its predecessor's name, and another port.
    assert len(plant.prometheus.values('up{run="plant"}')) == len(NODES)


def at_the_end_nothing_is_looked_for_any_more(plant: Plant) -> None:
    assert plant.stop() == 0
    assert not (plant.out / TARGETS_FILE).exists()
    assert not list(plant.targets.iterdir())


@needs_prometheus
@needs_promtool
@pytest.mark.timeout(240)
def test_a_run_is_watched_from_its_start_to_its_end(plant: Plant):
    # One test and not five: they follow on each other, and a run takes its time to start.
    all_nodes_are_found_by_the_written_list_and_are_up(plant)
    what_a_node_serves_passes_promtool(plant)
    every_panel_has_data(plant)
    a_hung_node_and_one_that_died_are_told_of(plant)
    at_the_end_nothing_is_looked_for_any_more(plant)
