"""The follower alone, with a source whose answers come late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import pytest

from node_agent.core.market import Candle, ExchangeOrder, ExchangeStatus, Fill, Liquidity, OpenOrder, Side
from node_agent.exchanges.polling import Follower, Trade, one_by_one
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused, Update
from node_agent.exchanges.traits import Pace
from tests.node.until import becomes

pytestmark = pytest.mark.asyncio

T = TypeVar("T")

AT = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ORDER = ExchangeOrder("ours", "1", "BTC/USDT", ExchangeStatus.OPEN, Decimal(2), Decimal(0))
ENDED = replace(ORDER, status=ExchangeStatus.FILLED, filled=Decimal(2))


def trade(number: int, amount: str = "1", at: datetime = AT) -> Trade:
    fill = Fill(
        f"t{number}", "ours", "BTC/USDT", Side.BUY, Decimal(10), Decimal(amount), Decimal(0), "BTC", Liquidity.MAKER, at
    )
    return Trade("1", fill)


def candle(minute: int) -> Candle:
    ten = Decimal(10)
    return Candle("BTC/USDT", AT + minute * MINUTE, ten, ten, ten, ten, ten)


class Scripted:
    """Each round of asking begins with the candles and goes one step on."""

    def __init__(self) -> None:
        self.round = 0
        self.listed: list[list[ExchangeOrder]] = [[]]
        self.trades: list[list[Trade]] = [[]]
        self.more: list[list[Trade]] = [[]]
        self.stand = {"1": ENDED}
        self.now = AT
        self.has: list[Candle] = []

    async def candles(self, since: datetime | None) -> Sequence[Candle]:
        return [each for each in self.has if since is None or each.at >= since]

    async def open_orders(self) -> Sequence[OpenOrder]:
        self.round += 1
        return [OpenOrder(order, Side.BUY, None) for order in self._step(self.listed)]

    async def orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, ExchangeOrder]:
        return {each: self.stand[each] for each in exchange_order_ids if each in self.stand}

    async def trades_since(self, at: datetime | None) -> Sequence[Trade]:
        return self._step(self.trades)

    async def trades_of(self, exchange_order_id: str) -> Sequence[Trade]:
        return self._step(self.more)

    async def exchange_now(self) -> datetime:
        return self.now

    def _step(self, script: list[T]) -> T:
        return script[min(self.round, len(script)) - 1]


async def told(source: Scripted, count: int, *, fills_every: float = 0.0, noted: bool = False) -> list[Update]:
    """The first so many updates."""
    follower = Follower(source, Pace(orders_every=0.0, fills_every=fills_every, candle_settles=1.0), MINUTE)
    if noted:
        follower.note(ORDER)
    heard: list[Update] = []
    async with aclosing(follower.updates()) as updates:
        async for update in updates:
            heard.append(update)
            if len(heard) == count:
                break
    return heard


async def test_an_end_waits_for_fills_that_come_late() -> None:
    source = Scripted()
    source.listed = [[ORDER], []]
    source.trades = [[], [trade(1)], [trade(1)], [trade(1), trade(2)]]
    assert await told(source, 3) == [trade(1).fill, trade(2).fill, ENDED]
    assert source.round == 4


async def test_fills_that_are_only_told_of_their_order_are_found() -> None:
    source = Scripted()
    source.listed = [[ORDER], []]
    source.more = [[trade(1), trade(2)]]
    assert await told(source, 3) == [trade(1).fill, trade(2).fill, ENDED]
    assert source.round == 2


async def test_an_end_is_told_at_last_though_its_fills_do_not_come() -> None:
    source = Scripted()
    source.listed = [[ORDER], []]
    assert await told(source, 1) == [ENDED]
    assert source.round == 6


async def test_a_fill_is_told_once() -> None:
    source = Scripted()
    source.listed = [[ORDER]]
    source.stand["1"] = replace(ORDER, filled=Decimal(1))
    source.trades = [[trade(1)], [trade(1)], [trade(1), trade(2)]]
    heard = await told(source, 3)
    assert heard == [trade(1).fill, source.stand["1"], trade(2).fill]


async def test_no_candle_is_told_before_it_has_settled() -> None:
    source = Scripted()
    source.has = [candle(0), candle(1), candle(2)]
    source.now = AT + 2 * MINUTE + timedelta(seconds=0.5)
    source.trades = [[trade(1)]]
    assert await told(source, 2) == [candle(0), trade(1).fill]


async def test_a_stream_begins_with_the_last_candle_that_has_closed() -> None:
    source = Scripted()
    source.has = [candle(0), candle(1), candle(2)]
    source.now = AT + 2 * MINUTE + timedelta(seconds=2)
    source.trades = [[trade(1)]]
    assert await told(source, 2) == [candle(1), trade(1).fill]


async def test_candles_that_were_missed_are_made_up_for_in_order() -> None:
    source = Scripted()
    follower = Follower(source, Pace(orders_every=0.0, candle_settles=1.0), MINUTE)
    source.has, source.now = [candle(0), candle(1)], AT + MINUTE + timedelta(seconds=2)
    async with aclosing(follower.updates()) as updates:
        first = await anext(updates)
    source.has, source.now = [candle(n) for n in range(6)], AT + 5 * MINUTE + timedelta(seconds=2)
    async with aclosing(follower.updates()) as updates:
        assert [first, *[await anext(updates) for _ in range(4)]] == [candle(n) for n in range(5)]


class Passing(Scripted):
    """Half a minute goes by whenever it is asked for the time."""

    async def exchange_now(self) -> datetime:
        self.now += MINUTE / 2
        return self.now


async def test_what_trades_at_once_is_asked_for_at_once_though_it_was_told_to_be_open() -> None:
    source = Scripted()
    source.trades = [[], [trade(1, "2")]]
    follower = Follower(source, Pace(orders_every=3600.0, fills_every=3600.0), MINUTE)
    async with aclosing(follower.updates()) as updates:
        first = asyncio.ensure_future(anext(updates))
        await becomes(lambda: source.round)
        follower.note(ORDER, soon=True)
        assert [await first, await anext(updates)] == [trade(1, "2").fill, ENDED]


@pytest.mark.parametrize("noted", [False, True])
async def test_what_is_open_is_asked_for_as_long_as_something_of_ours_is(noted: bool) -> None:
    """Where twenty questions a minute are answered, an idle node is to have them left for its next order."""
    source = Passing()
    source.has = [candle(minute) for minute in range(10)]
    source.listed = [[ORDER]] if noted else [[]]
    heard = await told(source, 6, fills_every=1000.0, noted=noted)
    assert [type(each) for each in heard] == [Candle] * 6
    assert (source.round > 1) is noted


async def test_orders_that_an_exchange_has_forgotten_do_not_hide_the_others() -> None:
    async def order(exchange_order_id: str) -> ExchangeOrder:
        if exchange_order_id == "2":
            raise OrderRefused("no such order")
        return replace(ENDED, exchange_order_id=exchange_order_id)

    assert list(await one_by_one(order, ("1", "2", "3"))) == ["1", "3"]


class Failing(Scripted):
    """It tells of one order at a time, and of the second not at all."""

    async def orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, ExchangeOrder]:
        if "2" in exchange_order_ids:
            raise ExchangeUnavailable("503")
        return await super().orders(exchange_order_ids)


async def test_an_order_that_cannot_be_asked_for_holds_back_none_before_it() -> None:
    source = Failing()
    source.listed = [[ORDER, replace(ORDER, exchange_order_id="2")], []]
    source.more = [[trade(1, "2")]]
    assert await told(source, 2) == [trade(1, "2").fill, ENDED]
