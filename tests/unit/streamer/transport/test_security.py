"""Who may take part in a run, over real tcp sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from streamer.sink.acknowledger import Acknowledger
from streamer.transport.acks import AckListener
from streamer.transport.context import RunContext, run_context
from streamer.transport.keys import RunKeys
from streamer.transport.messages import Acks, Status, pack
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS, bind_hop, connect_hop, open_sealed, seal
from streamer.transport.subscriber import Subscriber

TCP = "tcp://127.0.0.1:*"
FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
)


@pytest.fixture
def keys() -> RunKeys:
    return RunKeys.make(curve=True)


@pytest.fixture
def run(keys) -> Iterator[RunContext]:
    with run_context(keys, linger_ms=0) as made:
        yield made


@pytest.fixture
def stranger(context) -> Iterator[Callable[[int], zmq.Socket[bytes]]]:
    """Makes sockets of somebody who has no keys."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: stack.enter_context(context.socket(kind))


@pytest.fixture
def publisher(run) -> Iterator[Publisher]:
    made = Publisher(run, TCP)
    yield made
    made.close()


def joined(publisher: Publisher, count: int = 1) -> list[str]:
    for _ in range(200):
        publisher.pump()
        if len(publisher.members(DETECTORS)) >= count:
            break
        publisher.socket.poll(10)
    return list(publisher.loads(DETECTORS))


def turned_away(reader: zmq.Socket[bytes], address: str) -> bool:
    """Connect and tell whether the other side would not have it."""
    events = zmq.EVENT_HANDSHAKE_SUCCEEDED | FAILED
    with contextlib.closing(reader.get_monitor_socket(events)) as monitor:
        reader.connect(address)
        assert monitor.poll(5000), "nothing happened"
        event = recv_monitor_message(monitor)["event"]
        reader.disable_monitor()
    return event != zmq.EVENT_HANDSHAKE_SUCCEEDED


def dress(socket: zmq.Socket[bytes], server: str, public: str, secret: str) -> None:
    socket.curve_serverkey = server.encode()
    socket.curve_publickey, socket.curve_secretkey = public.encode(), secret.encode()


def test_a_node_of_the_run_is_a_member_over_tcp(run, publisher):
    worker = Subscriber(run, [publisher.address], DETECTORS, "detector-0")
    assert joined(publisher) == ["detector-0"]
    publisher.send(DETECTORS, Parcel(keys=[0], parts=[b"frame"]))
    assert worker.socket.poll(5000)
    assert bytes(worker.receive()[0].buffer) == b"frame"
    worker.close()


@pytest.mark.parametrize("stolen", ["nothing", "the server's key", "the client's, half of it"])
def test_who_has_not_the_keys_can_neither_join_nor_read(stranger, keys, publisher, run, stolen):
    reader = stranger(zmq.SUB)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    if stolen == "the server's key":
        dress(reader, keys.server.public, public, secret)
    elif stolen == "the client's, half of it":
        dress(reader, keys.server.public, keys.client.public, secret)
    topic = keys.sign(b"detectors/detector-0//1")
    reader.subscribe(topic)
    assert turned_away(reader, publisher.address)
    worker = Subscriber(run, [publisher.address], DETECTORS, "detector-1")
    assert joined(publisher) == ["detector-1"]
    publisher.send(DETECTORS, Parcel(keys=[0], parts=[b"frame"]))
    assert worker.socket.poll(5000)
    assert not reader.poll(0)
    worker.close()


def test_nobody_is_let_in_when_nobody_can_say_who_is_known(stranger, keys):
    unguarded = RunContext()
    unguarded.keys = keys
    try:
        publisher = Publisher(unguarded, TCP)
        reader = stranger(zmq.SUB)
        public, secret = (key.decode() for key in zmq.curve_keypair())
        dress(reader, keys.server.public, public, secret)
        assert turned_away(reader, publisher.address)
    finally:
        unguarded.destroy(0)


