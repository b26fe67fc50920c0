from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamer.results.summary import Delivery
from streamer.run.console import LiveView, PlainView, print_summary, view_for
from streamer.run.snapshot import NodeView, Snapshot, Waiting
from tests.unit.runs import make_run


def snapshot(**changes):
    facts = {
        "phase": "running",
        "source": "x.h5",
        "feed": "tcp://127.0.0.1:5590",
        "relay": "tcp://127.0.0.1:5591",
        "elapsed_s": 3.0,
        "expected": 480,
        "received": 120,
        "frames": {"done": 100, "failed": 0, "missing": 0, "shed": 0},
        "peaks": 3000,
        "latency_ms": 40.0,
        "waiting": Waiting(20, 0, ""),
        "delivery": Delivery(),
        "disagreement_px": 0.012,
        "nodes": [NodeView("sink", "putting results on disk", "100 frames", 0, 4711, True)],
        "troubles": {},
    }
    return Snapshot(**{**facts, **changes})


def shown(view_class, terminal, *snapshots):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    with view_class(console) as view:
        for one in snapshots:
            view.update(one)
    return out.getvalue()


def test_a_pipe_gets_plain_lines_and_not_too_many():
    text = shown(PlainView, False, snapshot(), snapshot())
    assert text.count("\n") == 2
    assert "peaks feed tcp://127.0.0.1:5590  frames relay tcp://127.0.0.1:5591" in text
    assert "running: 100 of 480 frames" in text
    assert "sent again" not in text


def test_what_takes_long_at_the_start_is_said_once_and_at_once():
    compiling = snapshot(start="compiling")
    text = shown(PlainView, False, snapshot(), compiling, compiling)
    assert text.splitlines()[2:] == ["compiling"]
    assert "compiling" in shown(LiveView, True, compiling)


def test_what_is_beyond_its_limits_is_said():
    words = "track 3: drift 7 px is above hihi 5"
    for view, terminal in ((PlainView, False), (LiveView, True)):
        assert words in shown(view, terminal, snapshot(alarms=words))


def test_what_went_wrong_is_said_in_words():
    bad = snapshot(
        frames={"done": 90, "failed": 2, "missing": 5, "shed": 3},
        delivery=Delivery(redelivered=7, restarts=1, ignored="4 stray"),
        waiting=Waiting(20, 0, "8 announced and not come"),
        troubles={"live.json cannot be written": 8},
    )
    for view_class, terminal in ((PlainView, False), (LiveView, True)):
        text = shown(view_class, terminal, bad)
        for words in (
            "2 failed",
            "5 missing from the source",
            "3 shed",
            "7 sent again",
            "4 stray",
            "(8 times)",
        ):
            assert words in text


def test_the_live_view_shows_every_node_and_the_feed():
    text = shown(LiveView, True, snapshot())
    for words in (
        "sink",
        "putting results on disk",
        "4711",
        "tcp://127.0.0.1:5590",
        "100/480",
        "0.012 px",
    ):
        assert words in text


def test_a_run_of_unknown_length_has_a_view_too():
    assert "100 frames" in shown(PlainView, False, snapshot(expected=None))
    assert "100" in shown(LiveView, True, snapshot(expected=None))


@pytest.mark.parametrize(
    ("terminal", "kind", "view"),
    [(False, "xterm", PlainView), (True, "xterm", LiveView), (True, "dumb", PlainView)],
)
def test_the_view_suits_where_it_is_shown(monkeypatch, terminal, kind, view):
    monkeypatch.setenv("TERM", kind)
    assert isinstance(view_for(Console(file=io.StringIO(), force_terminal=terminal)), view)


def test_a_name_that_looks_like_markup_is_shown_as_it_is():
    nodes = [NodeView("ingest", "reading series [/b]", "100 frames", 0, 4711, True)]
    assert "series [/b]" in shown(LiveView, True, snapshot(nodes=nodes))
    assert "4 [/b]" in shown(PlainView, False, snapshot(delivery=Delivery(ignored="4 [/b]")))


def test_a_summary_quotes_what_looks_like_markup(tmp_path):
    summary = make_run(tmp_path / "[/run]", source="[/bold]a.h5").read_summary()
    print_summary(Console(file=(said := io.StringIO()), width=200), summary)
    assert "[/bold]a.h5" in said.getvalue()
    assert "[/run]" in said.getvalue()
