"""Robinhood's crypto trading API, without a library between: its profile, its limits, and the port on its line.

Of the API's two versions this is the first, in which orders go to market makers: there is no fee, and the spread is the
price of it. It knows market, limit and stop orders of an amount of the coin; none that must fill at once or not at all.

An order is found under our id in lists alone, so every order that is seen teaches which of its ids is which. A fill is
part of its order, and has no id of its own. There are no candles and there is no book: candles are made of the middle
of bid and ask while `updates` is listened to, and begin anew with each process.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from node_agent.core.market import (
    Book,
    Candle,
    Conduct,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    IdForm,
    Market,
    OpenOrder,
    OrderRequest,
    OrderType,
    Ticker,
    TimeInForce,
)
from node_agent.exchanges import robinhood_reading as reading
from node_agent.exchanges.failures import DuplicateOrder, NoSuchOrder
from node_agent.exchanges.guard import Forbidden
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.polling import Follower, Trade, one_by_one
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown, Update
from node_agent.exchanges.profile import Credential, KeyCheck, Opening, Profile
from node_agent.exchanges.traits import Pace

if TYPE_CHECKING:
    from node_agent.exchanges.robinhood_line import RobinhoodLine

NAME: Final = "robinhood"

_KEY_FORM: Final = re.compile(r"(?:rh-api-)?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_SECRET_FORM: Final = re.compile(r"[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==", re.ASCII)

PROFILE: Final = Profile(
    name=NAME,
    title="Robinhood",
    credentials=(
        Credential("key", "API key", _KEY_FORM, "rh-api- and a UUID", hidden=False),
        Credential("secret", "private key", _SECRET_FORM, "44 characters of base64 (88 from some tools)"),
    ),
    key_check=KeyCheck.ATTESTED,
    switch_off="robinhood.com/account/crypto in a browser, API keys",
    example_symbol="BTC/USD",
)

CONDUCT: Final = Conduct(
    id_form=IdForm.UUID,
    # A request is good for 30 seconds; the rest is for lists that are late.
    settles_within=timedelta(seconds=60),
    # An id is for "idempotency validation", and nothing says for how long.
    ids_unique_for_ever=False,
    times_in_force=frozenset({TimeInForce.GTC}),
)

# 100 requests are given back a minute, of 300 that can be had at once: this is all of the one, a third of the other.
LIMITS: Final = (Limit("requests_1m", Counted.WEIGHT, 200, 60.0),)

# Of the 100 a minute a node without orders uses 45 with candles of five seconds, which is the most: 36 for prices, six
# for surveys, three for fills. While an order of ours is open, 24 are for that. The rest is for what changes.
PACE: Final = Pace(orders_every=5.0, survey_every=20.0, fills_every=60.0)

_MARKETS: Final = "/api/v1/crypto/trading/trading_pairs/"
_PRICES: Final = "/api/v1/crypto/marketdata/best_bid_ask/"
_ACCOUNT: Final = "/api/v1/crypto/trading/accounts/"
_HOLDINGS: Final = "/api/v1/crypto/trading/holdings/"
_ORDERS: Final = "/api/v1/crypto/trading/orders/"

_LOOKS_BACK: Final = timedelta(days=30)
"""How old an ended order is that is still looked for in lists."""
_LOOKS: Final = 2
"""How often a list with an empty page is read before it is believed that an order is not in it."""
_OVERLAP: Final = timedelta(minutes=1)
"""How much earlier trades are asked for than they were wanted."""
_STATES: Final = ("open", "partially_filled")
"""Of open orders. One goes from the first to the second and never back, so none slips through between two lists."""
_PRICES_A_CANDLE: Final = 3
_LONGEST_BETWEEN_PRICES: Final = 5.0
_BALANCE_TRIES: Final = 3
_BALANCE_PAUSE: Final = 1.0

T = TypeVar("T")


def open_exchange(opening: Opening) -> Robinhood:
    """One account on Robinhood, for one symbol. Must be called inside a running event loop.

    Raises ValueError for an interval that there are no candles of, or a key that is none.
    """
    from node_agent.exchanges.robinhood_line import RobinhoodLine  # noqa: PLC0415  (a profile needs no httpx)

    return Robinhood(RobinhoodLine(opening, limits=LIMITS, pace=PACE), opening.symbol, opening.interval)


class Robinhood:
    """One account."""

    def __init__(self, line: RobinhoodLine, symbol: str, interval: timedelta) -> None:
        self._line = line
        self._symbol = symbol
        self._native = reading.native_of(symbol)
        self._ready = asyncio.Lock()
        self._markets: Mapping[str, Market] = {}
        self._exchange_ids: dict[str, str] = {}
        self._watched = reading.Watched(symbol, interval)
        self._between_prices = min(interval.total_seconds() / _PRICES_A_CANDLE, _LONGEST_BETWEEN_PRICES)
        self._follower = Follower(self, PACE, interval)

    @property
    def name(self) -> str:
        """The exchange's id."""
        return NAME

    @property
    def conduct(self) -> Conduct:
        """How it treats client order ids."""
        return CONDUCT

    @property
    def survey_every(self) -> float:
        """Seconds between two looks at all that is open on the account."""
        return PACE.survey_every

    @property
    def rate_limits(self) -> Mapping[str, object]:
        """How much of the limit is used, and until when Robinhood wants nothing of us; for reports."""
        return self._line.rate_limits

    async def markets(self) -> Mapping[str, Market]:
        """The one symbol, asked for anew."""
        async with self._ready:
            await self._load()
        return self._markets

    async def balances(self) -> Mapping[str, Decimal]:
        """Total of each currency; those of which there is nothing are left out.

        Of dollars Robinhood tells what may be spent, so what open buys hold is added: their price times what is left of
        them. It is read again when something moved meanwhile. Raises ExchangeUnavailable when it does not come to rest.
        """
        await self._be_ready()
        for _ in range(_BALANCE_TRIES):
            currency, cash = await self._line.get(reading.cash_of, _ACCOUNT)
            held = [each for each in (await self._open(reading.held_by)).values() if each is not None]
            totals = dict(await self._all(reading.holding_of, _HOLDINGS))
            still = await self._line.get(reading.cash_of, _ACCOUNT)
            known = [amount for quote, amount in held if quote == currency and amount is not None]
            if still == (currency, cash) and len(known) == len(held):
                totals[currency] = totals.get(currency, Decimal(0)) + cash + sum(known, Decimal(0))
                return {each: total for each, total in totals.items() if total}
            await asyncio.sleep(_BALANCE_PAUSE)
        raise ExchangeUnavailable("balances changed again and again while they were read")

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        """Place it, once. An id that Robinhood knows answers with that order."""
        body = reading.body_of(request)
        await self._be_ready()

        def read(raw: Any) -> ExchangeOrder:
            order = reading.order_of(raw)
            if order.client_order_id != request.client_order_id:
                raise ValueError("another order than the one that was placed")
            return order

        try:
            order = self._seen(await self._line.place(read, _ORDERS, body))
        except DuplicateOrder:
            order = await self._first(request)
        self._follower.note(order, soon=request.type is OrderType.MARKET)
        return order

    async def cancel_order(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """Cancel what is left of it, once. One that has ended answers with how it ended.

        Robinhood takes note of a cancel, and carries it out a moment later: until then the order is told as open.
        """
        await self._be_ready()
        known = await self._exchange_id(client_order_id)
        try:
            await self._line.cancel(f"{_ORDERS}{known}/cancel/")
        except Forbidden:
            raise
        except OrderRefused as error:
            order = await self.order(known)
            if order.status is ExchangeStatus.OPEN:
                raise OrderRefused(str(error)) from None
        else:
            order = await self._outcome(self.order(known))
        self._follower.note(order)
        return order

    async def find_order(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        """The order under this id; None when it is neither among the orders of late nor among open ones."""
        await self._be_ready()
        found = await self._found(client_order_id)
        if found is not None and found.status is ExchangeStatus.OPEN:
            self._follower.note(found)
        return found

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All open orders of the account on the symbol, whoever placed them."""
        await self._be_ready()
        orders = list((await self._open(reading.open_order_of, symbol=self._native)).values())
        for each in orders:
            self._seen(each.order)
        return orders

    async def fills_since(self, at: datetime | None) -> Sequence[Fill]:
        """Fills at or after this exchange time and a minute before it, oldest first; all of them when None."""
        return [trade.fill for trade in await self.trades_since(at)]

    async def clock_offset(self) -> float | None:
        """Seconds that our clock is ahead, as all answers so far tell, this side of half a second."""
        await self._be_ready()
        return self._line.offset

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders of the account on the symbol that were placed since."""
        await self._be_ready()
        placed = await self._all(
            reading.order_of, _ORDERS, symbol=self._native, created_at_start=reading.written_time(since)
        )
        return [self._seen(order) for order in placed]

    async def key_permissions(self) -> Mapping[str, bool] | None:
        """None: Robinhood has no way to ask. What a key may do is chosen when it is made, and nothing moves money."""
        return None

    async def ticker(self) -> Ticker:
        """Best bid and best ask, the spread included. What was traded last Robinhood does not tell."""
        await self._be_ready()
        return await self._line.get(_first_of(reading.ticker_of), _PRICES, {"symbol": self._native})

    async def book(self, depth: int) -> Book:
        """A book with nothing in it: Robinhood shows none, and does not say how much its best prices are good for."""
        return Book(self._symbol, (), ())

    def know(self, orders: Iterable[tuple[str, str]]) -> None:
        """Client order ids and exchange order ids that belong together, from before."""
        self._exchange_ids.update(orders)

    async def updates(self) -> AsyncIterator[Update]:
        """Closed candles, fills and changes of orders, found by asking again and again, while prices are watched."""
        await self._be_ready()
        watching = asyncio.create_task(self._watch())
        try:
            async for update in self._follower.updates():
                yield update
        finally:
            watching.cancel()
            await asyncio.wait((watching,))

    async def close(self) -> None:
        """Let go of the connections. Orders stay."""
        await self._line.close()

    # What the follower asks for beside the port.

    async def exchange_now(self) -> datetime:
        """Robinhood's time, as far as it is known."""
        await self._be_ready()
        return self._line.exchange_time()

    async def orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, ExchangeOrder]:
        """Those of these orders that Robinhood has."""
        return await one_by_one(self.order, exchange_order_ids)

    async def trades_since(self, at: datetime | None) -> Sequence[Trade]:
        """As `fills_since`, with Robinhood's id of each trade's order. A fill makes its order one that was updated."""
        await self._be_ready()
        query = {"symbol": self._native}
        if at is not None:
            query["updated_at_start"] = reading.written_time(at - _OVERLAP)
        orders = await self._all(lambda raw: (reading.order_of(raw), reading.trades_of(raw)), _ORDERS, **query)
        for order, _ in orders:
            self._seen(order)
        trades = [trade for _, trades in orders for trade in trades if at is None or trade.fill.at >= at - _OVERLAP]
        return sorted(trades, key=lambda trade: (trade.fill.at, trade.fill.trade_id))

    async def trades_of(self, exchange_order_id: str) -> Sequence[Trade]:
        """All trades of one order."""
        trades = await self._line.get(reading.trades_of, f"{_ORDERS}{exchange_order_id}/")
        return sorted(trades, key=lambda trade: (trade.fill.at, trade.fill.trade_id))

    async def order(self, exchange_order_id: str) -> ExchangeOrder:
        """An order by Robinhood's id of it."""
        return self._seen(await self._line.get(reading.order_of, f"{_ORDERS}{exchange_order_id}/"))

    async def candles(self, since: datetime | None) -> Sequence[Candle]:
        """Candles that opened at or after a time, the open one among them; the last three when None.

        They are made of prices that this process saw while its `updates` was listened to, and their volume is 0.
        """
        return self._watched.candles(since, self._line.exchange_time())

    async def _watch(self) -> None:
        """See the price again and again, as often as was meant to. One that does not come leaves a gap."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            with contextlib.suppress(ExchangeError):
                price = reading.middle_of(await self.ticker())
                self._watched.see(self._line.exchange_time(), price)
            due = max(due + self._between_prices, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _be_ready(self) -> None:
        """Rules, and with them the clock, before anything is asked that needs them."""
        async with self._ready:
            if not self._markets:
                await self._load()

    async def _load(self) -> None:
        listed = await self._line.get(
            lambda raw: [reading.market_of(each) for each in raw["results"]], _MARKETS, {"symbol": self._native}
        )
        markets = {each.symbol: each for each in listed if each is not None and each.symbol == self._symbol}
        if not markets:
            raise ExchangeUnavailable(f"{NAME} has no market {self._symbol}")
        self._markets = markets

    async def _found(self, client_order_id: str) -> ExchangeOrder | None:
        known = self._exchange_ids.get(client_order_id)
        if known is not None:
            with contextlib.suppress(NoSuchOrder):
                return await self.order(known)
        since = reading.written_time(self._line.exchange_time() - _LOOKS_BACK)
        lists = [{"created_at_start": since}, *({"state": state} for state in _STATES)]
        for _ in range(_LOOKS):
            doubtful = []
            for wanted in lists:
                found, whole = await self._listed(client_order_id, wanted)
                if found is not None:
                    return found
                if not whole:
                    doubtful.append(wanted)
            lists = doubtful
        return None

    async def _all(self, read: Callable[[Any], T], path: str, **query: str) -> list[T]:
        """A list, to its end."""
        return [row async for page in self._pages(read, path, query) for row in page]

    async def _pages(
        self, read: Callable[[Any], T], path: str, query: Mapping[str, str]
    ) -> AsyncGenerator[list[T], None]:
        """A list, page by page; one of orders begins with the newest."""

        def page(raw: Any) -> tuple[list[T], str | None]:
            return [read(each) for each in raw["results"]], reading.cursor_of(raw)

        rows, cursor = await self._line.get(page, path, query)
        yield rows
        seen = set()
        while cursor is not None:
            if cursor in seen:
                raise ExchangeUnavailable("a list without end")
            seen.add(cursor)
            rows, cursor = await self._line.get(page, path, {**query, "cursor": cursor})
            yield rows

    async def _listed(self, client_order_id: str, wanted: Mapping[str, str]) -> tuple[ExchangeOrder | None, bool]:
        """The order under this id in a list of those on the symbol, which is read until it is there.

        And whether the list is to be believed where it is not: one with an empty page may have orders all the same.
        """
        query, whole = {"symbol": self._native, **wanted}, True
        async with contextlib.aclosing(self._pages(reading.order_of, _ORDERS, query)) as pages:
            async for page in pages:
                whole = whole and bool(page)
                for order in page:
                    if self._seen(order).client_order_id == client_order_id:
                        return order, True
        return None, whole

    async def _open(self, read: Callable[[Any], T], **query: str) -> dict[str, T]:
        """Open orders by their ids."""
        listed: dict[str, T] = {}
        for state in _STATES:
            listed.update(await self._all(lambda raw: (str(raw["id"]), read(raw)), _ORDERS, **query, state=state))
        return listed

    async def _first(self, request: OrderRequest) -> ExchangeOrder:
        """The order that already has this request's id."""
        found = await self._outcome(self.find_order(request.client_order_id, request.symbol))
        if found is None:
            raise OutcomeUnknown("there is an order under this id, but it is not found")
        return found

    async def _outcome(self, asking: Awaitable[T]) -> T:
        """What came of something that Robinhood has taken note of."""
        try:
            return await asking
        except ExchangeError as error:
            raise OutcomeUnknown(f"it was heard, but what came of it could not be read: {error}") from None

    async def _exchange_id(self, client_order_id: str) -> str:
        """What Robinhood calls an order. Raises NoSuchOrder where it has none."""
        if client_order_id not in self._exchange_ids:
            found = await self.find_order(client_order_id, self._symbol)
            if found is None:
                raise NoSuchOrder(f"{NAME} has no order {client_order_id}")
        return self._exchange_ids[client_order_id]

    def _seen(self, order: ExchangeOrder) -> ExchangeOrder:
        if order.client_order_id:
            self._exchange_ids[order.client_order_id] = order.exchange_order_id
        return order


def _first_of(read: Callable[[Any], T]) -> Callable[[Any], T]:
    """Reads the one result that there should be."""

    def result(raw: Any) -> T:
        (each,) = raw["results"]
        return read(each)

    return result
