from __future__ import annotations

import msgpack
import numpy as np
import pytest
from msgspec.structs import replace

from streamer.frames.events import WIRE_VERSION, Frame, Gap, Series, SeriesEnd
from streamer.frames.peaks import PEAK, POSITION
from streamer.transport.messages import (
    Acks,
    FramePeaks,
    Frames,
    MessageError,
    Patches,
    Positions,
    Status,
    VersionError,
    pack,
    unpack,
)

HEAD = FramePeaks(3, "1", 7, 10**18, 10**18 + 1, 2)
FRAME = Frame(
    series="1",
    frame=0,
    time_ns=1,
    shape=(2, 2),
    dtype="<u2",
    encoding="raw",
    data=np.arange(4, dtype="<u2").tobytes(),
    seq=3,
    received_ns=2,
)
MASK, FLAT = np.eye(2, 3, dtype=bool), np.arange(6, dtype=np.float32).reshape(2, 3)
SERIES = Series(
    name="1",
    n_frames=480,
    frame_time_s=0.01,
    saturation=6e4,
    metadata={"wavelength": 1.0, "user_data": [b"any", None]},
    first_seq=7,
)
MESSAGES = {
    "series": (SERIES, []),
    "frame": (FRAME, []),
    "frames": (Frames([FRAME, replace(FRAME, frame=1, seq=4, data=b"x")]), []),
    "patches": (
        Patches([HEAD], 11),
        [
            np.zeros(2, PEAK).view(np.uint8),
            np.zeros((2, 11, 11), np.float32),
            np.zeros((2, 11, 11), np.uint8),
        ],
    ),
    "positions": (
        Positions([HEAD]),
        [np.zeros(2, PEAK).view(np.uint8), np.zeros(2, POSITION).view(np.uint8)],
    ),
    "gap": (Gap(series="1", first=8, count=2, reason="not received", time_ns=9, seq=4), []),
    "end": (SeriesEnd(series="1", reason="abort", counters={"late": 2}, seq=5), []),
    "acks": (Acks(5, [5, 7], [(7, "cannot be decoded")]), []),
    "status": (Status("gpu-0", 12, "running", "placing", 9100, {"peaks": 1.0}), []),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_is_packed_is_what_is_unpacked(kind):
    header, arrays = MESSAGES[kind]
    got, buffers = unpack(pack(header, *(array.data for array in arrays)))
    assert got == header
    assert [bytes(buffer) for buffer in buffers] == [array.tobytes() for array in arrays]


def test_a_series_has_its_images_behind_it():
    for mask in (MASK, None):
        for flat in (FLAT, FLAT.T.copy().T, None):  # also where it has to be put in order
            series, buffers = unpack(pack(replace(SERIES, pixel_mask=mask, flatfield=flat)))
            assert not buffers
            np.testing.assert_array_equal(series.pixel_mask, mask)
            np.testing.assert_array_equal(series.flatfield, flat)
            assert mask is None or series.pixel_mask.dtype == bool
            assert flat is None or series.flatfield.dtype == np.float32


def test_a_frame_is_not_copied():
    data = memoryview(b"12345678")
    header, pixels = pack(replace(FRAME, data=data))
    assert pixels is data
    assert b"12345678" not in header
    assert unpack([header, pixels])[0].data.obj is data.obj


WITH_BUFFERS = {name: MESSAGES[name] for name in ("frame", "frames", "patches", "positions")}
WITH_BUFFERS["series"] = (replace(SERIES, pixel_mask=MASK, flatfield=FLAT), [])


@pytest.mark.parametrize("kind", WITH_BUFFERS)
def test_a_missing_buffer_is_refused(kind):
    header, arrays = WITH_BUFFERS[kind]
    parts = pack(header, *(array.data for array in arrays))
    for broken in (parts[:-1], [*parts, b"more"]):
        with pytest.raises(MessageError, match="announced"):
            unpack(broken)


@pytest.mark.parametrize("kind", ["series", "patches", "positions"])
def test_a_buffer_of_another_size_is_refused(kind):
    header, arrays = WITH_BUFFERS[kind]
    parts = pack(header, *(array.data for array in arrays))
    with pytest.raises(MessageError, match="bytes where"):
        unpack([*parts[:-1], b"short"])


def test_what_a_series_says_must_be_plain():
    with pytest.raises(TypeError, match="int64 is no plain msgpack type"):
        pack(Series(name="1", metadata={"threshold": np.int64(5)}))


@pytest.mark.parametrize("name", ["\ud800", 1 << 64])
def test_a_header_that_msgpack_cannot_carry_is_refused(name):
    with pytest.raises(MessageError, match="cannot be sent"):
        pack(Series(name=name))


@pytest.mark.parametrize("says", [{"wire_version": 1}, {}, {"wire_version": 9, "name": 5}])
def test_a_series_of_another_version_is_refused(says):
    header = msgpack.packb({"kind": "series", "name": "1"} | says)
    version = says.get("wire_version", 1)
    with pytest.raises(VersionError, match=f"version {version} of the messages, here it is"):
        unpack([header])


A_GAP = {"kind": "gap", "series": "s", "reason": "", "first": 0, "count": 1}


def a_series(mask):
    says = {"kind": "series", "name": "1", "wire_version": WIRE_VERSION, "pixel_mask": mask}
    return msgpack.packb(says)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"\xc1"],
        [b"not msgpack at all"],
        [msgpack.packb(5)],
        [msgpack.packb({"kind": "no such kind"})],
        [msgpack.packb({"kind": "acks", "upto": "five", "received": [], "failed": []})],
        [msgpack.packb({"kind": "frames", "frames": [[1, "s"]]}), b"x"],
        [msgpack.packb({"kind": "gap", "series": "s", "first": 0, "count": 1, "state": "lost"})],
        *([a_series(shape), b"123456"] for shape in ("ab", [2], [2, 3, 1], [-2, -3], [2, "3"], 6)),
        *(
            [
                msgpack.packb(
                    {"kind": "gap", "series": "s", "reason": "", "first": 0, "count": 1} | says
                )
            ]
            for says in ({"first": 1 << 63}, {"time_ns": 1 << 63}, {"count": 0}, {"seq": 1 << 63})
        ),
        [a_series([(1 << 64) - 1, 1]), b""],
        *([a_series(shape), b"123456"] for shape in ([1 << 62, 1 << 62], [0.5, 12])),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(parts):
    with pytest.raises(MessageError):
        unpack(parts)
