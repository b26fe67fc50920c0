"""Frames without any coding: layouts that a header states, and those that the user does."""

import numpy as np
import pytest

from streamer.config import SourceConfig
from streamer.errors import UserError
from tests.unit.streamer.sources.files.test_choice import assert_frames, play

SHAPE = (24, 31)


def stack(n, dtype):
    return np.random.default_rng(n).integers(0, 200, (n, *SHAPE)).astype(dtype)


def edf_header(rows, cols, kind, n=0, order="LowByteFirst", **more):
    keys = {
        "EDF_HeaderSize": 8192,
        "ByteOrder": order,
        "DataType": kind,
        "Dim_1": cols,
        "Dim_2": rows,
        **({"Num_Images": n} if n else {}),
        **more,
    }
    lines = "".join(f"{key} = {value} ;\r\n" for key, value in keys.items())
    return f"{{\n{lines}}}\n".encode().ljust(8192)


@pytest.mark.parametrize(
    ("kind", "order", "dtype"),
    [
        ("SignedInteger", "LowByteFirst", "<i4"),
        ("UnsignedShort", "HighByteFirst", ">u2"),
        ("FloatValue", "LowByteFirst", "<f4"),
    ],
)
def test_a_ge_file_is_as_its_edf_header_says(tmp_path, kind, order, dtype):
    data = stack(5, dtype)
    head = edf_header(*SHAPE, kind, 5, order, Size=data[0].nbytes)
    (tmp_path / "a.ge5").write_bytes(head + data.tobytes())
    series = assert_frames(tmp_path / "a.ge5", data)
    assert "header of EDF" in series.taken.source


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (edf_header(*SHAPE, "Complex"), "says Complex of 24 x 31"),
        (edf_header(*SHAPE, "SignedInteger", Size=7), "contradicts itself"),
        (edf_header(1 << 30, 1 << 30, "SignedInteger"), "more than the limit"),
    ],
)
def test_headers_that_cannot_be(tmp_path, head, says):
    (tmp_path / "a.ge5").write_bytes(head + bytes(9000))
    with pytest.raises(UserError, match=says):
        play(tmp_path / "a.ge5")


def test_a_blank_header_before_32_bits_is_asked_about(tmp_path):
    data = np.random.default_rng(1).poisson(3, (2, 2048, 2048)).astype("<i4")
    (tmp_path / "a.ge3").write_bytes(bytes(8192) + data.tobytes())
    with pytest.raises(UserError, match=r"say its layout, such as --set 'source.raw="):
        play(tmp_path / "a.ge3")
    raw = {"shape": [2048, 2048], "dtype": "<i4", "offset": 8192}
    assert_frames(tmp_path / "a.ge3", data, raw=raw)


@pytest.mark.parametrize("dtype", ["<u2", ">i4", "<f8", "|u1"])
@pytest.mark.parametrize("suffix", [".bin", ".raw", ".tif"])
def test_a_layout_that_the_user_says(tmp_path, dtype, suffix):
    data = stack(4, dtype)
    for number in range(2):
        path = tmp_path / f"a_{number}{suffix}"
        path.write_bytes(b"head " * 3 + data[2 * number : 2 * number + 2].tobytes())
    raw = {"shape": SHAPE, "dtype": dtype, "offset": 15}
    series = assert_frames(tmp_path / f"a_0{suffix}", data[:2], raw=raw)
    assert series.taken.source == f"{tmp_path}/a_0{suffix} as source.raw says, from byte 15 on"
    assert_frames(f"{tmp_path}/a_*{suffix}", data, raw=raw)


def test_what_does_not_fit_the_layout(tmp_path):
    (tmp_path / "a.bin").write_bytes(stack(2, "<u2").tobytes() + b"end")
    with pytest.raises(UserError, match=r"has 2 frames of 24 x 31 <u2 .* and 3 bytes more"):
        play(tmp_path / "a.bin", raw={"shape": SHAPE, "dtype": "<u2"})
    _, frames, gaps = play(tmp_path / "a.bin", raw={"shape": (3, *SHAPE), "dtype": "<u2"})
    assert (list(frames), list(gaps)) == ([0, 1], [2])
    with pytest.raises(UserError, match="not one whole frame"):
        play(tmp_path / "a.bin", raw={"shape": (2, 99, 99), "dtype": "<u2"})
    with pytest.raises(ValueError, match="such as <u2"):
        SourceConfig(raw={"shape": SHAPE, "dtype": "u2"})
