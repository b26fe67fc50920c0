"""What a run was given is the same for a node that is started again."""

import numpy as np
import pytest

from streamer.config import Config
from streamer.errors import UserError
from streamer.run.inputs import as_kept, kept_file, kept_image
from streamer.sources.images import load_dark, load_mask


@pytest.mark.parametrize("load", [load_mask, load_dark])
@pytest.mark.parametrize("then", ["removed", "replaced"])
def test_an_image_that_is_gone_or_another_is_what_it_was(tmp_path, load, then):
    given, out = tmp_path / "given.npy", tmp_path / "run"
    out.mkdir()
    np.save(given, np.eye(5, dtype=np.uint8))
    first = kept_image(out, "image", given, load)
    given.unlink()
    if then == "replaced":
        np.save(given, np.ones((5, 5), np.uint8))
    again = kept_image(out, "image", given, load)
    assert again.dtype == first.dtype
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(again, np.eye(5))


def test_an_image_that_nobody_kept_is_read_where_the_user_says_or_refused(tmp_path):
    np.save(tmp_path / "given.npy", np.eye(5, dtype=np.uint8))
    gone = tmp_path / "no folder"
    np.testing.assert_array_equal(
        kept_image(gone, "mask", tmp_path / "given.npy", load_mask), np.eye(5, dtype=bool)
    )
    with pytest.raises(UserError, match="does not exist"):
        kept_image(gone, "mask", tmp_path / "other.h5", load_mask)


def test_a_file_that_is_gone_is_where_it_was_kept(tmp_path):
    given, out = tmp_path / "given.pt", tmp_path / "run"
    out.mkdir()
    given.write_bytes(b"weights")
    kept_file(out, "checkpoint.pt", given)
    given.unlink()
    kept = kept_file(out, "checkpoint.pt", given)
    assert kept.read_bytes() == b"weights"
    assert [path.name for path in kept.parent.iterdir()] == ["checkpoint.pt"]
    assert kept_file(tmp_path / "other", "checkpoint.pt", given) == given


def test_a_run_that_goes_on_is_checked_with_what_it_kept(tmp_path):
    given = {"mask": tmp_path / "mask.h5", "dark": tmp_path / "dark.npy"}
    np.save(given["dark"], np.eye(5))
    config = Config.model_validate({"detect": given})
    (out := tmp_path / "run").mkdir()
    kept_image(out, "dark", given["dark"], load_dark)
    kept = as_kept(config, out)
    given["dark"].unlink()
    assert kept.detect.mask == given["mask"]
    np.testing.assert_array_equal(load_dark(kept.detect.dark), np.eye(5))
    assert kept.positions.checkpoint is None
