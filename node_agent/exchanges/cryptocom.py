"""Crypto.com's spot exchange: its limits, error codes and names, and how its lists are read span by span.

An order is placed, found and cancelled in the exchange's own words: ccxt would leave our id of it out, add a tag of its
own, and ask with an empty id beside ours. What is read elsewhere is read by ccxt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from node_agent.core import ids
from node_agent.core.market import Conduct, ExchangeOrder, ExchangeStatus, OrderRequest, OrderType, TimeInForce
from node_agent.exchanges.failures import DuplicateOrder, NoSuchOrder
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused
from node_agent.exchanges.profile import Credential, KeyCheck, Opening, Profile
from node_agent.exchanges.reading import milliseconds_of, order_of, time_of
from node_agent.exchanges.spot import SpotExchange, exact, legible
from node_agent.exchanges.traits import Meaning, Pace, Traits

NAME: Final = "cryptocom"

PROFILE: Final = Profile(
    name=NAME,
    title="Crypto.com",
    credentials=(
        Credential(
            "key", "API key", re.compile(r"[A-Za-z0-9]{16,64}", re.ASCII), "about 22 letters and digits", hidden=False
        ),
        Credential(
            "secret",
            "secret key",
            re.compile(r"(?:cxakp_)?[A-Za-z0-9]{16,64}", re.ASCII),
            "about 22 letters and digits, mostly with cxakp_ before them",
        ),
    ),
    key_check=KeyCheck.ATTESTED,
    switch_off="crypto.com/exchange, User Center, API",
    example_symbol="BTC/USD",
    order_types=("market", "limit"),
)

_CREATE: Final = "v1PrivatePostPrivateCreateOrder"
_CANCEL: Final = "v1PrivatePostPrivateCancelOrder"
_DETAIL: Final = "v1PrivatePostPrivateGetOrderDetail"

_NONCE_HOLDS: Final = timedelta(seconds=60)
"""How far a request's time may be from the exchange's, to either side."""
_ORDERS_SPAN: Final = timedelta(days=1)
"""How much time one answer on orders may cover; of trades it is `trades_span`."""
_BEFORE_ORDER: Final = timedelta(minutes=1)
"""How much earlier than its order a trade is looked for: they are not stamped in the same place."""

_LIMITS: Final = (
    # Trades and old orders may each be asked for once a second, which ccxt takes for 100 of its units of cost. One
    # question of that kind empties this bucket so far that the next waits for more than a second.
    Limit("cost_2500ms", Counted.WEIGHT, 300, 2.5),
    Limit("orders_100ms", Counted.ORDERS, 15, 0.1),
)

_STATUSES: Final = {
    "NEW": ExchangeStatus.OPEN,
    "PENDING": ExchangeStatus.OPEN,
    "ACTIVE": ExchangeStatus.OPEN,
    "FILLED": ExchangeStatus.FILLED,
    "CANCELED": ExchangeStatus.CANCELLED,
    "EXPIRED": ExchangeStatus.EXPIRED,
    "REJECTED": ExchangeStatus.REJECTED,
}

_LIFETIMES: Final = {TimeInForce.GTC: "GOOD_TILL_CANCEL", TimeInForce.IOC: "IMMEDIATE_OR_CANCEL"}

# 43003, 43004 and 43012 are not here: they tell of an order that was taken on, and may have been filled in part.
# 40006 is not: the request that it calls a duplicate may have been carried out the first time.
_REFUSED: Final = (
    *(202, 203, 206, 207, 208, 209, 210, 211, 213, 214, 215, 217, 218, 219, 220, 221, 222, 223, 224, 225, 226),
    *(227, 228, 229, 230, 301, 302, 303, 304, 305, 306, 308, 309, 310, 311, 312, 313, 314, 315, 318, 319, 320, 321),
    *(325, 401, 406, 407, 408, 409, 410, 411, 412, 501, 604, 605, 606, 1110, 10004, 10008, 10009, 30003, 30004),
    *(30005, 30006, 30007, 30008, 30009, 30010, 30013, 30014, 30016, 30017, 30023, 30024, 30025, 40001, 40002, 40003),
    *(40004, 40005, 43005),
)

_MEANINGS: Final = {
    **dict.fromkeys((str(code) for code in _REFUSED), Meaning.REFUSED),
    **dict.fromkeys(("212", "307", "316", "40401", "130008"), Meaning.NO_SUCH_ORDER),
    **dict.fromkeys(("10002", "10003", "10005", "40101", "40103", "40104"), Meaning.KEY),
    **dict.fromkeys(("10006", "42901"), Meaning.TOO_MANY),
    **dict.fromkeys(("10007", "40102"), Meaning.CLOCK),
    "204": Meaning.DUPLICATE,
    "415": Meaning.TOO_SMALL,  # it tells nowhere what is not
}


def _error_of(status: int, body: Any) -> tuple[str, str] | None:
    if not isinstance(body, dict):
        return "", "an answer that cannot be read"
    code, message = str(body.get("code", "")), str(body.get("message", ""))
    # ccxt would take an answer without a result for an account without orders.
    if status < 400 and code == "0" and isinstance(body.get("result"), dict):
        return None
    return ("", "an answer without its result") if code == "0" else (code, message)


TRAITS: Final = Traits(
    name=NAME,
    # Nothing tells how far our clock is off. A request is taken until its time is a minute old; stamped by a clock that
    # is a minute ahead, it is good for two.
    conduct=Conduct(
        settles_within=2 * _NONCE_HOLDS,
        ids_unique_for_ever=False,
        order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    ),
    limits=_LIMITS,
    weight_per_cost=1,
    error_of=_error_of,
    meanings=_MEANINGS,
    sure_at_500=frozenset((Meaning.REFUSED, Meaning.TOO_SMALL, Meaning.NO_SUCH_ORDER)),
    duplicate_messages=frozenset(),
    new_id="client_oid",
    known_id="client_oid",
    cancelled_id="client_oid",
    stop="",
    acting=lambda _method, path: path in {"private/create-order", "private/cancel-order"},
    orders=lambda _method, path: path == "private/create-order",
    acknowledges=True,
    has_clock=False,
    pause=5.0,
    statuses=_STATUSES,
    options={"defaultType": "spot"},
    # A week is what one answer covers at most; a node that starts waits for four of them, a second each.
    looks_back=timedelta(days=24),
    trades_span=timedelta(days=6),
    page=100,
    pace=Pace(patience=5.0),
)


def open_exchange(opening: Opening) -> CryptoCom:
    """One account on Crypto.com, for one symbol."""
    from node_agent.exchanges.through_ccxt import connect  # noqa: PLC0415  (a profile needs none of it)

    return CryptoCom(connect(TRAITS, opening), TRAITS, symbol=opening.symbol, interval=opening.interval)


class CryptoCom(SpotExchange):
    """Trades tell our ids of their orders. Of trades from before any that we know, it goes back 24 days."""

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        """Place it, once. An id that the exchange knows answers with that order."""
        await self._be_ready()
        wanted = self._wanted(request, await self._instrument())

        def read(raw: Any) -> ExchangeOrder:
            if raw["result"]["client_oid"] != wanted["client_oid"]:
                raise ValueError("another order than the one that was placed")
            return self._seen(
                ExchangeOrder(
                    client_order_id=request.client_order_id,
                    exchange_order_id=_acknowledged(raw),
                    symbol=request.symbol,
                    status=ExchangeStatus.OPEN,
                    amount=request.amount,
                    filled=Decimal(0),
                )
            )

        try:
            order = await self._line.ask(read, _CREATE, wanted, acts=True)
        except DuplicateOrder:
            return await self._first(request)
        self._follower.note(order)
        return order

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders of the account on the symbol that were placed since; the open ones have a list of their own."""
        await self._be_ready()
        raws = await self._line.ask(list, "fetch_open_orders", self._symbol)
        raws += await self._told("fetch_orders", since, _ORDERS_SPAN)
        with legible():
            placed = {str(raw["id"]): raw for raw in raws if raw["timestamp"] >= milliseconds_of(since)}
            return [self._read_order(raw) for raw in placed.values()]

    async def _found(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        try:
            known = self._exchange_ids.get(client_order_id)
            return await self._under_ours(client_order_id) if known is None else await self.order(known)
        except NoSuchOrder:
            return await self._listed(client_order_id)

    async def _cancelled(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """It says no more than that it will see to it, so the order is asked for."""
        ours = {"client_oid": self._written(client_order_id)}
        await self._line.ask(_acknowledged, _CANCEL, ours, acts=True)
        return await self._under_ours(client_order_id)

    async def _raw_trades(self, since: datetime | None) -> Sequence[Any]:
        """Span by span, with the ids that they carry taken in."""
        if since is None:
            since = await self.exchange_now() - self._traits.looks_back
        trades = await self._told("fetch_my_trades", since, self._traits.trades_span)
        with legible():
            carried = ((raw["info"].get("client_oid"), str(raw["order"])) for raw in trades)
            self.know((ids.read(ours, self.conduct.id_form), theirs) for ours, theirs in carried if ours)
            # It may leave empty which side of a trade somebody was.
            return [{**raw, "takerOrMaker": raw["takerOrMaker"] or "taker"} for raw in trades]

    async def _raw_trades_of(self, exchange_order_id: str) -> Sequence[Any]:
        """Those since it was placed, for trades are not told by order."""

        def read(raw: Any) -> datetime:
            return time_of(raw["timestamp"])

        placed = await self._line.ask(read, "fetch_order", exchange_order_id, self._symbol)
        return [raw for raw in await self._raw_trades(placed - _BEFORE_ORDER) if str(raw["order"]) == exchange_order_id]

    async def _told(self, method: str, since: datetime, span: timedelta) -> list[Any]:
        """All that a list has since a time. The last span has no end: the exchange's clock may be ahead of ours."""
        now = await self.exchange_now()
        raws: dict[str, Any] = {}
        while True:
            until = since + span
            ended = until >= now
            page = await self._between(method, _nanoseconds(since), None if ended else _nanoseconds(until))
            with legible():
                raws |= {str(raw["id"]): raw for raw in page}
            if ended:
                return list(raws.values())
            since = until

    async def _between(self, method: str, since: int, until: int | None) -> list[Any]:
        """All that a list has from a moment to just before another, in nanoseconds.

        A page that is full is asked for again in two parts: which end of a span is left out when there is more than a
        page of it is not documented, and no moment may fall between two pages.
        """
        asked = {"start_time": str(since)} | ({} if until is None else {"end_time": str(until)})
        page = await self._line.ask(list, method, self._symbol, None, self._traits.page, asked)
        if len(page) < self._traits.page:
            return page
        with legible():
            moments = sorted(int(raw["info"]["create_time_ns"]) for raw in page)
        middle = max(moments[len(moments) // 2], since + 1)
        if until is not None:
            middle = min(middle, until - 1)
        if middle <= since:
            raise ExchangeUnavailable(f"{self.name} has more at one moment than it tells of")
        return await self._between(method, since, middle) + await self._between(method, middle, until)

    async def _under_ours(self, client_order_id: str) -> ExchangeOrder:
        instrument = await self._instrument()

        def read(raw: Any) -> ExchangeOrder:
            order = raw["result"]
            if order["instrument_name"] != instrument:
                raise ValueError("an order of another symbol")
            return self._seen(order_of(_as_ccxt(order, self._symbol), self._traits.statuses))

        return await self._line.ask(read, _DETAIL, {"client_oid": self._written(client_order_id)})

    async def _instrument(self) -> str:
        """The exchange's name of the symbol. Nothing is sent: its markets are there."""

        def read(raw: Any) -> str:
            return str(raw[self._symbol]["id"])

        return await self._line.ask(read, "load_markets")

    def _wanted(self, request: OrderRequest, instrument: str) -> Mapping[str, str]:
        """An order as the exchange takes it. SPOT says that nothing may be borrowed for it."""
        if request.type is OrderType.STOP:
            raise OrderRefused(
                f"not sent: {self.name} takes stop orders in a place of their own, which ccxt does not know"
            )
        wanted = {
            "instrument_name": instrument,
            "side": request.side.upper(),
            "type": request.type.upper(),
            "quantity": exact(request.amount),
            "client_oid": self._written(request.client_order_id),
            "spot_margin": "SPOT",
        }
        if request.type is OrderType.LIMIT:
            wanted |= {"price": exact(request.price), "time_in_force": _LIFETIMES[request.time_in_force]}
        return wanted


def _acknowledged(raw: Any) -> str:
    """The exchange's id of an order that it says it has heard of. Raises ValueError where it names none."""
    if not raw["result"]["order_id"]:
        raise ValueError("an order without its id")
    return str(raw["result"]["order_id"])


def _as_ccxt(order: Mapping[str, Any], symbol: str) -> Mapping[str, Any]:
    """An order of the exchange's under the names that ccxt would give its members."""
    return {
        "id": order["order_id"],
        "clientOrderId": order["client_oid"],
        "symbol": symbol,
        "status": order["status"],
        "amount": order["quantity"],
        "filled": order["cumulative_quantity"],
        "average": order["avg_price"],
    }


def _nanoseconds(at: datetime) -> int:
    return milliseconds_of(at) * 1_000_000
