"""What a run tells of itself in its folder: config.yaml, run.json and live.json."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from streamer.cell.log import CellLog
from streamer.config import Config
from streamer.errors import RunError
from streamer.results.derived import write_derived
from streamer.results.folder import RunFolder, write_atomically
from streamer.run.best_effort import BestEffort
from streamer.run.launcher import this_process
from streamer.run.resume import Earlier
from streamer.run.snapshot import LIVE_FILE, Snapshot
from streamer.run.summary import summarise, utc
from streamer.run.supervisor import Phase, Supervisor

__all__ = ["UNTOLD", "Journal"]

UNTOLD = "what was taken for the cell cannot be said"
_LAST_PAUSES_S = (0.0, 1.0, 2.0, 4.0)
"""Before each attempt to say how a run has ended."""


class Journal:
    """Says in a run's folder that it has begun, how it stands and how it ended.

    Parameters
    ----------
    earlier
        What is known of the run in the folder if that is gone on with.
    """

    def __init__(
        self,
        config: Config,
        source: str,
        folder: RunFolder,
        earlier: Earlier | None,
        beside: BestEffort,
    ) -> None:
        self._config, self._source, self._folder = config, source, folder
        self._beside = beside
        self._resumed: dict[str, Any] = {}
        self.started = time.time()
        """Unix seconds at which the run was first begun."""
        if earlier is not None:
            self._resumed = {"resumed": [*earlier.resumed, utc(self.started)]}
            self.started = earlier.started
        self._begun: dict[str, Any] = {}

    def begin(self) -> None:
        """Write with which configuration a run begins, and that it does.

        Raises
        ------
        RunError
            The folder cannot be written to.
        """
        folder = self._folder
        try:
            write_atomically(folder.path / "config.yaml", self._config.to_yaml())
            begun = summarise(folder, self._source, self.started, None, None, "running")
            self._begun = begun | self._resumed
            folder.write_summary(self._begun | {"launcher": this_process()})
        except OSError as error:
            raise RunError(f"cannot write to {folder.path}: {error.strerror}") from None

    def note(self, now: Snapshot) -> None:
        """Write how the run stands, if that can be done."""
        live = json.dumps(asdict(now)) + "\n"
        write = partial(write_atomically, self._folder.path / LIVE_FILE, live)
        self._beside(f"{LIVE_FILE} cannot be written", write)

    def conclude(self, supervisor: Supervisor | None, cell: CellLog | None) -> dict[str, Any]:
        """Write how the run has ended and what follows from its tables.

        Returns
        -------
        summary
            The content of ``run.json``; nothing if it cannot be written.
        """
        ended: dict[str, Any] = {}

        def say() -> None:
            ended.update(self._say_end(supervisor, cell))

        folder, beside = self._folder, self._beside
        beside("what a node left in the run folder cannot be removed", folder.tidy)
        for pause_s in _LAST_PAUSES_S:
            time.sleep(pause_s)
            if beside("run.json cannot be written", say):
                break
        forget = partial((folder.path / LIVE_FILE).unlink, missing_ok=True)
        beside(f"{LIVE_FILE} cannot be removed", forget)
        derive = partial(write_derived, folder, self._config)
        if not beside("reflections.parquet and lattice.parquet cannot be written", derive):
            beside("run.json cannot be written", say)
        return ended

    def _say_end(self, supervisor: Supervisor | None, cell: CellLog | None) -> dict[str, Any]:
        folder, state = self._folder, _state_of(supervisor)
        summary = summarise(
            folder, self._source, self.started, time.time(), supervisor, state, self._begun
        )
        summary |= self._resumed
        if cell is not None:
            times = folder.read("frames", ["time_ns"])["time_ns"].to_numpy()
            self._beside(UNTOLD, lambda: summary.update(cell=cell.record(times)))
        summary["troubles"] = dict(self._beside.troubles)
        folder.write_summary(summary)
        return summary


def _state_of(supervisor: Supervisor | None) -> str:
    """Return how a run has ended, in the words of ``run.json``."""
    if supervisor is None or supervisor.phase is not Phase.DONE:
        return "failed"
    return "stopped" if supervisor.asked_to_stop else "done"
