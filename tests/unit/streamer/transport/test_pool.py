from __future__ import annotations

import pytest

from streamer.transport.pool import Parcel, Pool
from streamer.transport.sockets import FAR_END


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def parcel(*keys: int, tries: int = 0, pool: str = "workers") -> Parcel:
    return Parcel(keys=keys, parts=[b"p"], on_its_way=set(keys), tries=tries, pool=pool)


@pytest.fixture
def sent():
    """What was sent, as (name of the member, parts)."""
    return []


@pytest.fixture
def pool(sent):
    def transmit(topic, parts):
        sent.append((topic.split(b"/")[1].decode(), parts))

    return Pool(transmit, 4, Clock())


def put(pool, *parcels):
    pool.waiting.extend(parcels)
    pool.dispatch()


def test_each_parcel_goes_to_whom_has_the_least_before_it(pool):
    for name in (b"a", b"b"):
        pool.join(b"workers/%s//1" % name)
    parcels = [parcel(0, 1, 2), parcel(3), parcel(4), parcel(5)]
    put(pool, *parcels)
    assert [one.member.name for one in parcels] == ["a", "b", "b", "b"]
    assert [member.load for member in pool.members] == [3, 3]


def test_a_member_may_have_so_many_bytes_before_it(sent):
    pool = Pool(lambda topic, parts: sent.append(parts), 100, Clock(), prefetch_bytes=10)
    for name in (b"a", b"b"):
        pool.join(b"workers/%s//1" % name)

    def heavy(key, n_bytes):
        return Parcel(keys=[key], parts=[b"h", bytes(n_bytes - 1)], on_its_way={key})

    parcels = [heavy(0, 50), *(heavy(key, 4) for key in range(1, 6))]
    put(pool, *parcels)
    assert [one.member and one.member.name for one in parcels] == ["a", "b", "b", "b", None, None]
    assert [member.n_bytes for member in pool.members] == [50, 12]
    parcels[0].arrived(0, 1.0)
    pool.dispatch()
    assert [one.member.name for one in parcels[4:]] == ["a", "a"]
    for key, one in enumerate(parcels[1:], 1):
        one.arrived(key, 2.0)
    assert [(member.load, member.n_bytes) for member in pool.members] == [(0, 0), (0, 0)]


def test_a_member_that_is_late_is_asked_last(pool):
    for name in (b"a", b"b"):
        pool.join(b"workers/%s//1" % name)
    parcels = [parcel(key) for key in range(4)]
    put(pool, parcels[0])
    pool.members[0].late = True
    put(pool, parcels[1], parcels[2])
    parcels[0].arrived(0, 1.0)
    put(pool, parcels[3])
    assert [one.member and one.member.name for one in parcels] == [None, "b", "b", "a"]


def test_parcels_wait_in_order_until_a_member_has_room(pool, sent):
    put(pool, parcel(0, 1, 2, 3), parcel(4))
    assert sent == []
    pool.join(b"workers/a/1")
    pool.dispatch()
    assert [one.keys for one in pool.waiting] == [(4,)]
    (given,) = pool.members[0].parcels.values()
    for key in given.keys:
        given.arrived(key, 1.0)
        given.arrived(key, 1.0)  # twice: it counts once
    assert pool.members[0].load == 0
    assert pool.members[0].parcels == {}
    pool.dispatch()
    assert not pool.waiting


def test_the_far_end_has_no_bound(pool, sent):
    pool.join(b"sink/s/1")
    put(pool, *(parcel(key, pool=FAR_END) for key in range(10)))
    assert len(sent) == 10


def test_what_arrived_while_it_waited_is_not_sent(pool, sent):
    late = parcel(0)
    pool.waiting.append(late)
    late.arrived(0, 0.0)
    pool.join(b"workers/a/1")
    pool.dispatch()
    assert sent == []
    assert not pool.waiting


def test_a_member_has_one_parcel_that_was_lost_twice(pool):
    pool.join(b"workers/a/1")
    suspects = [parcel(0, tries=2), parcel(1, tries=2)]
    put(pool, *suspects)
    assert suspects[0].tries == 3
    assert list(pool.waiting) == [suspects[1]]
    suspects[0].arrived(0, 1.0)
    pool.dispatch()
    assert suspects[1].member is pool.members[0]
    assert pool.members[0].suspects == 1


def test_what_was_lost_twice_travels_with_nothing_else(pool):
    for name in (b"a", b"b"):
        pool.join(b"workers/%s//1" % name)
    first, second, suspect, third = parcel(0), parcel(1), parcel(2, tries=2), parcel(3)
    put(pool, first, second, suspect, third)
    assert list(pool.waiting) == [suspect, third]  # both have what may kill them
    second.arrived(1, 1.0)
    pool.dispatch()
    assert suspect.member.name == "b"
    assert third.member.name == "a"
    first.arrived(0, 1.0)
    third.arrived(3, 1.0)
    later = [parcel(4), parcel(5)]
    put(pool, *later)
    assert {one.member.name for one in later} == {"a"}


def test_what_goes_to_the_far_end_is_never_suspected(pool, sent):
    pool.join(b"sink/s/1")
    put(pool, *(parcel(key, tries=5, pool=FAR_END) for key in range(3)))
    assert len(sent) == 3


def test_what_arrived_at_a_sink_that_is_no_more_is_on_its_way_again(pool):
    pool.join(b"workers/a/1")
    half = parcel(0, 1)
    put(pool, half)
    half.arrived(0, 1.0)
    half.arrived_in_vain(0, 5.0)
    assert half.on_its_way == {0, 1}
    assert half.last_sign == 5.0
    assert pool.members[0].load == 2


def test_who_had_what_arrived_in_vain_answers_for_it_while_it_lives(pool):
    pool.join(b"workers/a/1")
    whole = parcel(0, 1)
    put(pool, whole)
    for key in whole.keys:
        whole.arrived(key, 1.0)
    whole.arrived_in_vain(0, 5.0)
    member = pool.leave(b"workers/a/1")
    assert (list(member.parcels.values()), member.load) == ([whole], 1)
    whole.arrived(0, 6.0)
    whole.arrived_in_vain(0, 7.0)
    assert whole.member is None
    assert member.parcels == {}


def test_a_newcomer_is_told_what_was_announced_and_not_forgotten(pool, sent):
    pool.join(b"workers/a/1")
    pool.announce("one", [b"1"])
    pool.announce("two", [b"2"])
    pool.forget("one")
    pool.join(b"workers/b/1")
    assert sent == [("a", [b"1"]), ("a", [b"2"]), ("b", [b"2"])]
    assert pool.leave(b"workers/a/1").name == "a"
    assert pool.leave(b"workers/a/1") is None


def test_members_on_the_publishers_host_come_first_as_long_as_they_keep_up():
    clock = Clock()
    pool = Pool(lambda topic, parts: None, 4, clock, near="10.0.0.2")
    pool.join(b"workers/far/10.0.0.3/1")
    pool.join(b"workers/near/10.0.0.2/1")
    parcels = [parcel(key) for key in range(7)]
    put(pool, *parcels[:2])
    assert [one.member.name for one in parcels[:2]] == ["near", "near"]
    clock.now = 0.6
    put(pool, parcels[2])
    assert parcels[2].member.name == "far"  # near has brought nothing for too long
    for key in range(2):
        parcels[key].arrived(key, clock.now)
    put(pool, *parcels[3:])
    assert [one.member.name for one in parcels[3:]] == ["near"] * 4
    full = parcel(7)
    put(pool, full)
    assert full.member.name == "far"
