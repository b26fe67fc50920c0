from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.settings import sets

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch.py"
PROMETHEUS = ROOT / "configs" / "prometheus"
GRAFANA = ROOT / "configs" / "grafana"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus"
)
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Prometheus: apt-get install prometheus"
)


def promtool(*words: str | Path, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, words)], capture_output=True, text=True, timeout=30, **more
    )


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where it stands and each expression of every dashboard, variables still in it."""
    for file in sorted((GRAFANA / "dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                where = f"{file.stem}: {panel['title']}: {target['legendFormat']}"
                yield where, target["expr"]
        for note in board["annotations"]["list"]:
            yield f"{file.stem}: annotation {note['name']}", note["expr"]


class Server:
    """A Prometheus that scrapes every second what a folder of target lists names."""

    def __init__(self, folder: Path, targets: Path) -> None:
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        sd = config["scrape_configs"][0]["file_sd_configs"][0]
        sd["files"] = [str(targets / Path(sd["files"][0]).name)]
        config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        self._log = (folder / "prometheus.log").open("w+")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stderr=self._log,
        )
        self._url = ""

    def find(self) -> bool:
        """Look for the address in what the server says."""
        text = Path(self._log.name).read_text()
        found = re.search(r'msg="Listening on" address=(\S+)', text)
        self._url = f"http://{found[1]}/api/v1" if found else ""
        return bool(found) and "Server is ready" in text

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the answer to a request."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/{path}?{query}", timeout=10) as page:
            return json.load(page)["data"]

    def values(self, expr: str) -> list[float]:
        """Return the values that an expression has now."""
        data = self.ask("query", query=expr)
        if data["resultType"] == "scalar":
            return [float(data["result"][1])]
        return [float(one["value"][1]) for one in data["result"]]

    def firing(self) -> set[tuple[str, str]]:
        """Return the alerts that fire, with the node each is about."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("node", ""))
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


class Plant:
    """A live run of a simulated detector, watched by a Prometheus."""

    def __init__(self, folder: Path) -> None:
        self.out, self.targets = folder / "plant", folder / "targets"
        self.targets.mkdir()
        self.prometheus = Server(folder, self.targets)
        cell = folder / "cell.csv"
        scene = {"frames": 20_000, "rows": 192, "cols": 192, "spots": 8, "seed": 3}
        self._detector = _start(
            folder / "detector.log",
            ["simulate", "--rate", "10", "--cell", cell],
            [f"simulate.{key}={value}" for key, value in scene.items()],
        )
        log = folder / "detector.log"
        wait_until(lambda: "dectris://" in log.read_text())
        uri = re.search(r"dectris://\S+", log.read_text())
        assert uri
        self._run = _start(
            folder / "run.log",
            ["attach", uri[0], "--out", self.out],
            [
                f"metrics.targets={self.targets}",
                f"cell.file={cell}",
                "nodes.detectors=2",
                "nodes.gpus=1",
                "dashboard.port=0",
                "report.auto=false",
                "positions.check_share=0.3",
                "positions.backend=eager",
            ],
        )
        wait_until(self.prometheus.find)

    def node(self, name: str) -> int:
        """Return the process of a node."""
        nodes = json.loads((self.out / "live.json").read_text())["nodes"]
        return int(next(one["pid"] for one in nodes if one["name"] == name))

    def stop(self) -> int:
        """Ask the run to end, and return its exit status."""
        self._run.send_signal(signal.SIGINT)
        return self._run.wait(60)

    def close(self) -> None:
        for process in (self._run, self._detector):
            process.kill()  # a run's nodes end with it
            process.wait(10)
        self.prometheus.close()


def _start(log: Path, words: list[Any], settings: list[str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, str(LAUNCH), *map(str, words), *sets(*settings)],
            stdout=out,
            stderr=out,
            env={**os.environ, "COLUMNS": "200"},
        )


def wait_until(condition: Callable[[], object], seconds: float = 40.0) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """A run and who watches it."""
    made = Plant(tmp_path)
    yield made
    made.close()
