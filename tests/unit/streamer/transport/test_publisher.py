from __future__ import annotations

import contextlib

import pytest
import zmq

from streamer.errors import UserError
from streamer.sink.acknowledger import Acknowledger
from streamer.transport.acks import AckListener
from streamer.transport.pool import Parcel
from streamer.transport.publisher import Publisher
from streamer.transport.sockets import DETECTORS, FAR_END
from streamer.transport.subscriber import Subscriber


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def parcel(*keys: int) -> Parcel:
    return Parcel(
        keys=list(keys),
        parts=[str(list(keys)).encode()],
        split=lambda: [parcel(key) for key in keys],
    )


def members(publisher: Publisher, pool: str, count: int) -> None:
    """Wait until the publisher knows so many members of a pool."""
    for _ in range(200):
        publisher.pump()
        if len(publisher.members(pool)) == count:
            return
        publisher.socket.poll(10)
    pytest.fail(f"{len(publisher.members(pool))} members where {count} were to be")


def take(subscriber: Subscriber) -> list[bytes]:
    """Receive all that is there."""
    got = []
    while subscriber.socket.poll(50):
        parts = subscriber.receive()
        assert parts is not None
        got.append(bytes(parts[0].buffer))
    return got


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def publisher(context, address, clock):
    made = Publisher(context, address(), prefetch=4, ack_timeout_s=10, clock=clock)
    yield made
    made.close()


@pytest.fixture
def join(context, publisher):
    made = []

    def join(name: str, pool: str = DETECTORS) -> Subscriber:
        made.append(Subscriber(context, [publisher.address], pool, name))
        members(publisher, pool, len([one for one in made if one.topic.startswith(pool.encode())]))
        return made[-1]

    yield join
    for one in made:
        one.close()


def test_a_parcel_goes_to_one_member_only(publisher, join):
    workers = [join("a"), join("b")]
    for key in range(6):
        publisher.send(DETECTORS, parcel(key))
    got = [take(worker) for worker in workers]
    assert sorted(got[0] + got[1]) == sorted(f"[{key}]".encode() for key in range(6))
    assert len(got[0]) == len(got[1]) == 3  # each the least loaded in turn


def test_parcels_wait_for_the_first_member(publisher, join):
    publisher.send(DETECTORS, parcel(0))
    assert publisher.waiting == 1
    assert take(join("late")) == [b"[0]"]


def test_a_member_gets_no_more_than_it_may_have_before_it(publisher, join):
    worker = join("a")
    for key in range(10):
        publisher.send(DETECTORS, parcel(key))
    assert len(take(worker)) == 4
    publisher.received([0, 1])
    publisher.pump()
    assert take(worker) == [b"[4]", b"[5]"]


def test_what_a_dead_member_had_goes_to_the_others_frame_by_frame(publisher, join):
    first = join("a")
    publisher.send(DETECTORS, parcel(0, 1, 2))
    publisher.received([1])
    second = join("b")
    first.close()
    members(publisher, DETECTORS, 1)
    assert take(second) == [b"[0]", b"[2]"]
    assert publisher.redelivered == 2


def test_numbers_are_kept_until_they_are_committed(publisher, join):
    join("a")
    publisher.send(DETECTORS, parcel(0, 1, 2))
    publisher.received([0, 1, 2])
    assert publisher.outstanding == 3
    publisher.committed(2)
    assert publisher.outstanding == 1
    publisher.committed(3)
    assert publisher.outstanding == 0


def test_what_is_on_disk_already_goes_nowhere(publisher, join):
    worker = join("a")
    publisher.committed(2)
    publisher.send(DETECTORS, parcel(0, 1))
    publisher.send(DETECTORS, parcel(1, 2))
    assert take(worker) == [b"[1, 2]"]
    assert publisher.outstanding == 1
    publisher.committed(3)
    assert publisher.outstanding == 0


