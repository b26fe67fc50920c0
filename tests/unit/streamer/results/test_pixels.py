"""Pixels of a run's frames, read again."""

import h5py
import numpy as np
import pytest

from streamer.config import Config, SourceConfig
from streamer.frames.events import Frame
from streamer.results.originals import originals
from streamer.results.pixels import Recorded, decoded
from tests.unit.runs import make_run


@pytest.mark.parametrize("form", ["silx:{}?path=/b", "silx://{}?path=/b", "{}::/b"])
def test_pixels_are_read_from_the_place_that_the_run_read(tmp_path, form):
    data = np.arange(3 * 20 * 24, dtype="<u2").reshape(3, 20, 24)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["b"] = data + 1, data
    recorded = Recorded(form.format(tmp_path / "x.h5"), SourceConfig())
    frame = recorded.frame("x", 2, None)
    recorded.close()
    assert isinstance(frame, Frame), frame
    np.testing.assert_array_equal(decoded(frame), data[2])


@pytest.mark.parametrize("is_moved", [False, True])
@pytest.mark.parametrize("out", ["runs/today", None], ids=["relative", "absolute"])
@pytest.mark.parametrize("source", ["x.h5", "silx:x.h5?path=/b", "x.h5::/b", "*.h5", "live"])
def test_relative_paths_count_from_where_the_run_was_started(
    tmp_path, monkeypatch, is_moved, out, source
):
    began = tmp_path / "began"
    run = make_run(
        began / "runs" / "today", source="dectris://host:1" if source == "live" else source
    )
    if source == "live":
        config = Config.model_validate({"source": {"record": "x.h5"}})
        (run.path / "config.yaml").write_text(config.to_yaml())
    run.write_summary(run.read_summary() | {"out": out or str(run.path), "cwd": str(began)})
    (began / "x.h5").touch()
    if is_moved and out:
        began = began.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.h5").touch()  # another one
    read, config = originals(type(run)(began / "runs" / "today"))
    if source == "live":
        assert (read, config.record) == ("dectris://host:1", began / "x.h5")
    else:
        scheme, bare = ("silx:", source[5:]) if source.startswith("silx") else ("", source)
        assert read == f"{scheme}{began}/{bare}"
