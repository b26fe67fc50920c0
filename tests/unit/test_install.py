"""The installation of torch: which build is asked for where, and that nothing stops it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

# In place of the environment's python: it notes what it is asked and fails where it is told to.
STUB = """#!/bin/sh
case "$*" in
-c*) test "$INSTALLED" = yes; exit ;;
esac
echo "$*" >> "$CALLS"
case "$*" in
*--index-url*) test "$TORCH_INDEX" = has ;;
*) test "$OWN_INDEX" = has ;;
esac
"""

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def install(tmp_path: Path, *words: str, **answers: str) -> tuple[list[str], str]:
    """Return what pip was asked for, and what was printed."""
    python = tmp_path / "python"
    python.write_text(STUB)
    python.chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["make", "--no-print-directory", "torch", f"BIN={tmp_path}", *words],
        cwd=ROOT,
        env={**plain, "CALLS": str(calls), **answers},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return calls.read_text().splitlines(), done.stdout


@needs_make
def test_the_cpu_build_of_the_users_own_index_is_taken_first(tmp_path: Path) -> None:
    calls, said = install(tmp_path, "PLAIN_TORCH=", OWN_INDEX="has", TORCH_INDEX="has")
    assert len(calls) == 1
    assert calls[0].endswith("+cpu")
    assert "--index-url" not in calls[0]
    assert said == ""


@needs_make
def test_else_that_of_torchs_own_index(tmp_path: Path) -> None:
    words = ("PLAIN_TORCH=", "TORCH_CPU_INDEX=http://localhost/cpu")
    calls, said = install(tmp_path, *words, TORCH_INDEX="has")
    assert len(calls) == 2
    assert "--index-url http://localhost/cpu" in calls[1]
    assert calls[1].endswith("+cpu")
    assert said == ""


@needs_make
def test_else_nothing_stops_and_the_size_of_the_plain_build_is_said(tmp_path: Path) -> None:
    calls, said = install(tmp_path, "PLAIN_TORCH=")
    assert len(calls) == 2
    assert "GB to download" in said


@needs_make
@pytest.mark.parametrize(("words", "installed"), [(["PLAIN_TORCH="], "yes"), (["GPU=there"], "no")])
def test_nothing_is_asked_for_where_torch_is_there_or_the_plain_build_is_right(
    tmp_path: Path, words: list[str], installed: str
) -> None:
    calls, said = install(tmp_path, *words, INSTALLED=installed)
    assert (calls, said) == ([], "")
