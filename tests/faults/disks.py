"""Disks that can be filled, and that can be made to hang."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["filled", "hanging", "loop_disk", "small_disk"]


@contextmanager
def small_disk(folder: Path, mib: int = 24) -> Iterator[Path]:
    """Mount a small disk in memory; skips the test where that is not allowed."""
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs"):
        yield folder


@contextmanager
def loop_disk(folder: Path, mib: int = 64) -> Iterator[Path]:
    """Mount a disk that lies in a file; skips the test where that is not allowed."""
    if not shutil.which("mkfs.ext4") or not shutil.which("fsfreeze"):
        pytest.skip("needs mkfs.ext4 and fsfreeze")
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with _mounted(folder, "-o", "loop", str(image)):
        yield folder
    image.unlink()


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no room on the disk of a folder."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    try:
        yield
    finally:
        path.unlink()


def hanging(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Have each write to a disk wait for so long; it comes back whatever becomes of the test."""
    script = 'fsfreeze -f "$0"; sleep "$1"; fsfreeze -u "$0"'
    return subprocess.Popen(["sh", "-c", script, str(folder), str(seconds)])


@contextmanager
def _mounted(folder: Path, *words: str) -> Iterator[None]:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a disk")
    folder.mkdir()
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
