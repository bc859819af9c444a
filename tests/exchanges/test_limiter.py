"""The limiter: no window sees more than a limit, idle time is credit, a cancel is never starved, a ban is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.exchanges.limiter import Banned, Counted, Go, Limit, Limiter, Usage, Wait, ban_ends

START = 1_700_000_000.0
WEIGHT = Limit("weight_1m", Counted.WEIGHT, 6000, 60.0, "x-mbx-used-weight-1m")
ORDERS = Limit("orders_10s", Counted.ORDERS, 100, 10.0, "x-mbx-order-count-10s")
DAY = Limit("orders_1d", Counted.ORDERS, 200_000, 86_400.0, "x-mbx-order-count-1d")

REQUESTS = st.lists(
    st.tuples(
        st.floats(0, 30) | st.just(0.0),  # seconds since the one before
        st.sampled_from((1, 2, 4, 6, 20, 80)),  # weight
        st.booleans(),  # an order
    ),
    min_size=1,
    max_size=400,
)


def limiter() -> Limiter:
    return Limiter((WEIGHT, ORDERS, DAY), START)


def most_in_any_window(taken: list[tuple[float, int]], seconds: float) -> int:
    """The largest sum in any window of that length; a window that holds much begins with something taken."""
    return max(sum(cost for at, cost in taken if begin <= at < begin + seconds) for begin, _ in taken)


@given(REQUESTS)
def test_no_window_sees_more_than_a_limit(requests: list[tuple[float, int, bool]]) -> None:
    small = Limiter((Limit("w", Counted.WEIGHT, 200, 10.0), Limit("o", Counted.ORDERS, 6, 10.0)), START)
    now, weights, orders = START, [(START, 0)], [(START, 0)]
    for idle, weight, order in requests:
        now += idle
        if small.ask(now, weight=weight, orders=int(order), urgent=order) == Go():
            weights.append((now, weight))
            orders.append((now, int(order)))
    assert most_in_any_window(weights, 10.0) <= 200
    assert most_in_any_window(orders, 10.0) <= 6


@given(REQUESTS)
def test_whoever_waits_as_long_as_told_may_go(requests: list[tuple[float, int, bool]]) -> None:
    small = Limiter((Limit("w", Counted.WEIGHT, 200, 10.0), Limit("o", Counted.ORDERS, 6, 10.0)), START)
    now = START
    for idle, weight, order in requests:
        now += idle
        verdict = small.ask(now, weight=weight, orders=int(order), urgent=order)
        if isinstance(verdict, Wait):
            now += verdict.seconds + 1e-6
            verdict = small.ask(now, weight=weight, orders=int(order), urgent=order)
        assert verdict == Go()


@given(st.floats(0.1, 5.0))
def test_idle_time_is_credit(idle: float) -> None:
    ours = limiter()
    while ours.ask(START, weight=1, orders=1, urgent=True) == Go():
        pass
    credit = int(idle * 5)  # half of 100 orders in 10 s
    gone = sum(ours.ask(START + idle + 1e-6, weight=1, orders=1, urgent=True) == Go() for _ in range(100))
    assert gone in (credit, credit + 1)


def test_after_a_short_idleness_an_order_goes_at_once() -> None:
    ours = limiter()
    assert ours.ask(START, weight=1, orders=1, urgent=True) == Go()
    assert ours.ask(START + 0.06, weight=1, orders=1, urgent=True) == Go()


@given(st.lists(st.floats(0, 2), max_size=300))
def test_reads_never_starve_a_cancel(pauses: list[float]) -> None:
    ours, now = limiter(), START
    for pause in pauses:
        now += pause
        while ours.ask(now, weight=80) == Go():
            pass
        assert ours.ask(now, weight=1, urgent=True) == Go()


def test_orders_used_up_hold_no_cancel_and_no_read() -> None:
    ours = limiter()
    while ours.ask(START, weight=1, orders=1, urgent=True) == Go():
        pass
    assert ours.ask(START, weight=1, urgent=True) == Go()
    assert ours.ask(START, weight=20) == Go()


@given(st.floats(0.001, 3600), st.floats(0, 7200))
def test_a_ban_is_kept_to_its_end_by_whoever_asks(length: float, later: float) -> None:
    ours = limiter()
    ours.ban(START + length)
    ours.ban(START + length / 2)
    expected = Banned(START + length) if START + later < START + length else Go()
    assert ours.ask(START + later, weight=1, urgent=True) == expected
    assert ours.ask(START + later, weight=1) == expected


def test_what_the_exchange_has_counted_goes_before_our_count() -> None:
    ours = limiter()
    ours.hear(START, {"x-mbx-used-weight-1m": "5390"})
    assert ours.ask(START, weight=10) == Go()
    assert ours.ask(START + 20, weight=1) == Wait(40.0)
    assert ours.ask(START + 20, weight=1, urgent=True) == Go()
    ours.hear(START + 21, {"x-mbx-used-weight-1m": "12"})
    assert ours.ask(START + 21, weight=1) == Go()


def test_the_exchanges_count_of_a_past_window_is_forgotten() -> None:
    ours = limiter()
    ours.hear(START, {"x-mbx-used-weight-1m": "6000", "x-mbx-order-count-10s": "100"})
    assert ours.ask(START + 9, weight=1, orders=1, urgent=True) == Wait(51.0)
    assert ours.ask(START + 60, weight=1, orders=1, urgent=True) == Go()


def test_headers_that_are_no_numbers_change_nothing() -> None:
    ours = limiter()
    ours.hear(START, {"x-mbx-used-weight-1m": "many", "x-mbx-order-count-10s": "-4", "date": "today"})
    assert ours.snapshot(START).usage["weight_1m"] == Usage(0, 6000)


def test_orders_that_the_exchange_calls_too_many_wait_for_the_shortest_window() -> None:
    ours = limiter()
    assert ours.exhaust(START, Counted.ORDERS) == START + 10
    assert ours.ask(START + 4, weight=1, orders=1, urgent=True) == Wait(6.0)
    assert ours.ask(START + 4, weight=1, urgent=True) == Go()


def test_a_clock_set_back_gives_no_credit() -> None:
    ours = limiter()
    while ours.ask(START, weight=1, orders=1, urgent=True) == Go():
        pass
    assert isinstance(ours.ask(START - 3600, weight=1, orders=1, urgent=True), Wait)


def test_a_request_that_no_waiting_allows_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="weight_1m"):
        limiter().ask(START, weight=5000)


def test_the_snapshot_tells_use_limits_and_ban() -> None:
    ours = limiter()
    ours.ask(START, weight=20)
    ours.ask(START, weight=1, orders=1, urgent=True)
    told = ours.snapshot(START)
    assert told.usage == {
        "weight_1m": Usage(21, 6000),
        "orders_10s": Usage(1, 100),
        "orders_1d": Usage(1, 200_000),
    }
    assert told.banned_until is None
    ours.hear(START, {"x-mbx-used-weight-1m": "300"})
    ours.ban(START + 5)
    assert ours.snapshot(START).usage["weight_1m"] == Usage(300, 6000)
    assert ours.snapshot(START).banned_until == START + 5
    assert ours.snapshot(START + 5).banned_until is None


@pytest.mark.parametrize(
    ("headers", "message", "ends"),
    [
        ({"retry-after": "17"}, "Too many requests.", START + 17),
        ({}, "Way too much request weight used; IP banned until 1700000090000. Please use WebSocket", START + 90),
        ({"retry-after": "120"}, "IP banned until 1700000090000.", START + 120),
        ({}, "Too many requests.", START + 60),
        ({"retry-after": "Wed, 21 Oct"}, "", START + 60),
    ],
)
def test_when_a_ban_ends(headers: dict[str, str], message: str, ends: float) -> None:
    assert ban_ends(START, headers, message, otherwise=60.0) == ends
