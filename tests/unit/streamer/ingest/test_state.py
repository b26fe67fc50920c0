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


def test_a_series_that_ended_is_left_once_and_costs_the_next_nothing(tmp_path):
    file = StateFile(tmp_path)
    sizes = []
    for number in range(100):
        file.leave(IngestState({str(number): SeriesAccount(announced=1)}, None))
        file.end(str(number), SeriesAccount(announced=1, received=1, end="end"))
        sizes.append((tmp_path / "ingest_state.msgpack").stat().st_size)
    file.leave(IngestState({"open": SeriesAccount(announced=None)}, None))
    assert sizes[99] == sizes[10]
    left = StateFile(tmp_path).take()
    assert list(left.accounts) == [*map(str, range(100)), "open"]
    assert left.accounts["99"] == SeriesAccount(announced=1, received=1, end="end")


def test_a_line_that_was_cut_off_costs_no_other(tmp_path):
    file = StateFile(tmp_path)
    for name in "ab":
        file.end(name, SeriesAccount(announced=1))
        file.leave(IngestState({}, None))
        with (tmp_path / "ingest_series.jsonl").open("ab") as cut:
            cut.write(b'\n["c",{"annou')
    assert list(StateFile(tmp_path).take().accounts) == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x81\xa8accounts\x05"])
def test_what_cannot_be_read_is_as_if_nothing_was_left(tmp_path, content):
    (tmp_path / "ingest_state.msgpack").write_bytes(content)
    assert StateFile(tmp_path).take() is None
