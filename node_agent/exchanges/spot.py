"""The port, kept through a line to ccxt: one account on one spot exchange, for one symbol.

What differs from one exchange to the next is data in `traits.py` where it can be, and else one of the methods at the
end, which an exchange's own class may write anew. An exchange's trades mostly name its own order ids alone, so whose
client order id each stands for is learnt from every order that is seen, and asked for where it is not known.
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
    Book,
    Candle,
    Conduct,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Market,
    OpenOrder,
    OrderRequest,
    OrderType,
    Ticker,
    TimeInForce,
)
from node_agent.exchanges.failures import DuplicateOrder, NoSuchOrder
from node_agent.exchanges.line import Line
from node_agent.exchanges.polling import Follower, Trade, one_by_one
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown, Update
from node_agent.exchanges.reading import (
    balances_of,
    book_of,
    candle_of,
    fill_of,
    market_of,
    milliseconds_of,
    open_order_of,
    order_of,
    ticker_of,
)
from node_agent.exchanges.traits import Traits

_OVERLAP: Final = timedelta(minutes=1)
"""How much earlier trades are asked for than they were wanted: an exchange's parts may be late with some."""


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
        self._exchange_ids: dict[str, str] = {}
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

    @property
    def survey_every(self) -> float:
        """Seconds between two looks at all that is open on the account."""
        return self._traits.pace.survey_every

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
        lacking = self.conduct.lacks(request)
        if lacking is not None:
            raise OrderRefused(f"not sent: {self.name} takes no {lacking}")
        await self._be_ready()

        def read(raw: Any) -> ExchangeOrder:
            if self._traits.acknowledges:
                return self._seen(_acknowledged(request, raw))
            order = self._read_order(raw)
            if order.client_order_id != request.client_order_id:
                raise ValueError("another order than the one that was placed")
            return order

        kind, price, parameters = self._asked_for(request)
        side, amount = request.side.value, exact(request.amount)
        try:
            order = await self._line.ask(
                read, "create_order", request.symbol, kind, side, amount, price, parameters, acts=True
            )
        except DuplicateOrder:
            return await self._first(request)
        # What rests waits for the next look; what trades at once has done so, whatever was acknowledged.
        rests = request.type is not OrderType.MARKET and request.time_in_force is TimeInForce.GTC
        self._follower.note(order, soon=not rests)
        return order

    async def cancel_order(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """Cancel what is left of it, once. One that has ended answers with how it ended."""
        await self._be_ready()
        try:
            order = await self._cancelled(client_order_id, symbol)
        except NoSuchOrder as error:
            found = await self.find_order(client_order_id, symbol)
            if found is None or found.status is ExchangeStatus.OPEN:
                raise OrderRefused(str(error)) from None
            return found
        self._follower.note(order)
        return order

    async def find_order(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        """The order under this id; None when neither the exchange's orders nor its lists of them have it."""
        await self._be_ready()
        found = await self._found(client_order_id, symbol)
        if found is not None and found.status is ExchangeStatus.OPEN:
            self._follower.note(found)
        return found

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
        """Seconds that our clock is ahead; measured anew when it is time for that. None where it tells no time."""
        if not self._traits.has_clock:
            return None
        return await self._line.measure(least_age=self._traits.pace.clock_every)

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders of the account on the symbol that were placed since, newest or oldest first."""
        await self._be_ready()

        def read(raw: Any) -> list[ExchangeOrder]:
            return [self._read_order(each) for each in raw]

        return await self._line.ask(read, "fetch_orders", self._symbol, milliseconds_of(since), self._traits.page)

    async def key_permissions(self) -> Mapping[str, bool] | None:
        """What our key may do, by the exchange's own names; None where it has no way to ask."""
        query = self._traits.permissions
        if query is None:
            return None
        if self._line.offset is None and self._traits.has_clock:
            await self._line.measure(least_age=0.0)
        return await self._line.ask(query.read, query.method)

    async def ticker(self) -> Ticker:
        """Last price, best bid and best ask."""
        await self._be_ready()
        return await self._line.ask(ticker_of, "fetch_ticker", self._symbol)

    async def book(self, depth: int) -> Book:
        """The best levels of each side: at most so many."""
        await self._be_ready()

        def read(raw: Any) -> Book:
            book = book_of(raw, self._symbol)
            return Book(book.symbol, book.bids[:depth], book.asks[:depth])

        return await self._line.ask(read, "fetch_order_book", self._symbol, depth)

    def know(self, orders: Iterable[tuple[str, str]]) -> None:
        """Client order ids and exchange order ids that belong together, from before."""
        for client_order_id, exchange_order_id in orders:
            self._client_ids[exchange_order_id] = client_order_id
            self._exchange_ids[client_order_id] = exchange_order_id

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
        return await self._trades(await self._raw_trades(None if at is None else at - _OVERLAP))

    async def trades_of(self, exchange_order_id: str) -> Sequence[Trade]:
        """All trades of one order."""
        return await self._trades(await self._raw_trades_of(exchange_order_id))

    async def order(self, exchange_order_id: str) -> ExchangeOrder:
        """An order by the exchange's id of it."""
        return await self._line.ask(self._read_order, "fetch_order", exchange_order_id, self._symbol)

    async def orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, ExchangeOrder]:
        """Those of these orders that the exchange has."""
        return await one_by_one(self.order, exchange_order_ids)

    async def candles(self, since: datetime | None) -> Sequence[Candle]:
        """Candles that opened at or after a time, the open one among them; the last three when None.

        Of three one has surely settled: the open one has not, and the one before may have closed a moment ago.
        """

        def read(raw: Any) -> list[Candle]:
            return [candle_of(each, self._symbol, self._interval) for each in raw]

        await self._be_ready()
        if since is None:
            return await self._line.ask(read, "fetch_ohlcv", self._symbol, self._timeframe, None, 3)
        # Some have no candle of an interval in which nothing was traded; a page may be of nothing but such.
        while True:
            limit = self._traits.page
            page = await self._line.ask(
                read, "fetch_ohlcv", self._symbol, self._timeframe, milliseconds_of(since), limit
            )
            since += limit * self._interval
            if page or since > self._line.exchange_time():
                return page

    async def _be_ready(self) -> None:
        """Rules and clock, before anything is asked that needs them. The clock last: the connection is there then."""
        async with self._ready:
            if not self._markets:
                await self._load()
            if self._line.offset is None and self._traits.has_clock:
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

    async def _trades(self, raws: Iterable[Any]) -> Sequence[Trade]:
        with legible():
            ordered = sorted(raws, key=_age)
            await self._learn({str(raw["order"]) for raw in ordered} - self._client_ids.keys())
            return [Trade(str(raw["order"]), fill_of(raw, self._client_ids[str(raw["order"])])) for raw in ordered]

    def _read_order(self, raw: Any) -> ExchangeOrder:
        return self._seen(order_of(raw, self._traits.statuses))

    def _seen(self, order: ExchangeOrder) -> ExchangeOrder:
        order = replace(order, client_order_id=ids.read(order.client_order_id, self.conduct.id_form))
        self._client_ids[order.exchange_order_id] = order.client_order_id
        if order.client_order_id:
            self._exchange_ids[order.client_order_id] = order.exchange_order_id
        return order

    def _written(self, client_order_id: str) -> str:
        return ids.written(client_order_id, self.conduct.id_form)

    # What an exchange's own class may do otherwise.

    def _asked_for(self, request: OrderRequest) -> tuple[str, str | None, dict[str, Any]]:
        """An order as ccxt's `create_order` takes it: its type, its price, and what stands beside them."""
        parameters: dict[str, Any] = {self._traits.new_id: self._written(request.client_order_id)}
        if request.type is OrderType.LIMIT:
            parameters["timeInForce"] = request.time_in_force.upper()
            return "limit", exact(request.price), parameters
        if request.type is OrderType.STOP:
            parameters[self._traits.stop] = exact(request.stop_price)
        return "market", None, parameters

    async def _cancelled(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """Cancel it, and tell how it stands. Raises NoSuchOrder where there is none that is open."""
        if self._traits.cancelled_id is None:
            known = await self._exchange_id(client_order_id, symbol)
            await self._line.ask(_anything, "cancel_order", known, symbol, acts=True)
            return await self.order(known)
        parameters = {self._traits.cancelled_id: self._written(client_order_id)}

        def read(raw: Any) -> ExchangeOrder:
            return self._seen(order_of(raw, self._traits.statuses, client_order_id))

        return await self._line.ask(read, "cancel_order", None, symbol, parameters, acts=True)

    async def _found(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        """The order under this id, wherever the exchange has it."""
        try:
            known = self._exchange_ids.get(client_order_id)
            if known is not None:
                return await self.order(known)
            if self._traits.known_id is not None:
                parameters = {self._traits.known_id: self._written(client_order_id)}
                return await self._line.ask(self._read_order, "fetch_order", None, symbol, parameters)
        except NoSuchOrder:
            pass
        # The lists come from elsewhere at the exchange; either may be late.
        return await self._listed(client_order_id)

    async def _exchange_id(self, client_order_id: str, symbol: str) -> str:
        """What the exchange calls an order. Raises NoSuchOrder where it has none."""
        if client_order_id not in self._exchange_ids:
            found = await self.find_order(client_order_id, symbol)
            if found is None:
                raise NoSuchOrder(f"{self.name} has no order {client_order_id}")
        return self._exchange_ids[client_order_id]

    async def _listed(self, client_order_id: str) -> ExchangeOrder | None:
        """The order under this id in the lists of the account's orders."""
        listed = [each.order for each in await self.open_orders()]
        if self._traits.known_id is None:
            listed += await self.recent_orders(self._line.exchange_time() - self._traits.looks_back)
        return next((order for order in listed if order.client_order_id == client_order_id), None)

    async def _raw_trades(self, since: datetime | None) -> Sequence[Any]:
        """Trades since a time, as ccxt reads them: page by page, where a page begins with the oldest."""
        trades: dict[str, Any] = {}
        from_ = 0 if since is None else milliseconds_of(since)
        while True:
            page = await self._line.ask(list, "fetch_my_trades", self._symbol, from_, self._traits.page)
            with legible():
                new = {str(raw["id"]): raw for raw in page if str(raw["id"]) not in trades}
                trades |= new
                if len(page) < self._traits.page or not new:
                    return list(trades.values())
                from_ = max(raw["timestamp"] for raw in page)

    async def _raw_trades_of(self, exchange_order_id: str) -> Sequence[Any]:
        """All trades of one order, as ccxt reads them."""
        return await self._line.ask(list, "fetch_order_trades", exchange_order_id, self._symbol)

    async def _learn(self, unknown: set[str]) -> None:
        """Have the client order id of each of these orders."""
        for order_id in sorted(unknown):
            await self.order(order_id)


def _acknowledged(request: OrderRequest, raw: Any) -> ExchangeOrder:
    """An order of which the exchange has said no more than that it has it. Raises ValueError where it has not."""
    if not raw["id"]:
        raise ValueError("an order without its id")
    return ExchangeOrder(
        client_order_id=request.client_order_id,
        exchange_order_id=str(raw["id"]),
        symbol=request.symbol,
        status=ExchangeStatus.OPEN,
        amount=request.amount,
        filled=Decimal(0),
    )


def _anything(raw: Any) -> None:
    """An answer of which nothing is wanted but that it came."""


def exact(amount: Decimal | None) -> str:
    """A price or an amount as it is sent. Raises OrderRefused for none."""
    if amount is None:
        raise OrderRefused("not sent: an order without its price")
    return format(amount, "f")


def _age(raw: Any) -> tuple[int, int, str]:
    """By what trades are put in order: their ids count up, where they are numbers."""
    if raw["id"] is None:
        raise ValueError("a trade without its id")
    return raw["timestamp"], len(str(raw["id"])), str(raw["id"])


@contextmanager
def legible() -> Iterator[None]:
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
