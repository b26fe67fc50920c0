"""Keys for readers of what a run publishes, and addresses that are refused without."""

from __future__ import annotations

import contextlib
import stat

import pytest
import zmq

from streamer.config import SourceConfig, load_config
from streamer.errors import UserError
from streamer.frames.events import Series
from streamer.ingest.relay import Relay
from streamer.sink.feed import Feed
from streamer.sources import check_reachable, open_source
from streamer.transport.context import run_context
from streamer.transport.exposure import is_loopback, refuse_exposed
from streamer.transport.readers import (
    PAGE_KEY,
    PublishKeys,
    ReaderKey,
    make_reader_key,
    publish_keys,
)
from tests.unit.streamer.transport.test_security import TCP, turned_away


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def key(folder):
    return make_reader_key(folder, "ada")


@pytest.fixture
def run(folder, key):
    keys = PublishKeys(folder)
    with run_context(None, published=keys.pair, is_reader=keys.is_reader, linger_ms=0) as made:
        yield made


@pytest.fixture
def relay(run):
    with contextlib.closing(Relay(run, TCP)) as made:
        yield made


def uri(relay):
    return relay.address.replace("tcp", "braggstream")


def test_all_files_are_their_users_alone(folder, key):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_what_others_have_is_not_made_anew(folder, key):
    before = PublishKeys(folder).pair
    with pytest.raises(UserError, match="choose another --name"):
        make_reader_key(folder, "ada")
    make_reader_key(folder, "bob")
    assert PublishKeys(folder).pair == before


@pytest.mark.parametrize("name", ["", "../ada", ".hidden", "a/b", "a" * 65])
def test_a_name_that_is_no_file_is_refused(folder, name):
    with pytest.raises(UserError, match="no name"):
        make_reader_key(folder, name)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"public":"x","secret":"y"}'])
def test_a_file_that_is_no_key_is_refused(tmp_path, content):
    (tmp_path / "pipeline.json").write_bytes(content)
    with pytest.raises(UserError, match="no key"):
        PublishKeys(tmp_path)
    with pytest.raises(UserError, match="no key"):
        ReaderKey.read(tmp_path / "pipeline.json")


def test_who_has_a_key_reads_what_is_published(relay, key):
    config = SourceConfig(key=key)
    check_reachable(uri(relay), config)
    with contextlib.closing(open_source(uri(relay), config)) as source:
        for _ in range(4):
            assert relay._socket.poll(5000)
            relay._socket.recv()
        relay.take([Series(name="cycle")])
        assert source.socket.poll(5000)
        assert [event.name for event in source.read(1)] == ["cycle"]


def test_who_has_none_is_told_what_to_do(relay):
    with pytest.raises(UserError, match=r"launch.py keys DIR.*source\.key"):
        check_reachable(uri(relay), SourceConfig())


def test_a_key_of_others_is_none(relay, tmp_path):
    key = make_reader_key(tmp_path / "others", "eve")
    with pytest.raises(UserError, match=r"eve\.key is no key of its readers"):
        check_reachable(uri(relay), SourceConfig(key=key))


def test_a_key_that_nobody_asks_for_is_told_of(context, key):
    with contextlib.closing(Relay(context, TCP)) as relay, pytest.raises(UserError, match="none"):
        check_reachable(uri(relay), SourceConfig(key=key))


def test_a_reader_who_was_removed_is_shut_out(relay, folder, key):
    (folder / "readers" / "ada.pub").unlink()
    with pytest.raises(UserError, match="no key of its readers"):
        check_reachable(uri(relay), SourceConfig(key=key))
    check_reachable(uri(relay), SourceConfig(key=folder / PAGE_KEY))


def test_the_peaks_feed_asks_for_a_key(run, context, key):
    with (
        contextlib.closing(Feed(run, TCP)) as feed,
        context.socket(zmq.SUB) as stranger,
        context.socket(zmq.SUB) as reader,
    ):
        assert turned_away(stranger, feed.address)
        ReaderKey.read(key).prepare(reader)
        assert not turned_away(reader, feed.address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "[::1]", "::1"])
def test_addresses_of_this_machine_alone(host):
    assert is_loopback(host)
    refuse_exposed(f"tcp://{host}:*")


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "[::]", "192.168.0.20", "eth0", "beamline", ""])
def test_addresses_that_others_reach_are_refused_without_keys(context, host):
    assert not is_loopback(host)
    for publisher in (Relay, Feed):
        with pytest.raises(UserError, match=r"publish\.keys=DIR, or set insecure=true"):
            publisher(context, f"tcp://{host}:*")


def test_they_are_taken_with_keys_or_where_one_says_so(run):
    with contextlib.closing(Relay(run, "tcp://0.0.0.0:*")) as relay:
        assert relay.address.startswith("tcp://0.0.0.0:")
    with (
        run_context(None, insecure=True, linger_ms=0) as own,
        contextlib.closing(Feed(own, "tcp://0.0.0.0:*")) as feed,
    ):
        assert feed.address.startswith("tcp://0.0.0.0:")
    assert load_config().insecure is False


@pytest.mark.parametrize(
    ("settings", "own"),
    [
        ([], False),
        (["placement.engine=dask", "placement.scheduler=local:3"], False),
        (["placement.engine=dask", "placement.scheduler=tls://h:1"], True),
        (["placement.engine=dask", "placement.scheduler=tls://h:1", "insecure=true"], False),
    ],
)
def test_what_is_published_on_several_hosts_has_keys_of_its_own(tmp_path, settings, own):
    folder = publish_keys(load_config(None, settings), tmp_path)
    assert folder == (tmp_path / "keys" if own else None)
    given = load_config(None, [*settings, f"publish.keys={tmp_path / 'given'}"])
    assert publish_keys(given, tmp_path) == tmp_path / "given"


def test_the_page_has_one_key(tmp_path):
    keys = {make_reader_key(tmp_path / "keys", "page").read_bytes() for _ in range(2)}
    assert len(keys) == 1
    assert PublishKeys(tmp_path / "keys").is_reader(
        ReaderKey.read(tmp_path / "keys/page.key").public
    )
