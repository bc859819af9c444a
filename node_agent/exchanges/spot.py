"""The port, kept through a line to ccxt: one account on one spot exchange, for one symbol.

An exchange's trades name its own order ids alone, so whose client order id each stands for is learnt from every order
that is seen, and asked for where it is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from node_agent.core import ids
from node_agent.core.market import (
    Candle,
    Conduct,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Market,
    OpenOrder,
    OrderRequest,
    OrderType,
)
from node_agent.exchanges.line import DuplicateOrder, Line, NoSuchOrder
from node_agent.exchanges.polling import Follower, Trade
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown, Update
from node_agent.exchanges.reading import (
    balances_of,
    candle_of,
    fill_of,
    market_of,
    milliseconds_of,
    open_order_of,
    order_of,
)
from node_agent.exchanges.traits import Traits

_OVERLAP: Final = timedelta(minutes=1)
"""How much earlier trades are asked for than they were wanted: an exchange's parts may be late with some."""
_ONE_BY_ONE: Final = 5
"""Up to so many unknown orders are asked for by their ids; more are listed."""


class SpotExchange:
    """One account. Raises ValueError for an interval that the exchange has no candles of."""

    def __init__(self, line: Line, traits: Traits, *, symbol: str, interval: timedelta) -> None:
        self._line = line
        self._traits = traits
        self._symbol = symbol
        self._interval = interval
        self._timeframe = _timeframe(line.timeframes, interval)
        self._ready = asyncio.Lock()
        self._markets: Mapping[str, Market] = {}
        self._client_ids: dict[str, str] = {}
        self._follower = Follower(self, traits.pace, interval)

    @property
    def name(self) -> str:
        """The exchange's id."""
        return self._traits.name

    @property
    def conduct(self) -> Conduct:
        """How it treats client order ids."""
        return self._traits.conduct

    @property
    def rate_limits(self) -> Mapping[str, object]:
        """How much of each limit is used, and until when the exchange wants nothing of us; for reports."""
        return self._line.rate_limits

    async def markets(self) -> Mapping[str, Market]:
        """The one symbol, asked for anew."""
        async with self._ready:
            await self._load()
        return self._markets

    async def balances(self) -> Mapping[str, Decimal]:
        """Total of each currency; those of which there is nothing are left out."""
        await self._be_ready()
        return await self._line.ask(balances_of, "fetch_balance", self._traits.balances)

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        """Place it, once. An id that the exchange knows answers with that order."""
        await self._be_ready()
        parameters: dict[str, str] = {self._traits.new_id: self._written(request.client_order_id)}
        price, kind = None, "market"
        if request.type is OrderType.LIMIT:
            kind, price = "limit", _exact(request.price)
            parameters["timeInForce"] = request.time_in_force.upper()
        elif request.type is OrderType.STOP:
            parameters[self._traits.stop] = _exact(request.stop_price)

        def read(raw: Any) -> ExchangeOrder:
            order = self._read_order(raw)
            if order.client_order_id != request.client_order_id:
                raise ValueError("another order than the one that was placed")
            return order

        try:
            order = await self._line.ask(
                read,
                "create_order",
                request.symbol,
                kind,
                request.side.value,
                _exact(request.amount),
                price,
                parameters,
                acts=True,
            )
        except DuplicateOrder:
            return await self._first(request)
        self._follower.note(order)
        return order

    async def cancel_order(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """Cancel what is left of it, once. One that has ended answers with how it ended."""
        await self._be_ready()

        def read(raw: Any) -> ExchangeOrder:
            return self._seen(order_of(raw, self._traits.statuses, client_order_id))

        try:
            order = await self._line.ask(read, "cancel_order", None, symbol, self._known_as(client_order_id), acts=True)
        except NoSuchOrder as error:
            found = await self.find_order(client_order_id, symbol)
            if found is None or found.status is ExchangeStatus.OPEN:
                raise OrderRefused(str(error)) from None
            return found
        self._follower.note(order)
        return order

    async def find_order(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        """The order under this id; None when neither the exchange's orders nor its list of open ones have it."""
        await self._be_ready()
        try:
            return await self._line.ask(self._read_order, "fetch_order", None, symbol, self._known_as(client_order_id))
        except NoSuchOrder:
            # The list comes from elsewhere at the exchange; either may be late.
            listed = (each.order for each in await self.open_orders())
            return next((order for order in listed if order.client_order_id == client_order_id), None)

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All open orders of the account on the symbol, whoever placed them."""
        await self._be_ready()

        def read(raw: Any) -> list[OpenOrder]:
            orders = [open_order_of(each, self._traits.statuses) for each in raw]
            return [replace(each, order=self._seen(each.order)) for each in orders]

        return await self._line.ask(read, "fetch_open_orders", self._symbol)

    async def fills_since(self, at: datetime | None) -> Sequence[Fill]:
        """Fills at or after this exchange time and a minute before it, oldest first; all of them when None."""
        return [trade.fill for trade in await self.trades_since(at)]

    async def clock_offset(self) -> float | None:
        """Seconds that our clock is ahead; measured anew when it is time for that."""
        return await self._line.measure(least_age=self._traits.pace.clock_every)

    def updates(self) -> AsyncIterator[Update]:
        """Closed candles, fills and changes of orders, found by asking again and again."""
        return self._follower.updates()

    async def close(self) -> None:
        """Let go of the connections. Orders stay."""
        await self._line.close()

    # What the follower asks for beside the port.

    async def exchange_now(self) -> datetime:
        """The exchange's time, by our clock and what it was last found to be off."""
        await self._be_ready()
        await self.clock_offset()
        return self._line.exchange_time()

    async def trades_since(self, at: datetime | None) -> Sequence[Trade]:
        """As `fills_since`, with the exchange's id of each trade's order."""
        await self._be_ready()
        raws = await (self._all_trades(0) if at is None else self._trades_from(at - _OVERLAP))
        return await self._trades(raws)

    async def trades_of(self, exchange_order_id: str) -> Sequence[Trade]:
        """All trades of one order."""
        raws = await self._line.ask(list, "fetch_order_trades", exchange_order_id, self._symbol)
        return await self._trades(raws)

    async def order(self, exchange_order_id: str) -> ExchangeOrder:
        """An order by the exchange's id of it."""
        return await self._line.ask(self._read_order, "fetch_order", exchange_order_id, self._symbol)

    async def candles(self, since: datetime | None) -> Sequence[Candle]:
        """Candles that opened at or after a time, the open one among them; the last three when None.

        Of three one has surely settled: the open one has not, and the one before may have closed a moment ago.
        """

        def read(raw: Any) -> list[Candle]:
            return [candle_of(each, self._symbol, self._interval) for each in raw]

        limit = 3 if since is None else self._traits.page
        from_ = None if since is None else milliseconds_of(since)
        await self._be_ready()
        return await self._line.ask(read, "fetch_ohlcv", self._symbol, self._timeframe, from_, limit)

    async def _be_ready(self) -> None:
        """Rules and clock, before anything is asked that needs them. The clock last: the connection is there then."""
        async with self._ready:
            if not self._markets:
                await self._load()
            if self._line.offset is None:
                await self._line.measure(least_age=0.0)

    async def _load(self) -> None:
        def read(raw: Any) -> Mapping[str, Market]:
            return {symbol: market_of(each) for symbol, each in raw.items() if symbol == self._symbol}

        markets = await self._line.ask(read, "load_markets", True, self._traits.markets_of(self._symbol))
        if not markets:
            raise ExchangeUnavailable(f"{self.name} has no market {self._symbol}")
        self._markets = markets

    async def _first(self, request: OrderRequest) -> ExchangeOrder:
        """The order that already has this request's id."""
        try:
            found = await self.find_order(request.client_order_id, request.symbol)
        except ExchangeError as error:
            raise OutcomeUnknown(f"there is an order under this id, but it could not be read: {error}") from None
        if found is None:
            raise OutcomeUnknown("there is an order under this id, but it is not found")
        self._follower.note(found)
        return found

    async def _trades_from(self, since: datetime) -> list[Any]:
        """Trades since a time: span by span until there is one, and from there by their ids."""
        now, ended = await self.exchange_now(), False
        while True:
            until = since + self._traits.trades_span
            ended = until > now
            span = {} if ended else {"until": milliseconds_of(until) - 1}
            page = await self._page(milliseconds_of(since), span)
            if page and (len(page) == self._traits.page or not ended):
                return page + await self._all_trades(_last_id(page) + 1)
            if ended:
                return page
            since = until

    async def _all_trades(self, first_id: int) -> list[Any]:
        trades: list[Any] = []
        while True:
            page = await self._page(None, {"fromId": first_id})
            trades += page
            if len(page) < self._traits.page:
                return trades
            first_id = _last_id(page) + 1

    async def _page(self, since: int | None, parameters: Mapping[str, Any]) -> list[Any]:
        trades: list[Any] = await self._line.ask(
            list, "fetch_my_trades", self._symbol, since, self._traits.page, dict(parameters)
        )
        return trades

    async def _trades(self, raws: Iterable[Any]) -> Sequence[Trade]:
        with _legible():
            ordered = sorted(raws, key=lambda raw: (raw["timestamp"], int(raw["id"])))
            await self._learn({str(raw["order"]) for raw in ordered})
            return [Trade(str(raw["order"]), fill_of(raw, self._client_ids[str(raw["order"])])) for raw in ordered]

    async def _learn(self, order_ids: set[str]) -> None:
        """Have the client order id of each of these orders."""
        unknown = sorted(order_ids - self._client_ids.keys(), key=int)
        while len(unknown) > _ONE_BY_ONE:
            before = len(unknown)
            await self._line.ask(
                lambda raw: [self._read_order(each) for each in raw],
                "fetch_orders",
                self._symbol,
                None,
                self._traits.page,
                {"orderId": unknown[0]},
            )
            unknown = [each for each in unknown if each not in self._client_ids]
            if len(unknown) == before:
                break
        for order_id in unknown:
            await self.order(order_id)

    def _read_order(self, raw: Any) -> ExchangeOrder:
        return self._seen(order_of(raw, self._traits.statuses))

    def _seen(self, order: ExchangeOrder) -> ExchangeOrder:
        order = replace(order, client_order_id=ids.read(order.client_order_id, self.conduct.id_form))
        self._client_ids[order.exchange_order_id] = order.client_order_id
        return order

    def _known_as(self, client_order_id: str) -> dict[str, str]:
        return {self._traits.known_id: self._written(client_order_id)}

    def _written(self, client_order_id: str) -> str:
        return ids.written(client_order_id, self.conduct.id_form)


def _exact(amount: Decimal | None) -> str:
    if amount is None:
        raise OrderRefused("not sent: an order without its price")
    return format(amount, "f")


def _last_id(page: Sequence[Any]) -> int:
    with _legible():
        return max(int(raw["id"]) for raw in page)


@contextmanager
def _legible() -> Iterator[None]:
    """Turns what reading an answer raises that is not as it should be into an error of the port."""
    try:
        yield
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise ExchangeUnavailable(f"an answer that cannot be read ({type(error).__name__})") from None


def _timeframe(timeframes: Mapping[str, Any], interval: timedelta) -> str:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    for frame in timeframes:
        if frame[-1] in seconds and timedelta(seconds=int(frame[:-1]) * seconds[frame[-1]]) == interval:
            return frame
    raise ValueError(f"the exchange has no candles of {interval}")
