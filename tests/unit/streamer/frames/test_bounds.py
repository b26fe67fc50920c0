"""What a sender says is brought within what messages, tables and file names can carry."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import UserError, as_line
from streamer.frames.bounds import bounded
from streamer.frames.events import Series
from streamer.frames.metadata import plain, plain_items, positive, unix_ns

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 1100), 1 << 1100)
    | st.floats()
    | st.text(st.characters())
    | st.binary()
)
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(SCALARS, inner), max_leaves=20
)


@given(st.dictionaries(st.text(st.characters()), NESTED))
def test_whatever_is_said_can_be_sent_and_read_back(said):
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept := plain_items(said))).keys() == (
        kept.keys()
    )


def test_what_can_be_sent_stays_as_it_is():
    said = {"a": [1, -(1 << 63), (1 << 64) - 1, 2.5, True, None, "µ\n", b"\xff"], "b": {"c": {}}}
    assert plain_items(said) == said


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (1 << 64, 2.0**64),
        (10**400, None),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        ("x" * 4097, None),
        (object(), None),
    ],
)
def test_what_cannot_is_replaced_or_left_out(said, kept):
    assert plain(said) == kept


def test_what_is_nested_too_deeply_or_without_end_is_left_out():
    endless = []
    endless.append(endless)
    many = [0] * 4096
    for _ in range(30):
        many = [many, many]
    deep = {}
    for _ in range(10_000):
        deep = {"a": deep}
    kept = plain_items({"endless": endless, "many": many, "deep": deep, "good": 1})
    assert len(json.dumps(kept)) < 1_000_000
    assert kept["good"] == 1


def test_a_series_is_bounded():
    series = bounded(
        Series(
            name="\ud800/" + "é" * 5000,
            n_frames=1 << 63,
            frame_time_s=1e300,
            saturation=10**400,
            metadata={"a": "\ud800"},
        )
    )
    assert len(series.name) == 128
    assert len(series.name.encode()) < 400
    assert (series.n_frames, series.frame_time_s, series.saturation) == (None, None, None)
    assert series.metadata == {"a": "\ufffd"}


@given(st.text(st.characters()))
def test_a_line_can_be_printed(text):
    line = as_line(text)
    line.encode()
    assert line.isprintable()
    assert len(line) <= 400


def test_what_a_user_is_told_is_one_line_whatever_it_quotes():
    said = str(UserError("set it\n\ud800" + "x" * 10_000))
    said.encode()
    assert said.startswith("set it \ufffdxx")
    assert len(said) == 2000


@pytest.mark.parametrize("value", [None, True, 0, -1, float("inf"), float("nan"), 10**400, "1"])
def test_what_is_no_number_above_0_is_not_known(value):
    assert positive(value) is None


def test_a_number_above_0_can_be_sent():
    assert positive(65535) == 65535
    assert msgspec.msgpack.encode(positive(10**30)) == msgspec.msgpack.encode(1e30)


@pytest.mark.parametrize("value", [None, -1, 1 << 63, 1e300, float("inf"), float("nan")])
def test_what_is_no_time_is_not_known(value):
    assert unix_ns(value) is None


def test_a_time_is_rounded():
    assert unix_ns(1.6) == 2