def test_what_is_late_is_sent_again_and_given_up_after_three_tries(context, address, clock):
    failed: list[Parcel] = []
    publisher = Publisher(
        context, address(), ack_timeout_s=10, on_failed=failed.append, clock=clock
    )
    worker = Subscriber(context, [publisher.address], DETECTORS, "a")
    members(publisher, DETECTORS, 1)
    publisher.send(DETECTORS, parcel(7))
    for _ in range(2):
        clock.now += 11
        publisher.pump()
    assert take(worker) == [b"[7]"] * 3
    assert not failed
    clock.now += 11
    publisher.pump()
    assert [one.keys for one in failed] == [[7]]
    assert publisher.outstanding == 0
    worker.close()
    publisher.close()


def test_what_reached_the_far_end_is_not_late(publisher, join, clock):
    worker = join("a")
    publisher.send(DETECTORS, parcel(0))
    publisher.received([0])
    clock.now += 100
    publisher.pump()
    assert take(worker) == [b"[0]"]
    assert publisher.redelivered == 0


def test_a_frame_that_kills_its_workers_does_not_take_its_neighbours_with_it(context, address):
    failed: list[int] = []
    publisher = Publisher(
        context, address(), prefetch=8, on_failed=lambda one: failed.extend(one.keys)
    )
    done: set[int] = set()
    publisher.send(DETECTORS, parcel(*range(4)))
    publisher.send(DETECTORS, parcel(*range(4, 8)))
    deaths = 0
    while len(done) + len(failed) < 8:
        worker = Subscriber(context, [publisher.address], DETECTORS, f"w{deaths}")
        members(publisher, DETECTORS, 1)
        alive = True
        while alive and len(done) + len(failed) < 8:
            publisher.pump()
            assert worker.socket.poll(1000)
            parts = worker.receive()
            assert parts is not None
            keys = eval(bytes(parts[0].buffer))
            if 5 in keys:
                alive = False
            else:
                done.update(keys)
                publisher.received(keys)
        worker.close()
        deaths += not alive
        members(publisher, DETECTORS, 0)
    assert failed == [5]
    assert done == {0, 1, 2, 3, 4, 6, 7}
    assert deaths == 3
    publisher.close()


def test_a_newcomer_is_told_the_series_before_its_first_frame(publisher, join):
    publisher.announce(DETECTORS, "one", [b"series one"])
    publisher.send(DETECTORS, parcel(0))
    worker = join("a")
    assert take(worker) == [b"series one", b"[0]"]
    publisher.announce(DETECTORS, "two", [b"series two"])
    assert take(worker) == [b"series two"]
    publisher.forget(DETECTORS, "one")
    assert take(join("b")) == [b"series two"]


def test_the_far_end_has_no_bound_and_no_timeout_but_its_successor_gets_all(publisher, join, clock):
    sink = join("sink", FAR_END)
    for key in range(10):
        publisher.send(FAR_END, parcel(key))
    assert len(take(sink)) == 10
    publisher.received(range(10))
    clock.now += 100
    publisher.pump()
    publisher.committed(3)
    sink.close()
    members(publisher, FAR_END, 0)
    successor = Subscriber(sink_context(publisher), [publisher.address], FAR_END, "sink")
    members(publisher, FAR_END, 1)
    assert take(successor) == [f"[{key}]".encode() for key in range(3, 10)]
    successor.close()


def test_what_reached_a_sink_that_died_can_be_late_again(publisher, join, clock):
    worker = join("a")
    publisher.send(DETECTORS, parcel(0))
    publisher.received([0])
    publisher.far_end_changed()
    clock.now += 11
    publisher.pump()
    assert take(worker) == [b"[0]", b"[0]"]


def test_what_reached_a_sink_that_died_is_sent_again_if_who_had_it_died_too(publisher, join, clock):
    worker = join("a")
    for key in range(3):
        publisher.send(DETECTORS, parcel(key))
    publisher.received([0, 1, 2])
    other = join_another(publisher, worker)
    publisher.far_end_changed()
    publisher.received([1])  # a node further on lives and brought it again
    publisher.pump()
    assert take(other) == []
    clock.now += 2
    publisher.pump()
    assert take(other) == [b"[0]", b"[2]"]
    other.close()


def test_what_reached_a_sink_that_died_is_left_to_a_member_that_lives(publisher, join, clock):
    worker = join("a")
    publisher.send(DETECTORS, parcel(0))
    publisher.received([0])
    publisher.far_end_changed()
    clock.now += 2
    publisher.pump()
    assert take(worker) == [b"[0]"]
    other = join_another(publisher, worker)  # it had no time to bring it
    assert take(other) == [b"[0]"]
    other.close()


