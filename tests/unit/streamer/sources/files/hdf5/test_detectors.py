"""What files hold that is no counts, or that cannot be decoded here."""

import h5py
import pytest

from streamer.errors import UserError
from tests.unit.streamer.sources.files.test_choice import assert_frames, play, stack


@pytest.mark.parametrize("path", ["data/JF07T32V02/data", "INSTRUMENT/SPB/DET/JNGFR01/adc"])
def test_gain_bits_of_a_jungfrau_are_no_counts(tmp_path, path):
    data = stack(3)
    data[:, 3] |= 0xC000
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[path] = data
    with pytest.raises(UserError, match="with the gain in the upper two bits: convert"):
        play(tmp_path / "a.h5")


def test_pixels_of_a_jungfrau_that_may_be_raw_are_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = stack(3)
        file["entry/instrument/detector/description"] = "Jungfrau 4M"
    series = assert_frames(tmp_path / "a.h5", stack(3))
    assert "may be as it reads them out" in series.metadata["warnings"][0]


@pytest.mark.parametrize("dtype", ["<i4", "<f4"])
def test_converted_pixels_of_a_jungfrau_are_taken(tmp_path, dtype):
    data = (stack(3) * 400).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/JF07T32V02/data"] = data
    assert "warnings" not in assert_frames(tmp_path / "a.h5", data).metadata


def test_a_filter_that_is_not_there_is_named(tmp_path):
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_chunk((1, 24, 31))
    create.set_filter(32_767, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((3, 24, 31))
        h5py.h5d.create(file.id, b"data", h5py.h5t.STD_U16LE, space, create)
        file["data"][...] = stack(3)
    with pytest.raises(UserError, match=r"compressed by filter 32767 .*which is not installed"):
        play(tmp_path / "a.h5")
