"""Choosing frames of a recording, and playing it again and again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.config import SourceConfig, load_config
from streamer.errors import UserError
from streamer.frames.codecs import decode
from streamer.frames.events import Frame, Gap, Pixels, Series, SeriesEnd
from streamer.sources import open_source
from streamer.sources.files.recording import PlainReader, Recording

DATA = np.random.default_rng(5).poisson(3, (23, 6, 7)).astype("<u2")


def play(uri, portion=4, limit=1000, **config):
    source = open_source(uri, SourceConfig(**config))
    expected, events = source.n_frames, []
    while not source.exhausted and len(events) < limit:
        events += source.read(portion)
    source.close()
    assert source.exhausted
    assert source.read(1) == []
    return events, expected


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "run.npy"
    np.save(path, DATA)
    return path


_bound = st.none() | st.integers(-30, 30)


@given(start=_bound, stop=_bound, step=st.none() | st.integers(1, 30), spaced=st.booleans())
def test_frames_are_a_slice_of_python(start, stop, step, spaced):
    parts = ["" if part is None else str(part) for part in (start, stop)]
    text = (" : " if spaced else ":").join(parts) + (f":{step}" if step else "")
    assert SourceConfig(frames=text).chosen == slice(start, stop, step)


@pytest.mark.parametrize(
    ("frames", "numbers"),
    [
        ("3:11", range(3, 11)),
        (":4", range(4)),
        ("-5:", range(18, 23)),
        ("2:20:7", range(2, 20, 7)),
        ("::5", range(0, 23, 5)),
        ("20:400", range(20, 23)),
        ("7", range(7, 8)),
        ("-1", range(22, 23)),
        (None, range(23)),
    ],
)
def test_chosen_frames_keep_their_numbers(recording, frames, numbers):
    events, expected = play(recording, frames=frames)
    assert expected == events[0].n_frames == len(numbers)
    assert [e.frame for e in events[1:-1]] == list(numbers), "no other frame, and none is missing"
    for event in events[1:-1]:
        pixels = decode(event.data, event.encoding, event.dtype, event.shape)
        np.testing.assert_array_equal(pixels, DATA[event.frame])
    assert isinstance(events[-1], SeriesEnd)


@pytest.mark.parametrize(
    ("frames", "gaps"),
    [("5:15", [range(11, 15)]), ("::5", [range(15, 16), range(20, 21)]), (":11", [])],
)
def test_only_chosen_frames_can_be_missing(recording, frames, gaps):
    whole = recording.read_bytes()
    recording.write_bytes(whole[: len(whole) - 12 * DATA[0].nbytes])
    events, _ = play(recording, frames=frames)
    assert [e.frames for e in events if isinstance(e, Gap)] == gaps
    chosen = range(*SourceConfig(frames=frames).chosen.indices(23))
    assert [e.frame for e in events if isinstance(e, Frame)] == [n for n in chosen if n < 11]


@pytest.mark.parametrize("frames", ["a:b", "", "1:2:3:4", "10:0:-1", "::0", "-:3"])
def test_choices_that_mean_nothing(frames):
    says = f"source.frames = '{frames}' does not fit: it should be start:stop:step"
    with pytest.raises(UserError, match=says) as caught:
        load_config(None, [f"source.frames='{frames}'"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("frames", ["23:", "9:3"])
def test_choices_that_a_recording_has_none_of(recording, frames):
    with pytest.raises(UserError, match=f"has 23 frames, and none of them is in {frames}"):
        open_source(recording, SourceConfig(frames=frames))


def test_each_round_is_a_series_of_its_own(recording):
    events, expected = play(recording, loop=3, frames="4:6")
    assert expected == 6
    assert [type(e) for e in events] == [Series, Frame, Frame, SeriesEnd] * 3
    assert [e.name for e in events if isinstance(e, Series)] == ["run", "run_2", "run_3"]
    assert [e.series for e in events if not isinstance(e, Series)] == [
        name for name in ("run", "run_2", "run_3") for _ in range(3)
    ]
    assert [e.frame for e in events if isinstance(e, Frame)] == [4, 5] * 3


def test_it_plays_until_it_is_stopped(recording):
    events, expected = play(recording, loop=0, limit=2600)
    assert expected is None
    assert events[2500].name == "run_101"


def test_frames_of_a_live_stream_cannot_be_chosen():
    with pytest.raises(UserError, match=r"is a live stream: source.frames"):
        open_source("dectris://127.0.0.1:1", SourceConfig(frames=":5"))


class Failing(PlainReader):
    """A reader that trusts what a damaged file says."""

    def __init__(self, n_frames, times=1.0):
        super().__init__(Series(name="\ud800"), n_frames, self.read, time_ns=lambda frame: times)

    def read(self, frame):
        if frame == 1:
            raise OverflowError("Python int too large\nto convert to C long")
        return Pixels(b"\0" * 8, "raw", "<u2", (2, 2) if frame != 2 else (1 << 40, 1 << 40))


@pytest.mark.parametrize("times", [1e300, -5, None, 1 << 63])
def test_a_frame_that_a_reader_fails_at_is_missing_with_the_reason(times):
    recording = Recording("a", Failing(4, times))
    series, *events, end = recording.read(10)
    assert series.name == end.series == "\ufffd"
    assert [type(event) for event in events] == [Frame, Gap, Gap, Frame]
    assert events[1].reason == "cannot be read (Python int too large)"
    assert "more pixels are declared" in events[2].reason
    assert 0 <= events[0].time_ns < 1 << 63
    assert isinstance(recording.picture(1), Gap)


def test_a_file_of_which_most_is_not_there_is_read_in_portions():
    asked = []
    reader = PlainReader(Series(name="a"), 200_000, lambda n: asked.append(n) or "cut off")
    recording = Recording("a", reader)
    recording.read(1)
    (gap,) = recording.read(1)
    assert gap.count == len(asked) == 65_536
    assert sum(event.count for event in recording.read(10)[:-1]) == 200_000 - 65_536
