from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.sink.order import Order
from streamer.transport.messages import EPOCH


def make(upto: int = 0) -> Order:
    return Order(upto, patience_s=2.0)


@given(st.permutations(range(8)), st.integers(0, 8))
def test_items_come_in_turn_however_they_arrive(numbers, upto):
    order, given_out = make(upto), []
    for number in numbers:
        if not order.has(number):
            order.add(number, number)
        given_out += order.in_turn()
    assert given_out == list(range(upto, 8))
    assert order.upto == 8
    assert not len(order)


def test_a_number_came_before_when_it_waits_or_had_its_turn():
    order = make(5)
    order.add(5, "five")
    order.add(7, "seven")
    assert [seq for seq in range(3, 9) if order.has(seq)] == [3, 4, 5, 7]
    assert list(order.in_turn()) == ["five"]
    assert [seq for seq in range(3, 9) if order.has(seq)] == [3, 4, 5, 7]
    assert len(order) == 1


def test_who_handles_an_item_knows_up_to_where_all_had_their_turn():
    order = make()
    for seq in (0, 1, 3):
        order.add(seq, str(seq))
    assert [(item, order.upto) for item in order.in_turn()] == [("0", 1), ("1", 2)]
    assert [(item, order.upto) for item in order.rest()] == [("3", 4)]


def test_the_rest_comes_in_order_whatever_it_waits_for():
    order = make()
    for seq in (9, 2, 8, 5):
        order.add(seq, seq)
    assert list(order.rest()) == [2, 5, 8, 9]
    assert order.upto == 10


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("seq", [EPOCH, EPOCH + 3])
def test_a_later_epoch_waits_until_nothing_of_an_earlier_one_comes_any_more(seq, caplog):
    clock = Clock()
    order = Order[int](patience_s=2.0, clock=clock)
    for early in (1, 4):
        order.add(early, early)
    order.add(seq, seq)
    clock.now = 1.9
    assert list(order.in_turn()) == []
    order.add(0, 0)
    clock.now = 3.8
    assert list(order.in_turn()) == [0, 1]
    assert not order.is_past(2)
    clock.now = 4.0
    assert list(order.in_turn()) == []
    assert list(order.left_behind()) == [4]
    assert list(order.in_turn()) == ([EPOCH] if seq == EPOCH else [])
    assert order.upto == EPOCH + (seq == EPOCH)
    assert "started again" in caplog.text
    assert order.is_past(2)
    assert order.has(2), "it is not waited for any more"
    assert list(order.in_turn()) == []


def test_nothing_is_awaited_before_an_epoch_in_which_all_comes_again():
    order = make()
    order.add(1, "one")
    order.overtake(EPOCH)
    order.add(EPOCH, "again")
    order.add(3, "three")  # of before, which has the patience begin anew
    assert list(order.left_behind()) == ["one", "three"]
    assert list(order.in_turn()) == ["again"]


@given(st.permutations([(0, 1), (1, 4), (3, 1), (5, 1), (6, 2), (2, 6), (8, 1)]))
def test_items_that_stand_for_several_numbers_are_given_whatever_came_of_them_before(items):
    order = Order[tuple[int, int]](patience_s=1.0)
    given_out = []
    for first, span in items:
        if not order.has(first, span):
            order.add(first, (first, span), span)
        given_out += order.in_turn()
    assert order.upto == 9
    assert len(order) == 0
    assert len(set(given_out)) == len(given_out)
    assert {n for first, span in given_out for n in range(first, first + span)} == set(range(9))
