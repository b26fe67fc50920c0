"""What a wheel installs: all that the program reads, and no name that others use."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("braggstream", "streamer", "workers")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What lies in the wheel, with the console scripts below ``scripts/``."""
    tree = tmp_path_factory.mktemp("tree")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "launch.py"):
        shutil.copy(ROOT / name, tree)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (entries,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(entries).decode())
        listed = [f"scripts/{name}={of}" for name, of in scripts["console_scripts"].items()]
        return [*archive.namelist(), *listed]


def test_nothing_but_our_packages_comes_to_lie_beside_those_of_others(names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in names if not name.startswith("scripts/")}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_command_is_there(names: list[str]) -> None:
    assert "scripts/braggstream=braggstream.__main__:main" in names


def test_all_that_the_program_reads_is_in_it(names: list[str]) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert wanted - set(names) == set()
    assert any(Path(name).suffix == ".pt" for name in wanted)
