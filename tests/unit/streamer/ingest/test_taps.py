"""Who sees the events of a source."""

from types import SimpleNamespace

import pytest

from streamer.ingest.taps import TeeSource


class Seeing:
    def __init__(self, error=None):
        self.counters = {}
        self.seen = []
        self.error = error

    def take(self, events):
        if self.error is not None:
            raise self.error
        self.seen += events

    def close(self):
        if self.error is not None:
            raise self.error
        self.closed = True


@pytest.mark.parametrize("error", [OSError("disk"), OverflowError(), RecursionError()])
def test_nothing_that_a_tap_raises_stops_the_source(caplog, error):
    source = SimpleNamespace(uri="a", live=True, read=lambda limit: ["event"])
    seeing = Seeing()
    tee = TeeSource(source, [Seeing(error), seeing])
    assert tee.read(1) + tee.read(1) == ["event"] * 2 == seeing.seen
    assert len(caplog.records) == 1


def test_nothing_that_a_tap_raises_keeps_the_others_open():
    source = SimpleNamespace(uri="a", live=True, close=lambda: None)
    seeing = Seeing()
    TeeSource(source, [Seeing(OSError("disk")), seeing]).close()
    assert seeing.closed
