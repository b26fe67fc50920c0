"""The demo as somebody at a terminal sees it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.pipeline.conftest import LAUNCH, QUICK
from tests.settings import sets


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of one: that of the user, and that of the program."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def read_until(end: int, pattern: str) -> str:
    """Return what stands on a terminal once a pattern does."""
    said = ""
    while re.search(pattern, said) is None:
        said += os.read(end, 1 << 16).decode(errors="replace")
    return said


def test_its_page_stays_until_the_user_has_seen_enough(terminal, tmp_path):
    user, program = terminal
    words = ["demo", "--out", str(tmp_path / "demo"), "--rate", "max"]
    words += sets(*QUICK, "simulate.frames=60")
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    process = subprocess.Popen(
        [sys.executable, str(LAUNCH), *words],
        stdin=program, stdout=program, stderr=program, start_new_session=True, env=env,
    )  # fmt: skip
    try:
        said = read_until(user, "until Ctrl-C")
        assert "Error against the truth" in said
        url = re.search(r"dashboard (http://[\w.:]+/)", said)[1]
        with urllib.request.urlopen(url, timeout=60) as page:
            assert b"<html" in page.read()
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
