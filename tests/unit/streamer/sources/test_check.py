"""What `check` says of a source."""

import io

import msgspec
import numpy as np
import pytest
from rich.console import Console

from streamer.config import SourceConfig
from streamer.frames.events import Frame, Gap, Series, SeriesEnd, Taken
from streamer.sources import check
from streamer.sources.check import Findings, check_source, watch


def frame(number, data=None, shape=(4, 4), dtype="<u2", encoding="raw"):
    pixels = np.full(shape, number, dtype)
    pixels[0, 0] = 65535 if dtype == "<u2" else 0
    return Frame(
        series="s",
        frame=number,
        time_ns=0,
        shape=shape,
        dtype=dtype,
        encoding=encoding,
        data=pixels.tobytes() if data is None else data,
    )


class Script:
    """A live source that gives what it was made with, one event at a time."""

    socket = None
    n_frames = None
    uri = "dectris://127.0.0.1:1"
    is_dealt = True

    def __init__(self, *events, live=True, **counters):
        self.events, self.live, self.counters = list(events), live, counters

    @property
    def exhausted(self):
        return not self.events

    def read(self, limit):
        return [self.events.pop(0)] if self.events else []

    def close(self):
        pass


@pytest.fixture
def say(monkeypatch):
    """Return the verdict and the lines printed of a source."""

    def say(source):
        monkeypatch.setattr(check, "open_source", lambda uri, config: source)
        text = io.StringIO()
        well = check_source("uri", SourceConfig(), Console(file=text, width=200), seconds=2.0)
        return well, text.getvalue()

    return say


SERIES = Series(
    name="s",
    n_frames=20,
    frame_time_s=0.01,
    pixel_mask=np.eye(4, dtype=bool),
    metadata={"protocol": "DECTRIS stream v2"},
)
END = SeriesEnd(series="s")


def test_all_is_well(say):
    well, text = say(Script(SERIES, *map(frame, range(20)), END))
    assert well
    assert "DECTRIS stream v2, 20 frames announced, one every 10 ms, 4 pixels masked" in text
    assert "20 of 4 x 4 <u2 raw" in text
    assert "0 to 0 on frame 0, 1 marked as masked" in text
    assert "all is well" in text


def test_second_client_is_suspected(say):
    lost = [Gap(series="s", first=n, count=1, reason="not received") for n in range(1, 20, 2)]
    well, text = say(Script(SERIES, *map(frame, range(0, 20, 2)), *lost))
    assert not well
    assert "another client takes its turn" in text


def test_a_publisher_has_no_clients_that_take_turns(say):
    lost = [Gap(series="s", first=n + 1, count=3, reason="not received") for n in range(0, 36, 4)]
    source = Script(SERIES, *map(frame, range(0, 40, 4)), *lost)
    source.is_dealt = False
    well, text = say(source)
    assert not well
    assert "another client" not in text
    assert "go in steps of 4: the sender counts what it does not send" in text
    assert "behind the address" not in text


