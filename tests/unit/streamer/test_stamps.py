from __future__ import annotations

import os

from streamer.stamps import stamp_of


def test_a_file_has_one_stamp_until_another_is_put_in_its_place(tmp_path):
    path, other = tmp_path / "thresholds.json", tmp_path / "next"
    path.write_text("[]")
    seen = stamp_of(path)
    assert seen is not None
    assert stamp_of(path) == seen
    other.write_text("[]")
    os.utime(other, ns=(seen[1], seen[1]))  # written at the same instant
    other.replace(path)
    assert stamp_of(path) not in (seen, None)


def test_where_nothing_can_be_seen_there_is_no_stamp(tmp_path):
    (tmp_path / "file").touch()
    assert stamp_of(tmp_path / "gone") is None
    assert stamp_of(tmp_path / "file" / "inside") is None
