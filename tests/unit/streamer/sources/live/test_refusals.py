"""Messages that nobody foresaw."""

import pytest

from streamer.errors import UserError
from streamer.frames.events import Gap, Series
from streamer.sources.live.refusals import Refusals
from streamer.sources.live.series import Image
from tests.unit.streamer.sources.live.test_series import PIXELS, SeriesAssembler, SourceConfig


@pytest.mark.parametrize("error", [ValueError("no"), OverflowError("no"), RecursionError()])
def test_a_message_is_refused_whatever_is_raised_and_that_is_said_once(caplog, error):
    counters = {"malformed": 0}
    refusals = Refusals("dectris://here", counters)
    for _ in range(3):
        with refusals.refusing():
            raise error
    assert counters == {"malformed": 3}
    assert len(caplog.records) == 1


def test_what_the_user_has_to_mend_ends_the_run():
    with pytest.raises(UserError), Refusals("", {}).refusing():
        raise UserError("set it")


def started(**says):
    assembler = SeriesAssembler(SourceConfig(series=0))
    assembler.start(Series(name="s", **says), "key")
    return assembler


@pytest.mark.parametrize("shape", [(1 << 64, 2), (1 << 40, 2), (2, 1 << 40), (0, 2), (-1, -8)])
def test_an_image_of_a_size_that_cannot_be_fails_alone(shape):
    assembler = started()
    assembler.image(Image(number=0, pixels=PIXELS._replace(shape=shape)), "key")
    assembler.image(Image(number=1, pixels=PIXELS), "key")
    _, gap, frame = assembler.pending
    assert isinstance(gap, Gap)
    assert gap.frames == range(1)
    assert frame.frame == 1


@pytest.mark.parametrize("time_ns", [-1, 1 << 63, 1 << 80])
def test_a_time_that_cannot_be_is_not_taken(time_ns):
    assembler = started(frame_time_s=1e8)
    assembler.image(Image(number=0, pixels=PIXELS, time_ns=time_ns), "key")
    assert 0 < assembler.pending[1].time_ns < 1 << 63


@pytest.mark.parametrize("number", [-1, 1 << 53, 1 << 63])
def test_a_number_that_cannot_be_is_refused(number):
    assembler = started(n_frames=1 << 62)
    with pytest.raises(ValueError, match="no image number"):
        assembler.image(Image(number=number, pixels=PIXELS), "key")
    assembler.start(Series(name="t"), "other", first_frame=number)
    assembler.image(Image(number=0, pixels=PIXELS), "other")
    assert assembler.pending[-1].frame == 0