def test_what_was_brought_while_it_waited_is_sent_once_when_the_sink_dies(publisher, join, clock):
    publisher.send(DETECTORS, parcel(0))
    publisher.received([0])
    publisher.far_end_changed()
    clock.now += 2
    publisher.pump()
    assert take(join("a")) == [b"[0]"]


def test_who_listens_hears_that_a_sink_is_another_one(context, publisher, join, clock):
    worker = join("a")
    publisher.send(DETECTORS, parcel(0))
    sink = Acknowledger(context, "tcp://127.0.0.1:*")
    ears = AckListener(context, sink.address, publisher)

    def hear(sink: Acknowledger) -> None:
        while not sink.take_newcomers():
            ears.listen()  # which is what connects it again
        sink.publish(0.0)
        assert ears.socket.poll(5000)
        ears.listen()
        sink.close()

    sink.received(0)
    hear(sink)
    assert publisher.loads(DETECTORS) == {"a": 0}
    other, successor = join_another(publisher, worker), None
    while successor is None:
        with contextlib.suppress(UserError):  # its predecessor may still hold the address
            successor = Acknowledger(context, sink.address)
    hear(successor)
    clock.now += 2
    publisher.pump()
    assert take(other) == [b"[0]"]
    for one in (ears, other):
        one.close()


def test_a_hung_member_is_asked_last(context, address, clock):
    publisher = Publisher(context, address(), ack_timeout_s=10, clock=clock)
    hung = Subscriber(context, [publisher.address], DETECTORS, "hung")
    members(publisher, DETECTORS, 1)
    publisher.send(DETECTORS, parcel(0))
    good = Subscriber(context, [publisher.address], DETECTORS, "good")
    members(publisher, DETECTORS, 2)
    for key in range(1, 5):
        publisher.send(DETECTORS, parcel(key))
    had, others = take(hung), take(good)
    assert sorted(had + others) == [f"[{key}]".encode() for key in range(5)]
    clock.now += 5
    publisher.received([int(one[1:2]) for one in others])  # the good one works
    clock.now += 6
    publisher.pump()
    assert take(hung) == []
    assert take(good) == had
    for one in (hung, good, publisher):
        one.close()


def test_a_bundle_that_half_reached_a_sink_that_died_is_whole_again(publisher, join):
    worker = join("a")
    publisher.send(DETECTORS, parcel(0, 1))
    publisher.received([0])
    publisher.far_end_changed()
    other = join_another(publisher, worker)
    assert take(other) == [b"[0]", b"[1]"]
    other.close()


def join_another(publisher: Publisher, first: Subscriber) -> Subscriber:
    """Let a member die and another take its place."""
    first.close()
    members(publisher, DETECTORS, 0)
    other = Subscriber(publisher.socket.context, [publisher.address], DETECTORS, "other")
    members(publisher, DETECTORS, 1)
    return other


def test_numbers_may_jump(publisher, join):
    join("a")
    publisher.send(DETECTORS, parcel(1 << 40))
    publisher.committed((1 << 40) + 1)
    assert publisher.outstanding == 0


@pytest.mark.parametrize("topic", [b"", b"\xff/\xff/\xff/\xff"])
def test_a_strangers_subscription_is_no_membership(context, publisher, topic):
    stranger = context.socket(zmq.SUB)
    stranger.subscribe(topic)
    stranger.connect(publisher.address)
    publisher.socket.poll(1000)
    publisher.pump()
    assert publisher.members(DETECTORS) == []
    stranger.close()


def test_a_port_in_use_is_a_users_mistake(context):
    first = Publisher(context, "tcp://127.0.0.1:*")
    with pytest.raises(UserError, match="in use"):
        Publisher(context, first.address)
    first.close()


def test_an_address_elsewhere_is_a_users_mistake(context):
    with pytest.raises(UserError, match="cannot bind"):
        Publisher(context, "tcp://nonsense")


def sink_context(publisher: Publisher) -> zmq.Context[zmq.Socket[bytes]]:
    return publisher.socket.context