def test_a_sink_without_the_keys_is_not_listened_to(stranger, keys, run, publisher):
    publisher.send(DETECTORS, Parcel(keys=[0], parts=[b"frame"]))
    sink = stranger(zmq.XPUB)
    port = sink.bind_to_random_port("tcp://127.0.0.1")
    listener = AckListener(run, f"tcp://127.0.0.1:{port}", publisher)
    assert not sink.poll(300)  # no subscription comes through
    sink.send_multipart(pack(Acks(1 << 62, [0], [])))
    assert (listener.listen(), listener.upto) == ([], 0)
    listener.close()


@pytest.fixture
def plain() -> Iterator[RunContext]:
    """A run on a network where nobody else is said to be."""
    with run_context(RunKeys.make(curve=False), linger_ms=0) as made:
        yield made


@pytest.mark.parametrize(
    "topic",
    [b"detectors/detector-0//1", b"detectors///", b"detectors/x//" + 40 * b"0", b"", b"///"],
)
def test_a_topic_that_no_node_made_is_no_membership(stranger, plain, topic):
    publisher = Publisher(plain, TCP)
    reader = stranger(zmq.SUB)
    reader.subscribe(topic)
    reader.connect(publisher.address)
    worker = Subscriber(plain, [publisher.address], DETECTORS, "detector-0")
    assert joined(publisher, 2) == ["detector-0"]
    worker.close()
    publisher.close()


@pytest.mark.parametrize(
    "forged",
    [
        Acks(1 << 62, [], []),
        Acks(1, [0], []),
        Acks(0, [], [(0, "a stranger says so")]),
        Acks(0, [], [], "another sink"),
    ],
)
@pytest.mark.parametrize("how", ["without a seal", "with a seal of another run"])
def test_a_forged_acknowledgement_does_nothing(stranger, plain, forged, how):
    publisher = Publisher(plain, TCP)
    publisher.send(DETECTORS, Parcel(keys=[0], parts=[b"frame"]))
    sink = stranger(zmq.XPUB)
    port = sink.bind_to_random_port("tcp://127.0.0.1")
    listener = AckListener(plain, f"tcp://127.0.0.1:{port}", publisher)
    assert sink.poll(5000)
    seals = [] if how == "without a seal" else [RunKeys.make(curve=False).sealed(b"")]
    sink.send_multipart([*pack(forged), *seals])
    assert listener.socket.poll(5000)
    assert (listener.listen(), listener.upto, listener._sink) == ([], 0, "")
    listener.commit()
    assert publisher.outstanding == 1
    listener.close()
    publisher.close()


def test_the_sink_of_the_run_is_listened_to(plain):
    publisher = Publisher(plain, TCP)
    publisher.send(DETECTORS, Parcel(keys=[0], parts=[b"frame"]))
    sink = Acknowledger(plain, TCP)
    listener = AckListener(plain, sink.address, publisher)
    while not sink.take_newcomers():
        sink._socket.poll(100)
    sink.committed(1)
    sink.publish(0.0)
    assert listener.socket.poll(5000)
    listener.listen()
    listener.commit()
    assert publisher.outstanding == 0
    for one in (listener, sink, publisher):
        one.close()


def test_a_status_that_no_node_sent_is_none(plain):
    ear = plain.socket(zmq.PULL)
    address = bind_hop(ear, TCP)
    mouth = plain.socket(zmq.PUSH)
    connect_hop(mouth, address)
    status = pack(Status("sink", 1, "running", "", 0, {"done": 1e300}))
    mouth.send_multipart(seal(mouth, status))
    assert open_sealed(ear, ear.recv_multipart()) == status
    mouth.send_multipart([*status, b"x" * 16])
    with pytest.raises(ValueError, match="seal"):
        open_sealed(ear, ear.recv_multipart())
    mouth.close()
    ear.close()


def test_silent_connections_keep_no_node_out(run, publisher):
    host, port = publisher.address.removeprefix("tcp://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection((host, int(port))))
        worker = Subscriber(run, [publisher.address], DETECTORS, "detector-0")
        assert joined(publisher) == ["detector-0"]
        worker.close()


def test_a_subscription_without_measure_is_not_taken_in(plain, stranger):
    publisher = Publisher(plain, TCP)
    reader = stranger(zmq.SUB)
    reader.subscribe(bytes(1 << 13))
    reader.connect(publisher.address)
    assert not publisher.socket.poll(1500)
    publisher.close()