def test_single_losses_are_no_second_client(say):
    lost = Gap(series="s", first=7, count=2, reason="not received")
    numbers = [n for n in range(20) if n not in lost.frames]
    well, text = say(Script(SERIES, *map(frame, numbers), lost, END))
    assert not well
    assert "2 frames missing: not received" in text
    assert "another client" not in text


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Script(), "nothing came for 2 s: arm and trigger"),
        (Script(stray=5), "5 images of a series whose start was missed"),
        (Script(malformed=3), "of another protocol"),
        (Script(SERIES), "no frame came within 2 s"),
        (Script(SERIES, frame(0), late=2, END=0), "gave no frame: 2 late"),
        (Script(SERIES, frame(0), disconnects=2), "went away 2 times"),
        (Script(SERIES, frame(0, data=b"123")), "set the detector's compression to bslz4"),
        (Script(SERIES, frame(0), frame(1, shape=(5, 5))), "frames differ"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(say, source, says):
    well, text = say(source)
    assert not well
    assert says in text


def test_a_sender_that_goes_when_its_series_is_over_is_well(say):
    assert say(Script(SERIES, *map(frame, range(3)), END, disconnects=1))[0]
    assert not say(Script(SERIES, *map(frame, range(3)), END, disconnects=2))[0]


def test_a_recording_that_cannot_be_decoded_is_no_matter_of_the_detector(say):
    _, text = say(Script(SERIES, frame(0, data=b"123"), END, live=False))
    assert "frames cannot be decoded: copy the recording again" in text


@pytest.mark.parametrize(
    ("mark", "is_told"), [(0, True), (65534, True), (310, False), (500, False)]
)
def test_values_that_look_like_gaps_are_told(say, mark, is_told):
    pixels = np.random.default_rng(0).poisson(300, (64, 64)).astype("<u2")
    pixels[:, 20:22] = mark
    first = frame(0, data=pixels.tobytes(), shape=(64, 64))
    series = msgspec.structs.replace(SERIES, pixel_mask=None)
    said = f"; 128 are {mark} and none is near: if those are gaps, name them in detect.mask"
    assert (said in say(Script(series, first, END))[1]) == is_told


@pytest.mark.parametrize("photons", [0.01, 1, 3, 10])
def test_photons_do_not_look_like_gaps(say, photons):
    pixels = np.random.default_rng(0).poisson(photons, (64, 64)).astype("<u2")
    pixels[30:33, 40:43] = 400
    first = frame(0, data=pixels.tobytes(), shape=(64, 64))
    assert (
        "gaps" not in say(Script(msgspec.structs.replace(SERIES, pixel_mask=None), first, END))[1]
    )


def test_what_was_taken_is_named(say):
    taken = Taken(source="a.h5::/data", times="none", left_out=["/dark (2 x 4 x 4 uint16)"])
    told = msgspec.structs.replace(SERIES, taken=taken)
    _, text = say(Script(told, *map(frame, range(3, 20)), END, live=False))
    assert "taken     a.h5::/data\n" in text
    assert "times     none: set source.frame_time_s" in text
    assert "left out  /dark (2 x 4 x 4 uint16)\n" in text
    assert "<u2 raw (uint16, little-endian)" in text
    assert "numbers   3 to 19\n" in text


@pytest.mark.parametrize(
    ("time_ns", "says"),
    [
        (1 + 10**9, "computed from a, counted from its start"),
        (1_700_000_000 * 10**9, "computed from a, from 2023-11-14T22:13:20+00:00 on"),
    ],
)
def test_times_are_told_with_where_they_are_from(say, time_ns, says):
    told = msgspec.structs.replace(SERIES, taken=Taken(source="a", times="computed from a"))
    first = msgspec.structs.replace(frame(0), time_ns=time_ns)
    assert f"times     {says}\n" in say(Script(told, first, END))[1]


def test_rate_is_that_of_the_frames():
    now = iter(np.arange(0.0, 100.0, 0.5))
    findings = watch(Script(SERIES, *map(frame, range(10)), END), 60.0, lambda: float(next(now)))
    assert findings.n_frames == 10
    assert findings.rate_hz == pytest.approx(1.0)
    assert Findings().rate_hz == 0.0


HEADER = {
    "beam_center_x": 2.0,
    "beam_center_y": 1.0,
    "detector_distance": 0.1,
    "x_pixel_size": 75e-6,
    "y_pixel_size": 75e-6,
    "photon_energy": 12398.419843320026,
}


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            HEADER,
            "geometry  100 mm, beam at row 1.00, column 2.00, pixels 75 x 75 µm, wavelength 1 Å;"
            " from header of the series (photon_energy in eV, beam_center in pixels,"
            " detector_distance in m, y_pixel_size in m, x_pixel_size in m)",
        ),
        ({}, "geometry  none: the header has no beam centre"),
        ({"no_geometry": "it is turned"}, "geometry  none: it is turned"),
    ],
)
def test_the_geometry_and_where_it_is_from(say, header, told):
    series = Series(name="s", metadata=header)
    _, text = say(Script(series, *map(frame, range(3)), END))
    assert told in " ".join(text.replace("\n", " ").split(" "))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"image_size_x": 4, "image_size_y": 4, "image_dtype": "uint16"}, None),
        ({"image_size_x": 8, "image_size_y": 4}, "says images of 4 x 8, and they are 4 x 4"),
        ({"x_pixels_in_detector": 4, "y_pixels_in_detector": 5}, "says images of 5 x 4"),
        ({"image_dtype": "uint32"}, "says pixels of uint32, and they are uint16"),
        ({"bit_depth_image": 32}, "says pixels of uint32, and they are uint16"),
    ],
)
def test_what_a_header_says_is_held_against_what_came(say, header, told):
    well, text = say(Script(Series(name="s", metadata=header), *map(frame, range(3)), END))
    assert well == (told is None)
    assert (told or "all is well") in text
