from __future__ import annotations

import json
from urllib.parse import unquote

from streamer.ingest.failed import FailedFrames
from tests.unit.streamer.ingest.frames import frames


def test_each_frame_that_failed_has_files_of_its_own(tmp_path):
    folder = tmp_path / "failed"
    failed = FailedFrames(folder)
    names = ["a-b", "a_b", "a/b", "a%2Fb", "..", "a.b", "x" * 300, "x" * 301, "Ü \ud800"]
    for number, name in enumerate(names):
        failed.keep(*frames(0, 1, name, bytes([number])), name)
    kept = {path.stem: path.read_bytes()[0] for path in folder.glob("*.bin")}
    assert sorted(kept.values()) == list(range(len(names)))
    for stem, number in kept.items():
        assert json.loads((folder / f"{stem}.json").read_text())["series"] == names[number]
        if len(names[number]) < 300:
            quoted = stem.removesuffix("_00000000")
            assert unquote(quoted, errors="surrogatepass") == names[number]


def test_the_folder_of_failed_frames_is_bounded_also_after_a_restart(tmp_path, caplog):
    folder = tmp_path / "failed"
    for _ in range(2):  # the second is the successor of the first
        failed = FailedFrames(folder, most_bytes=20, most_files=4)
        for number in range(6):
            failed.keep(*frames(number, number + 1, "s"), "cannot be decoded")
        assert len(list(folder.glob("*.bin"))) == 2
        assert len(list(folder.glob("*.json"))) == 4
        assert caplog.text.count("only the reason is kept") == 1
        assert caplog.text.count("nothing is kept but the reason") == 1
        caplog.clear()


def test_a_frame_that_fails_again_replaces_what_was_kept(tmp_path):
    failed = FailedFrames(tmp_path / "failed", most_bytes=8)
    failed.keep(*frames(0, 1, "s"), "too slow")
    failed.keep(*frames(0, 1, "s", b"87654321"), "cannot be decoded")
    assert (tmp_path / "failed" / "s_00000000.bin").read_bytes() == b"87654321"
    about = json.loads((tmp_path / "failed" / "s_00000000.json").read_text())
    assert about["reason"] == "cannot be decoded"
    assert (about["shape"], about["dtype"], about["encoding"]) == ([2, 2], "<u2", "raw")
