"""Updates of an exchange by asking again and again: closed candles, fills, and orders that have changed.

An order is told of when it has left the open ones, or when more of it is filled; and not before its fills have been
told, as far as the exchange gives them within a few rounds. A failure ends the stream with its error; what was told
stays known, so that the next stream goes on where this one broke.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

from node_agent.core.market import Candle, ExchangeOrder, ExchangeStatus, Fill, OpenOrder
from node_agent.exchanges.port import OrderRefused, Update
from node_agent.exchanges.traits import Pace

_ROUNDS: Final = 5
"""How often a change waits for fills that the exchange does not tell of yet."""
_REMEMBERED: Final = timedelta(minutes=5)
"""How long it is remembered that a fill was told; longer than they are asked for again."""


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill, and the exchange's id of its order."""

    exchange_order_id: str
    fill: Fill


class Source(Protocol):
    """What is asked."""

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All open orders."""

    async def orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, ExchangeOrder]:
        """Those of these orders that it has: some forget what ended with nothing filled. At most `orders_at_once`."""

    async def trades_since(self, at: datetime | None) -> Sequence[Trade]:
        """Trades since a time, oldest first."""

    async def trades_of(self, exchange_order_id: str) -> Sequence[Trade]:
        """All trades of one order."""

    async def candles(self, since: datetime | None) -> Sequence[Candle]:
        """Candles that opened since a time, the open one among them; the last ones when None."""

    async def exchange_now(self) -> datetime:
        """The exchange's time."""


async def one_by_one(
    order: Callable[[str], Awaitable[ExchangeOrder]], exchange_order_ids: Iterable[str]
) -> Mapping[str, ExchangeOrder]:
    """`Source.orders` of an exchange that is asked for one order at a time."""
    found = {}
    for each in exchange_order_ids:
        with contextlib.suppress(OrderRefused):
            found[each] = await order(each)
    return found


class Follower:
    """Follows one symbol of one account. One stream at a time."""

    def __init__(self, source: Source, pace: Pace, interval: timedelta) -> None:
        self._source = source
        self._pace = pace
        self._interval = interval
        self._next_candle: datetime | None = None
        self._open: dict[str, ExchangeOrder] = {}
        self._changed: dict[str, int] = {}
        """Orders of which something is to be told, by the exchange's ids, and for how many rounds it has waited."""
        self._told: dict[str, Trade] = {}
        self._fills_until: datetime | None = None
        self._noted = asyncio.Event()

    def note(self, order: ExchangeOrder, *, soon: bool = False) -> None:
        """An order as the exchange has just told it to us: its fills, and what becomes of it, are to be looked for.

        `soon`: there is more to tell by now than it told.
        """
        if order.filled or soon:
            self._changed.setdefault(order.exchange_order_id, 0)
            self._noted.set()
        elif order.status is ExchangeStatus.OPEN:
            self._open.setdefault(order.exchange_order_id, order)
        else:
            self._open.pop(order.exchange_order_id, None)

    async def updates(self) -> AsyncGenerator[Update, None]:
        """What happens, from now on. Raises ExchangeError."""
        loop = asyncio.get_running_loop()
        fills_due = loop.time()
        while True:
            self._noted.clear()
            began = loop.time()
            for candle in await self._closed_candles():
                yield candle
            fills_wanted = loop.time() >= fills_due
            if fills_wanted or self._open or self._changed:  # else nothing of it can have changed
                async for update in self._changes(fills_wanted=fills_wanted):
                    yield update
            if fills_wanted:
                fills_due = loop.time() + self._pace.fills_every
            await self._pause(began)

    async def _pause(self, began: float) -> None:
        """Until the next look is due: at orders, or at a candle that closes before, or when something was noted."""
        due = began + self._pace.between_polls(self._interval)
        loop = asyncio.get_running_loop()
        if self._next_candle is not None:
            closes = self._settled(self._next_candle) - await self._source.exchange_now()
            if closes > timedelta(0):
                due = min(due, loop.time() + closes.total_seconds())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._noted.wait()

    def _settled(self, opened: datetime) -> datetime:
        return opened + self._interval + timedelta(seconds=self._pace.candle_settles)

    async def _closed_candles(self) -> list[Candle]:
        """Those that have closed since the last told one; at the very first, the last that has closed."""
        now = await self._source.exchange_now()
        if self._next_candle is not None and now < self._settled(self._next_candle):
            return []
        candles = [
            candle for candle in await self._source.candles(self._next_candle) if now >= self._settled(candle.at)
        ]
        if self._next_candle is None:
            candles = candles[-1:]
        if candles:
            self._next_candle = candles[-1].closed_at
        return candles

    async def _changes(self, *, fills_wanted: bool) -> AsyncIterator[Fill | ExchangeOrder]:
        listed = {each.order.exchange_order_id: each.order for each in await self._source.open_orders()}
        for order_id in self._moved(listed):
            self._changed.setdefault(order_id, 0)
        if self._changed or fills_wanted:
            since = self._fills_until or await self._source.exchange_now()
            for fill in self._new(await self._source.trades_since(since)):
                yield fill
            self._fills_until = max((each.fill.at for each in self._told.values()), default=since)
        changed, at_once = list(self._changed), self._pace.orders_at_once
        for first in range(0, len(changed), at_once):
            # What one answer said is told before the next is asked for, which may not come.
            some = changed[first : first + at_once]
            stand = await self._source.orders(some)
            for order_id in some:
                async for update in self._change(order_id, stand.get(order_id)):
                    yield update
        self._forget()

    async def _change(self, order_id: str, order: ExchangeOrder | None) -> AsyncIterator[Fill | ExchangeOrder]:
        """What is to be told of an order that has changed, or is not known any more: its fills first."""
        if order is not None and self._missing(order):
            for fill in self._new(await self._source.trades_of(order_id)):
                yield fill
        self._changed[order_id] += 1
        if (order is None or self._missing(order)) and self._changed[order_id] < _ROUNDS:
            return
        del self._changed[order_id]
        known = self._open.pop(order_id, None)
        if order is None:
            return
        if order.status is ExchangeStatus.OPEN:
            self._open[order_id] = order
        if known != order:
            yield order

    def _moved(self, listed: dict[str, ExchangeOrder]) -> list[str]:
        """Orders of which more is filled than was known, or that are listed no more. The rest is known from now on."""
        moved = [order_id for order_id in self._open if order_id not in listed]
        for order_id, order in listed.items():
            known = self._open.get(order_id)
            if order.filled > (known.filled if known else Decimal(0)):
                moved.append(order_id)
            elif known is None:
                self._open[order_id] = order
        return moved

    def _new(self, trades: Iterable[Trade]) -> list[Fill]:
        """Those not told yet; they count as told, and their orders as changed."""
        new = [trade for trade in trades if trade.fill.trade_id not in self._told]
        for trade in new:
            self._told[trade.fill.trade_id] = trade
            self._changed.setdefault(trade.exchange_order_id, 0)
        return [trade.fill for trade in new]

    def _missing(self, order: ExchangeOrder) -> bool:
        """Whether more of it is filled than was told."""
        of_it = (each.fill for each in self._told.values() if each.exchange_order_id == order.exchange_order_id)
        return sum((fill.amount for fill in of_it), Decimal(0)) < order.filled

    def _forget(self) -> None:
        """Fills so old that they are not asked for again, unless something of their order is still to be told."""
        if self._fills_until is None:
            return
        before = self._fills_until - _REMEMBERED
        self._told = {
            trade_id: each
            for trade_id, each in self._told.items()
            if each.fill.at >= before or each.exchange_order_id in self._changed
        }
