"""The run folder: its tables, and how they are read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.results.run import Run, open_run

__all__ = ["Run", "open_run"]


def __getattr__(name: str) -> object:
    # What says how a run stands does not wait for what reads its tables.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamer.results import run

    return getattr(run, name)
