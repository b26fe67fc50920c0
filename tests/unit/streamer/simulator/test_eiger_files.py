"""Recordings of the simulated detector, opened as anyone would open an Eiger's."""

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers the filter)
import numpy as np
import pyarrow as pa
import pytest
from dectris.compression import decompress
from numpy.testing import assert_array_equal

from streamer.config import SimulateConfig
from streamer.errors import UserError
from streamer.simulator.eiger_files import write_recording
from streamer.simulator.scene import Scene
from streamer.simulator.truth import read_truth, truth_path_for, write_truth

CONFIG = SimulateConfig(frames=12, rows=150, cols=170, spots=3, seed=1)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(CONFIG)


@pytest.fixture(scope="module")
def master(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "deep" / "series_1_master.h5"
    write_recording(scene, path, truth=True, images_per_file=5)
    return path


def test_pixels_are_those_of_the_scene(scene: Scene, master: Path) -> None:
    with h5py.File(master) as file:
        links = file["entry/data"]
        assert list(links) == ["data_000001", "data_000002", "data_000003"]
        assert links.get("data_000002", getlink=True).filename == "series_1_data_000002.h5"
        numbers = [(d.attrs["image_nr_low"], d.attrs["image_nr_high"]) for d in links.values()]
        assert numbers == [(1, 5), (6, 10), (11, 12)]
        frames = np.concatenate([dataset[...] for dataset in links.values()])
    assert frames.dtype == np.uint16
    for index, frame in enumerate(frames):
        assert_array_equal(frame, scene.render(index))


def test_each_frame_is_one_bslz4_chunk(scene: Scene, master: Path) -> None:
    with h5py.File(master) as file:
        dataset = file["entry/data/data_000003"]
        assert dataset.chunks == (1, *scene.shape)
        assert dataset.id.get_create_plist().get_filter(0)[0] == 32008
        skipped, chunk = dataset.id.read_direct_chunk((1, 0, 0))
    assert skipped == 0
    pixels = np.frombuffer(decompress(chunk, "bslz4", elem_size=2), "<u2").reshape(scene.shape)
    assert_array_equal(pixels, scene.render(11))


def test_master_file_describes_the_series(scene: Scene, master: Path) -> None:
    with h5py.File(master) as file:
        detector = file["entry/instrument/detector"]
        mask = detector["pixel_mask"]
        assert mask.dtype == np.uint32
        assert_array_equal(mask[...] != 0, scene.pixel_mask)
        specific = detector["detectorSpecific"]
        assert specific["pixel_mask"] == mask
        assert specific["nimages"][()] * specific["ntrigger"][()] == 12
        shape = specific["y_pixels_in_detector"][()], specific["x_pixels_in_detector"][()]
        assert shape == scene.shape
        assert detector["frame_time"][()] == 0.01
        assert detector["frame_time"].attrs["units"] == "s"
        assert detector["count_time"][()] < 0.01
        assert detector["beam_center_x"][()] == scene.geometry.beam[1]
        assert detector["detector_distance"][()] == scene.geometry.distance
        wavelength = file["entry/instrument/beam/incident_wavelength"][()]
        assert wavelength == scene.geometry.wavelength
        assert file["entry"].attrs["NX_class"] == "NXentry"


def test_truth_lies_beside(scene: Scene, master: Path) -> None:
    path = truth_path_for(master)
    assert path.name == "series_1_truth.parquet"
    table, metadata = read_truth(path)
    assert table.equals(scene.truth())
    assert metadata == scene.metadata()


def test_no_temporary_file_is_left(master: Path) -> None:
    names = sorted(path.name for path in master.parent.iterdir())
    data = [f"series_1_data_{number:06d}.h5" for number in (1, 2, 3)]
    assert names == [*data, "series_1_master.h5", "series_1_truth.parquet"]


def test_nothing_is_overwritten(scene: Scene, master: Path) -> None:
    before = master.read_bytes()
    with pytest.raises(UserError, match="exists: choose another name"):
        write_recording(scene, master)
    assert master.read_bytes() == before


def test_other_names_are_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name a recording like series_1_master"):
        write_recording(scene, tmp_path / "series.h5")
    assert not any(tmp_path.iterdir())


def test_a_recording_that_fails_has_no_master_file(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(index: int) -> np.ndarray:
        if index == 7:
            raise OSError(28, "No space left on device")
        return Scene.render(scene, index)

    monkeypatch.setattr(scene, "render", render)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
        write_recording(scene, tmp_path / "x_master.h5", truth=True, images_per_file=5)
    assert [path.name for path in tmp_path.iterdir()] == ["x_data_000001.h5"]


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not really", "table"])
def test_what_is_no_truth_is_a_users_mistake(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "x_truth.parquet"
    if content == "table":
        pa.parquet.write_table(pa.table({"frame": [1]}), path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    expected = "does not exist" if content is None else "is not the truth file"
    with pytest.raises(UserError, match=expected):
        read_truth(path)


def test_truth_is_replaced_whole(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "x_truth.parquet"
    write_truth(path, scene.truth().slice(0, 1), {"a": 1})
    write_truth(path, scene.truth(), {"a": 2})
    assert read_truth(path)[0].num_rows == 12 * 6
    assert read_truth(path)[1] == {"a": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["x_truth.parquet"]
