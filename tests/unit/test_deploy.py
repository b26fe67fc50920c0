"""What installs the program on a machine: whether it says what is so."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from streamer.config import load_config
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "braggstream@.service"
CONTAINER = DEPLOY / "braggstream@.container"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)
COMMANDS = (ROOT / "braggstream" / "command_line.py").read_text()


def unit(path: Path = UNIT) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=["="])
    parser.optionxform = str
    parser.read(path)
    return parser


def told(key: str) -> list[str]:
    """Return what the container's unit says of a key that may stand there more than once."""
    return re.findall(rf"^{key}=(.+)$", CONTAINER.read_text(), re.MULTILINE)


def complaints(path: Path) -> list[str]:
    """Return what systemd does not know or understand in a unit."""
    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60
    )
    said = [line for line in done.stderr.splitlines() if "braggstream@" in line]
    return [line for line in said if re.search("Unknown|Failed to parse|Invalid", line)]


def is_option(command: str, word: str) -> bool:
    body = COMMANDS.partition(f"def {command}(")[2].partition("\n@app.command")[0]
    known = {"--config": "ConfigFile", "--out": "Out", "--set": "Overrides"}
    return known.get(word, word) in body


@pytest.mark.parametrize("path", [UNIT, CONTAINER], ids=["systemd", "podman"])
def test_a_unit_starts_a_command_that_there_is(path: Path) -> None:
    said = unit(path)
    start = said["Service"]["ExecStart"] if path is UNIT else said["Container"]["Exec"]
    command = re.search(r"exec (?:/opt/braggstream/bin/)?braggstream (\w+)", start)[1]
    assert command == "attach"
    assert all(is_option(command, word) for word in re.findall(r"--\w+(?= /| \")", start))
    # As systemd hands it to the shell.
    script = shlex.split(start)[-1].replace("%%", "%").replace("%i", "cell")
    program = script.partition("exec ")[2]
    said_of_each = f"set -- {program.replace('$SOURCE', 'x://y z')}; printf '%s\\n' \"$@\""
    done = subprocess.run(
        ["/bin/sh", "-euc", said_of_each], capture_output=True, text=True, timeout=10, check=True
    )
    *_, uri, _, config, _, out = done.stdout.splitlines()
    assert (uri, config) == ("x://y z", "/etc/braggstream/cell.yaml")
    assert re.fullmatch(r"runs/cell-\d{8}T\d{6}Z", out)


@needs_systemd
def test_systemd_knows_all_that_the_unit_says() -> None:
    assert complaints(UNIT) == []


@needs_systemd
def test_systemd_knows_what_podman_hands_on_to_it(tmp_path: Path) -> None:
    said = unit(CONTAINER)
    assert said.sections() == ["Unit", "Container", "Service", "Install"]
    made = tmp_path / "braggstream@.service"
    text = CONTAINER.read_text()
    kept = text[: text.index("[Container]")] + text[text.index("[Service]") :]
    made.write_text(kept.replace("[Service]", "[Service]\nExecStart=/bin/true"))
    assert complaints(made) == []
    made.write_text(made.read_text().replace("RestartSec=", "RestartSecs="))
    assert len(complaints(made)) == 1  # it does look


def test_the_container_is_given_what_its_image_keeps_and_reads() -> None:
    image = (DEPLOY / "Dockerfile").read_text()
    targets = [volume.split(":")[1] for volume in told("Volume")]
    (kept,) = re.findall(r"^VOLUME (.+)$", image, re.MULTILINE)
    assert set(json.loads(kept)) <= set(targets)
    assert "/etc/braggstream" in targets
    assert "STOPSIGNAL SIGINT" in image
    service = unit(CONTAINER)["Service"]
    assert service["RestartPreventExitStatus"] == "2"
    assert int(told("StopTimeout")[0]) < int(service["TimeoutStopSec"])


def test_the_documented_commands_make_what_the_container_needs() -> None:
    page = (ROOT / "docs" / "installing.md").read_text()
    (name,) = re.findall(r"podman build -f deploy/Dockerfile -t (\S+) \.", page)
    assert told("Image") == [f"localhost/{name}:latest"]
    assert f"deploy/{CONTAINER.name}" in page


def test_the_service_is_not_started_again_after_a_mistake() -> None:
    service = unit()["Service"]
    assert service["RestartPreventExitStatus"] == "2"
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGINT")


def test_what_compose_mounts_and_builds_is_there() -> None:
    volumes = set(COMPOSE["volumes"])
    for service in COMPOSE["services"].values():
        for mount in service["volumes"]:
            source = mount.partition(":")[0]
            assert source in volumes or (DEPLOY / source).resolve().exists(), source
    build = COMPOSE["services"]["braggstream"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve().exists()
    assert COMPOSE["services"]["braggstream"]["command"][0] == "attach"


def test_prometheus_finds_in_its_container_what_runs_write_there() -> None:
    prometheus = COMPOSE["services"]["prometheus"]
    (path,) = [one.partition("=")[2] for one in prometheus["command"] if "config.file" in one]
    folder = path.rpartition("/")[0]
    assert any(mount.split(":")[1] == folder for mount in prometheus["volumes"])
    jobs = yaml.safe_load((ROOT / "configs/prometheus/prometheus.yml").read_text())
    (pattern,) = jobs["scrape_configs"][0]["file_sd_configs"][0]["files"]
    targets = load_config(ROOT / "configs" / "live.yaml").metrics.targets
    # Runs work in /data, as the image does.
    assert "WORKDIR /data" in (DEPLOY / "Dockerfile").read_text()
    assert (
        f"/data/configs/prometheus/{pattern}".replace("configs/prometheus/../../", "")
        == f"/data/{targets}/*.json"
    )


def test_grafana_finds_its_dashboards() -> None:
    mounts = [mount.split(":")[1] for mount in COMPOSE["services"]["grafana"]["volumes"]]
    provider = ROOT / "configs/grafana/provisioning/dashboards/braggstream.yml"
    assert yaml.safe_load(provider.read_text())["providers"][0]["options"]["path"] in mounts


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert {"braggstream", "streamer", "workers", "Makefile"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', text)
    project = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))


def test_the_image_can_be_that_of_a_host_of_a_cluster() -> None:
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', (DEPLOY / "Dockerfile").read_text())
    assert "cluster" in extras.split(",")
