"""What takes seconds to import, and few runs need."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib

from tests.conftest import ROOT

WITHOUT = """
import sys
import braggstream.command_line, workers.compute, workers.detect.node, workers.nodes
from streamer.config import DetectConfig
from workers.detect.choice import finder_of
finder_of(DetectConfig())
sys.exit("findpeaks" in sys.modules)
"""


def importers() -> set[str]:
    """The product's modules that import findpeaks, wherever in them."""
    found = set()
    for package in ("braggstream", "streamer", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Import(names=names):
                        modules = [name.name for name in names]
                    case ast.ImportFrom(module=str(module), level=0):
                        modules = [module]
                    case _:
                        continue
                if "findpeaks" in {module.partition(".")[0] for module in modules}:
                    found.add(str(path.relative_to(ROOT)))
    return found


def test_only_the_finder_of_its_name_knows_the_package():
    assert importers() == {"workers/detect/findpeaks.py"}


def test_a_run_that_does_not_ask_for_it_does_not_load_it():
    assert subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, timeout=100).returncode == 0


def test_it_comes_with_the_program():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(one.startswith("findpeaks>=") for one in project["dependencies"])
