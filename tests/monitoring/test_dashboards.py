"""The Grafana dashboards, as far as can be said without a server."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from streamer.transport.metrics import Metrics
from tests.monitoring.conftest import GRAFANA, PROMETHEUS, expressions

BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
ELSEWHERE = {"ALERTS", "up", "process_start_time_seconds", "process_cpu_seconds_total",
             "process_resident_memory_bytes"}  # fmt: skip
BY_COLLECTORS = r"braggstream_(cell|gpu)_\w+"


def recorded() -> set[str]:
    groups = yaml.safe_load((PROMETHEUS / "recording.yml").read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"]}


def exported() -> set[str]:
    """Return the names of all samples that a node can give."""
    suffixes = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_sum", "_count"),
        "info": ("_info",),
    }
    return {
        family.name + suffix
        for family in Metrics().registry.collect()
        for suffix in suffixes.get(family.type, ("",))
    }


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_one_that_grafana_takes(file):
    board = json.loads(file.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert board["uid"] == f"braggstream-{file.stem}"
    assert {one["name"] for one in board["templating"]["list"]} == {"datasource", "run"}
    places = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & places, f"{panel['title']} lies over another panel"
        places |= cells
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
def test_what_a_panel_asks_for_exists_and_is_that_of_one_run(where, expr):
    names = re.findall(r"([a-zA-Z_:][\w:]*)\{", expr)
    assert names
    known = exported() | recorded() | ELSEWHERE
    strangers = {name for name in names if name not in known}
    assert all(re.fullmatch(BY_COLLECTORS, name) for name in strangers), strangers
    for selector in re.findall(r"\{([^}]*)\}", expr):
        assert 'run="$run"' in selector


def test_the_provisioned_data_source_is_the_one_that_dashboards_choose():
    provisioned = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "braggstream.yml").read_text()
    )
    (source,) = provisioned["datasources"]
    for file in BOARDS:
        variables = json.loads(file.read_text())["templating"]["list"]
        chosen = next(one for one in variables if one["name"] == "datasource")
        assert chosen["query"] == source["type"]
        assert chosen["current"]["value"] == source["uid"]
