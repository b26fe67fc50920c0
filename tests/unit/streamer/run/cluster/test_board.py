"""Directories of several hosts that say the same; the scheduler is made up."""

from streamer.run.cluster.board import Board, Mirror
from streamer.transport.directory import Directory


class Scheduler:
    """Keeps metadata as Dask's does."""

    def __init__(self):
        self.kept = {}

    def __call__(self, method, *, keys, value=None, default=None, callback_timeout):
        place = self.kept
        if method == "get_metadata":
            return place.get(keys[0], default)
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = value
        return None


def test_what_is_told_on_one_host_is_known_on_all_and_the_newest_counts(tmp_path):
    board = Board(Scheduler(), "run")
    directories = [Directory(tmp_path / name) for name in ("a", "b", "c")]
    old, new, reader = (
        Mirror(directory, board, order)
        for directory, order in zip(directories, (9, 10, 0), strict=True)
    )
    directories[0].tell("acks", "tcp://a:1")
    old.exchange()
    reader.exchange()
    assert directories[2].find("acks") == "tcp://a:1"
    new.exchange()
    directories[1].tell("acks", "tcp://b:1")
    new.exchange()
    old.exchange()
    reader.exchange()
    assert [directory.find("acks") for directory in directories] == 3 * ["tcp://b:1"]
    directories[0].tell("acks", "tcp://a:2")  # last words of one that was replaced
    old.exchange()
    reader.exchange()
    assert directories[2].find("acks") == "tcp://b:1"


def test_a_run_leaves_nothing_on_the_board():
    scheduler = Scheduler()
    board = Board(scheduler, "run")
    board.put("current", "sink", value=1)
    assert board.read() == {"current": {"sink": 1}}
    board.clear()
    assert board.read() == {}
