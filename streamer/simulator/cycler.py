"""The cycler that charges the simulated cell, and what it writes."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from streamer.errors import UserError
from streamer.simulator.scene import Scene

__all__ = ["Cycler", "cell_path_for"]


def cell_path_for(path: Path) -> Path:
    """Return where the cycler's file of a recording lies: `x_cell.csv` beside `x_master.h5`."""
    return path.with_name(f"{path.stem.removesuffix('_master')}_cell.csv")


class Cycler:
    """Writes a CSV file that grows by a line with each frame.

    Parameters
    ----------
    scene
        Where the cell is in.
    path
        The file, replaced if it exists.

    Raises
    ------
    UserError
        It cannot be written.
    """

    def __init__(self, scene: Scene, path: Path) -> None:
        self._scene = scene
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise UserError(
                f"cannot write the cell's readings to {path}: {error.strerror}"
            ) from None
        self._file.write("time_s,voltage_v,current_a,capacity_ah\n")

    def note(self, index: int, time_s: float) -> None:
        """Write what the cell is like at a frame, at a Unix time in seconds."""
        voltage, current, capacity = self._scene.cell(index)
        self._file.write(f"{time_s:.6f},{voltage:.5f},{current:.6f},{capacity:.7f}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
