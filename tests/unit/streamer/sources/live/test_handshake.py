"""What listens at an address, of whatever kind, and what is said of it."""

import contextlib
import http.server
import socket
import threading

import pytest
import zmq

from streamer.config import SourceConfig
from streamer.errors import UserError
from streamer.sources import check_reachable, open_source
from streamer.sources.live.handshake import OTHER, SILENT, UNKNOWN, WEB, socket_kind
from tests.unit.streamer.sources.live.senders import Sender, counts, js, read

KINDS = ["PUSH", "PULL", "PUB", "XPUB", "SUB", "REP", "REQ", "ROUTER", "DEALER", "PAIR"]


@contextlib.contextmanager
def bound(kind):
    with zmq.Context() as context, context.socket(kind) as sender:
        sender.linger = 0
        yield sender, ("127.0.0.1", sender.bind_to_random_port("tcp://127.0.0.1"))


@contextlib.contextmanager
def says(*replies):
    """Listen, and say one thing on each connection that is made."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for reply in replies:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(reply)
                    while connection.recv(1000):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()
        thread.join(5)


@contextlib.contextmanager
def web():
    handler = http.server.SimpleHTTPRequestHandler
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_tells_its_kind(kind):
    with bound(getattr(zmq, kind)) as (_, where):
        assert socket_kind(where, 5) == kind


def test_whoever_asks_gets_no_message():
    with bound(zmq.PUSH) as (sender, where):
        assert socket_kind(where, 5) == "PUSH"
        with pytest.raises(zmq.Again):
            sender.send(b"x", zmq.NOBLOCK)


def test_a_secured_socket_does_not_tell():
    with bound(zmq.PUSH) as (sender, where):
        public, secret = zmq.curve_keypair()
        sender.unbind(sender.last_endpoint)
        sender.curve_secretkey, sender.curve_publickey, sender.curve_server = secret, public, True
        where = (where[0], sender.bind_to_random_port("tcp://127.0.0.1"))
        assert socket_kind(where, 5) == UNKNOWN


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], OTHER),
        ([b"\xff\0\0\0\0\0\0\0\1\x7f\1\x08"], UNKNOWN),  # of ZeroMQ 2
        ([b"\xff" + bytes(8) + b"\x7f\3\0" + b"NULL".ljust(52, b"\0") + b"\4\6\5REA"], UNKNOWN),
        ([b"\xff\0\0\0\0"], OTHER),
        ([b"", b""], SILENT),
    ],
)
def test_what_is_no_socket_or_does_not_say_its_kind(replies, kind):
    with says(*replies) as where:
        assert socket_kind(where, 0.1) == kind


def test_a_web_server():
    with web() as where:
        assert socket_kind(where, 0.2) == WEB
        with pytest.raises(UserError, match=r"a web server answers at .*, no stream: is it on"):
            check_reachable("dectris://{}:{}".format(*where), SourceConfig(connect_s=0.2))


@pytest.mark.parametrize(
    ("scheme", "kind", "said"),
    [
        ("dectris", "PUB", r"a PUB socket.*as in dectris://127\.0\.0\.1:\d+\?socket=sub$"),
        ("dectris", "REP", r"a REP socket, .* PUSH gets nothing: is it on.* another protocol than"),
        ("array10", "PUSH", r"a PUSH socket.*as in array10://127\.0\.0\.1:\d+\?socket=pull$"),
        ("karabo", "PUSH", r"a PUSH socket.*\?socket=pull$"),
        ("karabo", "PUB", r"a PUB socket.*\?socket=sub$"),
        ("braggstream", "PUSH", "a PUSH socket.*publish.frames"),
        ("stins", "XPUB", r"a XPUB socket.*\?socket=sub$"),
    ],
)
def test_a_socket_of_another_kind_is_refused_with_what_to_do(scheme, kind, said):
    with bound(getattr(zmq, kind)) as (_, (host, port)):
        for reach in (open_source, check_reachable):
            with pytest.raises(UserError, match=said):
                reach(f"{scheme}://{host}:{port}", SourceConfig())


def test_a_published_stream_of_a_detector_is_taken_with_an_option():
    with contextlib.closing(Sender("dectris", zmq.XPUB)) as sender:
        source = sender.open("?socket=sub")
        assert not source.is_dealt
        sender.send(
            [js(htype="dheader-1.0", header_detail="none", series=3)],
            [
                js(htype="dimage-1.0", series=3, frame=0),
                js(htype="dimage_d-1.0", shape=[3, 2], type="uint8", encoding="<"),
                bytes(6),
            ],
            [js(htype="dseries_end-1.0", series=3)],
        )
        series, frame, _ = read(source, 3)
        assert (series.name, frame.shape) == ("series_3", (2, 3))


def test_a_sender_whose_place_is_taken_for_a_while_is_found_again(caplog):
    head = [js(htype="dheader-1.0", header_detail="none", series=3)]
    with contextlib.closing(Sender("dectris", series=0)) as sender:
        source = sender.open()
        sender.send(head)
        read(source, 1)  # it is connected
        sender.die()
        sender.kind = zmq.PUB
        sender.bind()
        while not caplog.records:
            assert source.read(10) == []
            source.socket.poll(10)
        assert "is no sender of its stream" in caplog.text
        sender.socket.close()
        sender.kind = zmq.PUSH
        sender.come_back()
        while not sender.socket.poll(20, zmq.POLLOUT):
            source.read(10)
        sender.send([js(htype="dheader-1.0", header_detail="none", series=4)])
        assert read(source, 2)[1].name == "series_4"
        assert counts(source) == {"disconnects": 1}
