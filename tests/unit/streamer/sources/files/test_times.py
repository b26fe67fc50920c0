"""Times of recorded frames: the detector's, computed, or none; never those of the replay."""

import fabio
import h5py
import numpy as np
import pytest
from fabio.edfimage import EdfImage

from streamer.config import SourceConfig
from streamer.frames.events import Frame, Gap
from streamer.sources import open_source
from streamer.sources.files.open import open_recording

DATA = np.random.default_rng(1).integers(0, 200, (6, 24, 31)).astype("<u2")


def play(path, **config):
    """Return where the times are from, and the times."""
    source = open_source(str(path), SourceConfig(**config))
    events = source.read(100)
    source.close()
    return events[0].taken.times, [e.time_ns for e in events if isinstance(e, Frame)]


@pytest.fixture
def recording(tmp_path):
    np.save(tmp_path / "run.npy", DATA)
    return tmp_path / "run.npy"


def test_a_recording_without_times_has_none(recording):
    assert play(recording) == ("none", [0] * 6)
    assert open_recording(str(recording), SourceConfig()).picture(3).time_ns == 0


def test_times_are_computed_from_what_the_user_says(recording):
    origin, times = play(recording, frame_time_s=0.5, frames="2:")
    assert origin == "computed from source.frame_time_s"
    assert times == [1 + n * 500_000_000 for n in range(2, 6)]
    again = open_recording(str(recording), SourceConfig(frame_time_s=0.5))
    assert again.picture(3).time_ns == times[1]


def test_a_frame_that_cannot_be_read_has_the_time_at_which_it_was_taken(tmp_path):
    """Not that at which it was found out, or a report would draw years between two frames."""
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", DATA.shape, "<u2", chunks=(1, *DATA.shape[1:]))
        data[:2], data[4:] = DATA[:2], DATA[4:]
    for pace, expected in ((None, 0), (0.5, 1 + 2 * 500_000_000)):
        source = open_source(str(path), SourceConfig(frame_time_s=pace))
        (gap,) = [event for event in source.read(100) if isinstance(event, Gap)]
        source.close()
        assert (gap.first, gap.count, gap.time_ns) == (2, 2, expected)


def test_each_round_has_the_same_times(recording):
    _, times = play(recording, frame_time_s=0.5, loop=2)
    assert times[:6] == times[6:]


def test_times_are_computed_from_the_pace_that_a_header_states(tmp_path):
    image = EdfImage(data=DATA[0], header={"frame_time": "0.25"})
    for frame in DATA[1:]:
        image.append_frame(data=frame)
    image.write(str(tmp_path / "run.edf"))
    origin, times = play(tmp_path / "run.edf")
    assert origin == "computed from the frame time that the recording states"
    assert np.diff(times).tolist() == [250_000_000] * 5


def test_times_of_the_detector_are_left_alone(tmp_path):
    for number, frame in enumerate(DATA):
        header = {"time_of_day": f"{1_700_000_000 + number}.0"}
        fabio.edfimage.EdfImage(data=frame, header=header).write(str(tmp_path / f"a_{number}.edf"))
    origin, times = play(tmp_path, frame_time_s=0.5)
    assert origin == "the detector's"
    assert times == [(1_700_000_000 + n) * 10**9 for n in range(6)]


@pytest.mark.parametrize(
    ("date", "is_told"),
    [
        ("2023-11-14T22:13:20", True),
        ("2023-11-14T22:13:20Z", False),
        ("2023-11-14T23:13:20+01:00", False),
    ],
)
def test_a_date_without_a_zone_is_taken_as_utc_and_that_is_told(tmp_path, date, is_told):
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/data/data"] = DATA
        file["entry/start_time"] = date
        file["entry/instrument/detector/frame_time"] = 0.5
    source = open_source(str(tmp_path / "a.nxs"), SourceConfig())
    series, first = source.read(2)
    source.close()
    assert first.time_ns == 1_700_000_000 * 10**9
    told = series.metadata.get("warnings", [])
    assert ("the dates in it name no time zone and are taken as UTC" in told) == is_told
