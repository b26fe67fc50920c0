"""The program, however it is started."""

from __future__ import annotations

import os
import signal
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
    program = "import sys; sys.argv = ['braggstream']; from braggstream.__main__ import main"
    asked = {"_BRAGGSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": "braggstream re"}
    more = {"COMP_CWORD": "1", "PYTHONPATH": str(ROOT)}
    answer = said(["-c", f"{program}; main()"], tmp_path, **asked, **more)
    assert answer.split() == ["replay", "record", "report"]


# Presses Ctrl-C while the commands are imported, as somebody does who sees a mistake at once.
IMPATIENT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which who starts this may ignore
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "braggstream.command_line":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
from braggstream.__main__ import main
main()
"""


def test_ctrl_c_before_it_is_there_ends_it_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_is_an_exception_again_for_the_commands() -> None:
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which who starts this may ignore
from braggstream import __main__, command_line
command_line.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
__main__.main()
"""
    assert said(["-c", code], ROOT) == "True\n"
