"""The tutorial, followed literally: what it says to type is typed, in a folder like a checkout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PORT = "31001"
_LONGEST_S = 300


def blocks() -> list[tuple[str, str]]:
    """Return language and text of what is to be typed."""
    return _BLOCK.findall(TUTORIAL.read_text(encoding="utf-8"))


class Reader:
    """Somebody who types all that, in terminals of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}
        self.open: list[subprocess.Popen[str]] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])

    def type(self, language: str, text: str) -> None:
        # Nobody watches.
        text = text.replace(_PORT, self.port).replace(
            "launch.py demo\n", "launch.py demo --rate 100\n"
        )
        if language == "python":
            words = [".venv/bin/python", "-c", text]
        elif "make install" in text:
            words = ["bash", "-e", "-c", text]
        else:
            words = ["bash", "-e", "-c", f". .venv/bin/activate\n{text}"]
        if "# until Ctrl-C" in text:
            self.look_at_the_page(words)
        elif "# terminal 1" in text:
            self.read_line(self.start(words), "detector at")
        else:
            done = subprocess.run(
                words, cwd=self.folder, capture_output=True, text=True, timeout=_LONGEST_S
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            self.said[text] = done.stdout

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self.open.append(process)
        return process

    def read_line(self, process: subprocess.Popen[str], expected: str) -> str:
        for line in process.stdout:
            if expected in line:
                return line
        raise AssertionError(f"no line with {expected}")

    def look_at_the_page(self, words: list[str]) -> None:
        process = self.start(words)
        address = self.read_line(process, "http://").split()[-1]
        # The address is printed as soon as the port is taken; the first answer waits for the page.
        with urllib.request.urlopen(address, timeout=60) as page:
            assert b"<html" in page.read()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0

    def output_of(self, words: str) -> str:
        (found,) = (said for text, said in self.said.items() if words in text)
        return found


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader in a folder with all that a checkout has, installed."""
    for name in ("launch.py", "braggstream", "streamer", "workers"):
        (tmp_path / name).symlink_to(ROOT / name)
    # Copies, which nobody changes meanwhile: `make install` must find nothing to do, as what it
    # would do it would do to the environment of these tests.
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    venv = tmp_path / ".venv"
    venv.mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != "installed":
            (venv / path.name).symlink_to(path)
    (venv / "installed").touch()
    up_to_date = subprocess.run(["make", "--question", "install"], cwd=tmp_path, check=False)
    assert up_to_date.returncode == 0
    reader = Reader(tmp_path)
    yield reader
    for process in reader.open:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        process.stdout.close()


@pytest.mark.timeout(2 * _LONGEST_S)
def test_what_the_tutorial_says_to_type_does_what_it_says(reader: Reader) -> None:
    for language, text in blocks():
        begun = time.monotonic()
        reader.type(language, text)
        print(f"{time.monotonic() - begun:5.1f} s  {text.splitlines()[-1]}")
    assert "Commands" in reader.output_of("--help")
    assert "480 done of 480" in reader.output_of("status demo/run")
    assert re.search(r"^done +480$", reader.output_of('read_parquet("demo/run/frames")'), re.M)
    for words in ("check cycle_master.h5", "check live.h5"):
        assert "all is well" in reader.output_of(words)
    first, strict = (int(n) for n in re.findall(r"(\d+) peaks", reader.output_of('runs/strict"')))
    assert 0 < strict < first
    assert "240 done of 240" in reader.output_of("--record live.h5")
    strains = re.findall(r"(-?0\.\d+) +\S+$", reader.output_of("cell.parquet"), re.M)
    assert 0.005 < max(abs(float(strain)) for strain in strains[:5]) < 0.05
    # The simulated detector left after its series, as it says.
    assert all(process.wait(30) == 0 for process in reader.open)
