"""The program, however it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import ROOT

STARTS = {
    "launch.py": [str(ROOT / "launch.py")],
    "a path, as it starts itself": [str(ROOT / "braggstream" / "__main__.py")],
}


def said(words: list[str], where: Path, **env: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=where,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_it_says_its_version_from_any_folder(start: list[str], tmp_path: Path) -> None:
    assert said([*start, "--version"], tmp_path) == f"braggstream {version('braggstream')}\n"


@pytest.mark.parametrize("words", [["-h"], ["export", "-h"]])
def test_it_helps_as_other_programs_do(words: list[str], tmp_path: Path) -> None:
    assert "Usage" in said([*STARTS["launch.py"], *words], tmp_path)


def test_a_shell_can_complete_commands(tmp_path: Path) -> None:
    # As the installed command calls itself; what bash asks when somebody presses the tab key.
    program = "import sys; sys.argv = ['braggstream']; from braggstream.command_line import main"
    asked = {"_BRAGGSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": "braggstream re"}
    more = {"COMP_CWORD": "1", "PYTHONPATH": str(ROOT)}
    answer = said(["-c", f"{program}; main()"], tmp_path, **asked, **more)
    assert answer.split() == ["replay", "record", "report"]
