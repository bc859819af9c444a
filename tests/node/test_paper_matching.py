"""Matching on candles: money is conserved, nobody fills worse than asked, time and price decide, ids are for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node_agent.core.market import (
    Candle,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Liquidity,
    Market,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from node_agent.exchanges.paper.matching import Books, Rejected, Rules, Updates, cancel, on_candle, place

START = datetime(2026, 1, 1, tzinfo=UTC)
MARKET = Market("BTC/USD", "BTC", "USD", D("0.5"), D("0.01"), D(5))
RULES = Rules(MARKET, maker_fee=D("0.001"), taker_fee=D("0.002"), volume_share=D("0.1"))


def candle(number: int, low: Any, high: Any, *, opens: Any = None, closes: Any = None, volume: Any = 100) -> Candle:
    low, high = D(low), D(high)
    opened, closed = D(opens if opens is not None else low), D(closes if closes is not None else high)
    return Candle("BTC/USD", START + timedelta(minutes=number), opened, high, low, closed, D(volume))


def order(
    name: str, side: str = "buy", amount: Any = 1, price: Any = None, stop: Any = None, **more: Any
) -> OrderRequest:
    kind = OrderType.LIMIT if price is not None else OrderType.STOP if stop is not None else OrderType.MARKET
    return OrderRequest(
        client_order_id=name,
        symbol="BTC/USD",
        side=Side(side),
        type=kind,
        amount=D(amount),
        price=None if price is None else D(price),
        stop_price=None if stop is None else D(stop),
        **more,
    )


def books(last: Any = 100, base: Any = 50, quote: Any = 100_000) -> Books:
    return Books(base=D(base), quote=D(quote), last=D(last), at=START)


def fills(updates: Updates) -> list[tuple[D, D, Liquidity]]:
    return [(each.price, each.amount, each.liquidity) for each in updates if isinstance(each, Fill)]


def ended(updates: Updates) -> ExchangeOrder:
    last = updates[-1]
    assert isinstance(last, ExchangeOrder)
    return last


def test_a_market_order_fills_at_once_whole_at_the_current_price() -> None:
    after, updates = place(books(), RULES, order("a", amount=40))
    assert fills(updates) == [(D(100), D(40), Liquidity.TAKER)]
    assert ended(updates).status is ExchangeStatus.FILLED
    assert (after.base, after.quote) == (D(90), D(100_000) - D(4000) - D(8))


def test_a_limit_order_that_the_price_allows_takes_at_the_current_price() -> None:
    _, updates = place(books(), RULES, order("a", price=105))
    assert fills(updates) == [(D(100), D(1), Liquidity.TAKER)]


def test_a_limit_order_rests_until_its_price_is_touched_and_fills_there() -> None:
    resting, updates = place(books(), RULES, order("a", price=99))
    assert fills(updates) == []
    untouched, updates = on_candle(resting, RULES, candle(1, "99.5", 101))
    assert updates == ()
    _, updates = on_candle(untouched, RULES, candle(2, 99, 101, opens=100))
    assert fills(updates) == [(D(99), D(1), Liquidity.MAKER)]


@pytest.mark.parametrize(("side", "price", "opens"), [("buy", 99, 95), ("sell", 101, 105)])
def test_a_gap_over_a_limit_fills_at_the_better_open(side: str, price: int, opens: int) -> None:
    resting, _ = place(books(), RULES, order("a", side, price=price))
    _, updates = on_candle(resting, RULES, candle(1, opens - 1, opens + 1, opens=opens))
    assert fills(updates)[0][0] == D(opens)


@pytest.mark.parametrize(
    ("side", "stop", "opens", "price"), [("sell", 95, 90, 90), ("sell", 95, 97, 95), ("buy", 105, 110, 110)]
)
def test_a_stop_fills_at_its_price_or_at_the_worse_open(side: str, stop: int, opens: int, price: int) -> None:
    resting, updates = place(books(), RULES, order("a", side, stop=stop))
    assert fills(updates) == []
    _, updates = on_candle(resting, RULES, candle(1, 90, 110, opens=opens))
    assert fills(updates) == [(D(price), D(1), Liquidity.TAKER)]


def test_a_stop_that_is_touched_already_fills_at_once() -> None:
    _, updates = place(books(), RULES, order("a", "sell", stop=101))
    assert fills(updates) == [(D(100), D(1), Liquidity.TAKER)]


def test_a_stop_that_is_touched_already_is_paid_for_at_the_price_that_it_takes() -> None:
    with pytest.raises(Rejected, match="not enough USD"):
        place(books(last=100, quote=90), RULES, order("a", "buy", stop=80))


def test_resting_orders_fill_in_parts_bounded_by_a_share_of_the_volume() -> None:
    state, _ = place(books(), RULES, order("a", price=99, amount=25))
    parts = []
    for number in range(1, 5):
        state, updates = on_candle(state, RULES, candle(number, 98, 100, opens=100, closes=100, volume=100))
        parts += [amount for _, amount, _ in fills(updates)]
    assert parts == [D(10), D(10), D(5)]
    assert state.orders["a"].status is ExchangeStatus.FILLED


def test_the_better_price_goes_first_and_then_the_older_order() -> None:
    state = books()
    for name, price in (("old", 98), ("new", 98), ("better", 99)):
        state, _ = place(state, RULES, order(name, price=price, amount=6))
    state, updates = on_candle(state, RULES, candle(1, 97, 100, opens=100, volume=100))
    names = [each.client_order_id for each in updates if isinstance(each, Fill)]
    assert names == ["better", "old"]
    assert state.orders["old"].filled == D(4)


def test_an_ioc_that_cannot_fill_at_once_expires() -> None:
    _, updates = place(books(), RULES, order("a", price=99, time_in_force=TimeInForce.IOC))
    assert ended(updates).status is ExchangeStatus.EXPIRED


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (order("a", amount="0.015"), "multiple of 0.01"),
        (order("a", price="99.3"), "multiple of 0.5"),
        (order("a", amount="0.04"), "minimum"),
        (order("a", amount=1001), "not enough USD"),
        (order("a", "sell", amount=51), "not enough BTC"),
        (order("a", reduce_only=True), "reduce"),
        (OrderRequest("a", "ETH/USD", Side.BUY, OrderType.MARKET, D(1)), "not traded"),
    ],
)
def test_what_the_exchange_does_not_take_is_rejected_and_changes_nothing(request_: OrderRequest, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        place(books(), RULES, request_)


def test_money_of_open_orders_is_not_spent_twice() -> None:
    state, _ = place(books(quote=1000), RULES, order("a", price=90, amount=10))
    with pytest.raises(Rejected, match="not enough USD"):
        place(state, RULES, order("b", price=90, amount=10))
    state, _ = cancel(state, "a")
    place(state, RULES, order("b", price=90, amount=10))


def test_the_same_id_makes_no_second_order() -> None:
    once, first = place(books(), RULES, order("a"))
    twice, again = place(once, RULES, order("a", amount=7))
    assert twice is once
    assert again == (ended(first),)


def test_an_order_that_has_ended_is_not_cancelled_and_says_how_it_ended() -> None:
    state, _ = place(books(), RULES, order("a"))
    after, updates = cancel(state, "a")
    assert after is state
    assert ended(updates).status is ExchangeStatus.FILLED
    with pytest.raises(Rejected, match="no such order"):
        cancel(state, "b")


class Market_(RuleBasedStateMachine):
    """Any orders, cancels and candles: books stay true to their fills."""

    @initialize()
    def begin(self) -> None:
        self.books = books(base=20, quote=5000)
        self.fills: list[Fill] = []
        self.number = 0

    def take(self, after: Books, updates: Updates) -> None:
        self.fills += [each for each in updates if isinstance(each, Fill)]
        self.books = after

    @rule(
        side=st.sampled_from(["buy", "sell"]),
        amount=st.integers(1, 3000).map(lambda n: D(n) / 100),
        price=st.none() | st.integers(160, 240).map(lambda n: D(n) / 2),
        stops=st.booleans(),
    )
    def places(self, side: str, amount: D, price: D | None, stops: bool) -> None:
        self.number += 1
        kind = {"stop": price} if stops else {"price": price}
        try:
            self.take(*place(self.books, RULES, order(str(self.number), side, amount, **kind)))
        except Rejected:
            return

    @rule(data=st.data())
    def cancels(self, data: st.DataObject) -> None:
        if self.books.open:
            self.take(*cancel(self.books, data.draw(st.sampled_from(self.books.open)).request.client_order_id))

    @rule(
        prices=st.lists(st.integers(160, 240).map(lambda n: D(n) / 2), min_size=4, max_size=4),
        volume=st.integers(0, 200),
    )
    def candle_closes(self, prices: list[D], volume: int) -> None:
        self.number += 1
        low, opens, closes, high = sorted(prices)
        told = candle(self.number, low, high, opens=opens, closes=closes, volume=volume)
        after, updates = on_candle(self.books, RULES, told)
        filled = sum((each.amount for each in updates if isinstance(each, Fill)), D(0))
        assert filled <= told.volume * RULES.volume_share
        assert all(low <= each.price <= high for each in updates if isinstance(each, Fill))
        self.take(after, updates)

    @invariant()
    def money_is_conserved(self) -> None:
        base, quote = D(20), D(5000)
        for fill in self.fills:
            sign = 1 if fill.side is Side.BUY else -1
            base += sign * fill.amount
            quote -= sign * fill.amount * fill.price + fill.fee
        assert (self.books.base, self.books.quote) == (base, quote)
        assert base >= 0
        assert quote >= 0

    @invariant()
    def orders_are_what_their_fills_come_to(self) -> None:
        for placed in self.books.orders.values():
            own = [fill for fill in self.fills if fill.client_order_id == placed.request.client_order_id]
            assert sum((fill.amount for fill in own), D(0)) == placed.filled <= placed.request.amount
            limit = placed.request.price
            if limit is not None:
                sign = 1 if placed.request.side is Side.BUY else -1
                assert all(sign * fill.price <= sign * limit for fill in own)
        assert len({fill.trade_id for fill in self.fills}) == len(self.fills)


Market_.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestMarket = Market_.TestCase
