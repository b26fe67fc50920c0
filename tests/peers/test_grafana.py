"""The dashboards, read by the models that Grafana's developers make from its own schema."""

import json
import subprocess
from pathlib import Path

from tests.peers.conftest import ROOT

READER = Path(__file__).parent / "readers" / "grafana_models.py"
BOARDS = sorted((ROOT / "configs/grafana/dashboards").glob("*.json"))
OF_PROMETHEUS = {
    ".templating.list.definition", ".annotations.list.titleFormat", ".annotations.list.textFormat",
    ".annotations.list.step",
}  # fmt: skip
"""What its data source reads, and the schema of dashboards leaves to it."""


def test_grafana_knows_all_that_the_dashboards_say(sender_python):
    words = [sender_python("grafana"), READER, *BOARDS]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=60)
    found = json.loads(done.stdout)
    assert sorted(found) == ["drift", "operations"]
    for said in found.values():
        assert set(said["lost"]) <= OF_PROMETHEUS
        assert len(said["panels"]) > 5
