from __future__ import annotations

import msgpack
import numpy as np
import pytest

from streamer.frames.peaks import PEAK, POSITION
from streamer.transport.messages import (
    Acks,
    CodedFrame,
    FramePeaks,
    Frames,
    MessageError,
    Patches,
    Positions,
    Record,
    Records,
    SeriesHeader,
    Status,
    pack,
    unpack,
)

HEAD = FramePeaks(3, "1", 7, 10**18, 10**18 + 1, 2)
MESSAGES = {
    "series": (
        SeriesHeader("1", 7, 480, 0.01, 6e4, (2, 3), None, {"wavelength": 1.0}),
        [np.zeros((2, 3), bool)],
    ),
    "frames": (
        Frames([CodedFrame(0, "1", 0, 1, 2, (2, 2), "<u2", "raw")]),
        [np.arange(4, dtype="<u2")],
    ),
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
    "records": (Records([Record(4, "1", "missing", 8, 2, 0, "not received")]), []),
    "acks": (Acks(5, [5, 7], [(7, "cannot be decoded")]), []),
    "status": (Status("gpu-0", 12, "running", "placing", 9100, {"peaks": 1.0}), []),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_what_is_packed_is_what_is_unpacked(kind):
    header, arrays = MESSAGES[kind]
    got, buffers = unpack(pack(header, *(array.data for array in arrays)))
    assert got == header
    assert [bytes(buffer) for buffer in buffers] == [array.tobytes() for array in arrays]


@pytest.mark.parametrize("kind", [k for k, (_, arrays) in MESSAGES.items() if arrays])
def test_a_missing_buffer_is_refused(kind):
    header, arrays = MESSAGES[kind]
    with pytest.raises(MessageError, match="announced"):
        unpack(pack(header, *(array.data for array in arrays[:-1])))


@pytest.mark.parametrize("kind", ["series", "patches", "positions"])
def test_a_buffer_of_another_size_is_refused(kind):
    header, arrays = MESSAGES[kind]
    with pytest.raises(MessageError, match="bytes where"):
        unpack(pack(header, *(array.data for array in arrays[:-1]), b"short"))


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
        [msgpack.packb({"kind": "records", "records": [[1, "s", "lost", 0, 1, 0, ""]]})],
    ],
)
def test_what_does_not_fit_the_schema_is_refused(parts):
    with pytest.raises(MessageError):
        unpack(parts)
