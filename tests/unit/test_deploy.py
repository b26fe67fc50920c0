"""What installs the program on a machine: whether it says what is so."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess

import pytest
import yaml

from streamer.config import load_config
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "braggstream@.service"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
COMMANDS = (ROOT / "braggstream" / "command_line.py").read_text()


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=["="])
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def is_option(command: str, word: str) -> bool:
    body = COMMANDS.partition(f"def {command}(")[2].partition("\n@app.command")[0]
    known = {"--config": "ConfigFile", "--out": "Out", "--set": "Overrides"}
    return known.get(word, word) in body


def test_the_unit_starts_a_command_that_there_is() -> None:
    start = unit()["Service"]["ExecStart"]
    command = re.search(r"bin/braggstream (\w+)", start)[1]
    assert command == "attach"
    assert all(is_option(command, word) for word in re.findall(r"--\w+(?= /| \")", start))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_knows_all_that_the_unit_says() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", UNIT], capture_output=True, text=True, timeout=60
    )
    said = [line for line in done.stderr.splitlines() if "braggstream@" in line]
    assert [line for line in said if re.search("Unknown|Failed to parse|Invalid", line)] == []


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
