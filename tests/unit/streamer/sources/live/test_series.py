"""SeriesAssembler of a series that another source had before."""

from __future__ import annotations

import pytest

from streamer.config import SourceConfig
from streamer.frames.events import Pixels, Series
from streamer.sources.live.series import Image, SeriesAssembler
from tests.unit.streamer.sources.live.senders import gaps, numbers

PIXELS = Pixels(b"\0" * 8, "raw", "<u2", (2, 2))


def adopted(n_frames=None, first_frame=0):
    assembler = SeriesAssembler(SourceConfig(series=0))
    assembler.adopt(["run_1", "run_2"], "run_2")
    assembler.start(Series(name="run_2", n_frames=n_frames), "key", first_frame=first_frame)
    return assembler


def book(assembler, *frames):
    for frame in frames:
        assembler.image(Image(number=frame, pixels=PIXELS), "key")


@pytest.mark.parametrize(
    ("first_frame", "frames", "lost"),
    [
        (0, [3, 4], [range(3)]),
        (0, [0, 1], []),
        (0, [500, 499], [range(436, 499)]),
        (90, [100, 101], [range(90, 100)]),  # nobody was there before 90
        (90, [90], []),
    ],
)
def test_what_may_have_been_overtaken_is_told_again(first_frame, frames, lost):
    assembler = adopted(first_frame=first_frame)
    book(assembler, *frames)
    assembler.end("key")
    assert assembler.pending[0].name == "run_2"
    assert numbers(assembler.pending) == frames
    assert [missing for missing, _ in gaps(assembler.pending)] == lost
    assert assembler.pending[-1].reason == "end"


def test_an_end_without_an_image_says_nothing_of_what_was_taken():
    assembler = adopted(n_frames=7)
    assembler.end("key")
    assert gaps(assembler.pending) == []
    assert assembler.pending[-1].reason == "end"


def test_only_the_next_series_is_adopted():
    assembler = adopted()
    assembler.start(Series(name="run_2"), "other")
    assembler.start(Series(name="run_3"), "third")
    names = [event.name for event in assembler.pending if isinstance(event, Series)]
    assert names == ["run_2", "run_2_2", "run_3"]


def names_of(assembler, *stems):
    for number, stem in enumerate(stems):
        assembler.start(Series(name=stem), number)
    return [event.name for event in assembler.pending if isinstance(event, Series)]


def test_series_of_one_name_are_told_apart():
    assembler = SeriesAssembler(SourceConfig(series=0))
    assert names_of(assembler, "a", "a_2", "a", "a", "a_2") == ["a", "a_2", "a_3", "a_4", "a_2_2"]


def test_a_name_that_many_series_had_is_found_as_fast_as_the_first():
    class Names(dict):
        n_looked_up = 0

        def __contains__(self, name):
            Names.n_looked_up += 1
            return super().__contains__(name)

    assembler = SeriesAssembler(SourceConfig(series=0))
    assembler._names = Names()
    assert len(set(names_of(assembler, *["a"] * 500))) == 500
    assert Names.n_looked_up < 2000
