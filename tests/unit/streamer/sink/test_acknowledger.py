from __future__ import annotations

import pytest
import zmq

from streamer.sink.acknowledger import Acknowledger
from streamer.transport.messages import unpack


@pytest.fixture
def acknowledger(context, address):
    made = Acknowledger(context, address(), upto=5)
    yield made
    made.close()


@pytest.fixture
def heard(context, acknowledger):
    """Returns the next acknowledgement that was published."""
    ear = context.socket(zmq.SUB)
    ear.subscribe(b"")
    ear.connect(acknowledger.address)
    for _ in range(200):  # until the subscription has arrived
        acknowledger.publish(0.0)
        if ear.poll(20):
            break
    while ear.poll(50):
        ear.recv_multipart()

    def heard():
        assert ear.poll(5000)
        return unpack(ear.recv_multipart())[0]

    yield heard
    ear.close()


def test_what_came_is_said_once_and_what_is_on_disk_always(acknowledger, heard):
    acknowledger.received(7)
    acknowledger.received(6, "cannot be decoded")
    acknowledger.publish(0.0)
    acks = heard()
    assert (acks.upto, acks.received, acks.failed) == (5, [7, 6], [(6, "cannot be decoded")])
    acknowledger.committed(8)
    acknowledger.publish(0.0)
    acks = heard()
    assert (acks.upto, acks.received, acks.failed) == (8, [], [])


def test_news_is_due_at_once_and_no_news_after_a_while(acknowledger):
    assert acknowledger.due <= 0.0
    acknowledger.publish(100.0)
    assert 100.0 < acknowledger.due < 101.0
    acknowledger.received(6)
    assert acknowledger.due <= 0.0
    acknowledger.publish(100.0)
    acknowledger.committed(7)
    assert acknowledger.due <= 0.0


def test_who_listens_late_is_told_which_frames_failed(context, acknowledger, heard):
    assert acknowledger.take_newcomers()
    acknowledger.received(6, "cannot be decoded")
    acknowledger.publish(100.0)
    acknowledger.committed(8)
    acknowledger.publish(100.0)
    assert heard().failed
    assert not heard().failed
    late = context.socket(zmq.SUB)
    late.subscribe(b"")
    late.connect(acknowledger.address)
    for _ in range(200):
        if acknowledger.take_newcomers():
            break
        late.poll(20)
    assert acknowledger.due <= 0.0
    acknowledger.publish(100.0)
    assert late.poll(5000)
    acks = unpack(late.recv_multipart())[0]
    assert (acks.upto, acks.failed) == (8, [(6, "cannot be decoded")])
    late.close()
