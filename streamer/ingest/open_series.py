"""Series that begin and end: what everybody is told of them, and what is left to a successor."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from streamer.frames.events import Series, SeriesEnd
from streamer.ingest.accounts import SeriesAccounts
from streamer.ingest.backlog import Backlog
from streamer.ingest.delivery import Delivery
from streamer.ingest.state import IngestState, StateFile
from streamer.sources.base import Resumable, Source

__all__ = ["Numbers", "OpenSeries"]

_AGAIN = "the ingest node was started again"


class Numbers:
    """The numbers of what an ingest node sends.

    Parameters
    ----------
    first
        Where they begin.
    """

    def __init__(self, first: int) -> None:
        self.upcoming = first
        """The next one."""

    def take(self) -> int:
        """Return the next one, which is then used."""
        self.upcoming += 1
        return self.upcoming - 1


class OpenSeries:
    """Begins and ends series.

    Parameters
    ----------
    source
        Where they come from.
    numbers
        Those of all that is sent.
    out
        Run folder.
    """

    def __init__(
        self,
        source: Source,
        accounts: SeriesAccounts,
        delivery: Delivery,
        numbers: Numbers,
        out: Path,
    ) -> None:
        self._source = source
        self._accounts = accounts
        self._delivery = delivery
        self._numbers = numbers
        self._state_file = StateFile(out)

    def begin(self, series: Series) -> bool:
        """Tell everybody of a series, with which all before it are over.

        Returns False of one that was taken over with its frames that waited.
        """
        if series.name in self._accounts.open:
            return False
        self.end_all("new series")
        self._open(series)
        self.leave()
        return True

    def end(self, event: SeriesEnd) -> None:
        """End a series as the source says."""
        if event.series in self._accounts.open:
            self._accounts.end(event)
            self._end(event.series, event.reason)
            self.leave()

    def end_all(self, reason: str) -> None:
        """End what is open."""
        if self._accounts.open:
            self._end_open(reason)
            self.leave()

    def follow(self, backlog: Backlog) -> None:
        """Go on where a node that died left off, as far as the source can."""
        # The sink stops waiting for what that node had in hand.
        seq, again = self._numbers.take(), backlog.lasting
        self._delivery.tell(SeriesEnd(series="", reason=_AGAIN, seq=seq, again=again))
        state = self._state_file.take()
        accounts, opening = ({}, None) if state is None else (state.accounts, state.opening)
        if state is not None:
            self._accounts.adopt(accounts)
            if isinstance(self._source, Resumable):
                self._source.resume(list(accounts), opening)
        waited = set[str]()
        for series in backlog.take_over(self._numbers.take):
            self._end_open(_AGAIN)
            self._open(series)
            waited.add(series.name)
        opened = [] if opening is None else [opening.series]
        if self._accounts.open != opened:
            self._end_open(_AGAIN)
        for name, account in accounts.items():
            if name not in self._accounts.open:
                self._state_file.end(name, account)
        # What of others was in hand when the node died, the sink may know nothing of.
        for name in list(accounts)[-self._delivery.window.most_frames :]:
            if name not in waited and name not in opened:
                self._tell_end(name, accounts[name].end or "end")

    def leave(self) -> None:
        """Leave to a successor what it must know; a recording tells it all again."""
        source = self._source
        if not source.live:
            return
        opening = source.opening if isinstance(source, Resumable) else None
        if opening is not None and opening.series not in self._accounts.open:
            opening = None
        accounts = {name: self._accounts.by_name[name] for name in self._accounts.open}
        self._state_file.leave(IngestState(accounts, opening, source.exhausted))

    def clear(self) -> None:
        """Nobody follows."""
        self._state_file.clear()

    def _open(self, series: Series) -> None:
        self._accounts.begin(series)
        self._delivery.announce(replace(series, first_seq=self._numbers.upcoming))

    def _end_open(self, reason: str) -> None:
        for series in list(self._accounts.open):
            self._end(series, reason)

    def _end(self, series: str, reason: str) -> None:
        self._accounts.close(series)
        if self._source.live:
            self._state_file.end(series, self._accounts.by_name[series])
        self._tell_end(series, reason)

    def _tell_end(self, series: str, reason: str) -> None:
        taken, seq = self._accounts.by_name[series].numbers, self._numbers.take()
        self._delivery.tell(SeriesEnd(series=series, reason=reason, seq=seq, taken=taken))
