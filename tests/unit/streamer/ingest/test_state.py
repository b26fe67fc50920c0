from __future__ import annotations

import pytest

from streamer.ingest.accounts import SeriesAccount
from streamer.ingest.state import IngestState, StateFile
from streamer.sources.base import Opening

ACCOUNTS = {
    "a": SeriesAccount(announced=None, received=4, end="end", counters={"late": 1}),
    "b": SeriesAccount(announced=9),
}
OPENING = Opening(series="b", messages=[[b"start", b"\x00\xff"], [b"more"]])


@pytest.mark.parametrize("opening", [OPENING, None])
def test_a_successor_takes_what_was_left_last(tmp_path, opening):
    StateFile(tmp_path).leave(IngestState({}, None))
    StateFile(tmp_path).leave(IngestState(ACCOUNTS, opening, exhausted=True))
    assert StateFile(tmp_path).take() == IngestState(ACCOUNTS, opening, exhausted=True)


def test_when_a_run_is_over_nothing_is_left(tmp_path):
    file = StateFile(tmp_path)
    file.leave(IngestState(ACCOUNTS, None))
    file.clear()
    file.clear()
    assert file.take() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x81\xa8accounts\x05"])
def test_what_cannot_be_read_is_as_if_nothing_was_left(tmp_path, content):
    (tmp_path / "ingest_state.msgpack").write_bytes(content)
    assert StateFile(tmp_path).take() is None
