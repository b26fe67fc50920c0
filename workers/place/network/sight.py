"""Whether there may be a device for torch's CUDA, told without torch."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["cuda_in_sight"]

_FOLDER = Path("/dev")


def cuda_in_sight(folder: Path = _FOLDER) -> bool:
    """Tell whether torch has to be asked for devices: there are files of drivers that it can use.

    They are NVIDIA's, AMD's, and that of the Windows Subsystem for Linux. Other systems than Linux
    have no such files, and torch is asked.
    """
    if sys.platform != "linux":
        return True
    return any(folder.glob("nvidia[0-9]*")) or any(
        (folder / name).exists() for name in ("kfd", "dxg")
    )
