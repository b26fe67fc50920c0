"""The run folder: its tables, and how they are read back."""

from streamer.results.run import Run, open_run

__all__ = ["Run", "open_run"]
