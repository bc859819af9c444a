"""Kraken as one thing that answers requests: who asks, in which order, what for, and may they."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

from tests.kraken import wire
from tests.kraken.books import KrakenBooks
from tests.kraken.params import Params
from tests.kraken.refusals import Said, words
from tests.kraken.signing import signature
from tests.venue.app import Venue
from tests.venue.books import Books
from tests.venue.http import Answer, HttpRequest
from tests.venue.market import Market, Rules
from tests.venue.orders import Ask, Order
from tests.venue.refusals import Refused
from tests.venue.writing import as_json

PUBLIC: Final = "/0/public/"
PRIVATE: Final = "/0/private/"
FORM: Final = "application/x-www-form-urlencoded"
CLIENT_ID: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}|[0-9a-z]{1,18}"
PAGE: Final = 50
ORDERS_AT_ONCE: Final = 50
TRADES_AT_ONCE: Final = 20
MINUTES: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
CANDLES: Final = 120
"""Kraken has 720; the symbols here are listed since lately."""
DEADLINE: Final = (2.0, 60.0)
"""How many seconds ahead it may be."""
MOST_CALLS: Final = 20.0
CALLS_BACK: Final = 0.5
"""The counter of calls, and what it loses a second: of the middle tier."""
COSTS: Final = {"TradesHistory": 2.0, "AddOrder": 0.0, "CancelOrder": 0.0}
READ_OPEN, READ_CLOSED = "query-open-trades", "query-closed-trades"
NEEDED: Final = {
    "BalanceEx": {"query-funds"},
    "AddOrder": {"modify-trades"},
    "CancelOrder": {"modify-trades", "close-trades"},
    "OpenOrders": {READ_OPEN},
    "ClosedOrders": {READ_CLOSED},
    "QueryOrders": {READ_OPEN, READ_CLOSED},
    "TradesHistory": {READ_CLOSED},
    "QueryTrades": {READ_CLOSED},
}
"""One of these permissions is enough."""
TRADING: Final = ("query-funds", READ_OPEN, READ_CLOSED, "modify-trades", "close-trades")


class Kraken(Venue):
    """One account with one key, whose requests come in order."""

    listed: ClassVar[Mapping[str, Rules]] = {
        "XXBTZUSD": Rules(
            "XXBTZUSD",
            "XXBT",
            "ZUSD",
            Decimal(40000),
            tick=Decimal("0.1"),
            step=Decimal("0.00000001"),
            least=Decimal("0.00005"),
            notional=Decimal("0.5"),
        ),
        "XLTCZUSD": Rules(
            "XLTCZUSD",
            "XLTC",
            "ZUSD",
            Decimal(70),
            step=Decimal("0.00000001"),
            least=Decimal("0.05"),
            notional=Decimal("0.5"),
        ),
    }
    deposits: ClassVar[Mapping[str, str]] = {"ZUSD": "100000", "XXBT": "5"}
    trade_only: ClassVar[Mapping[str, Any]] = {
        "apiKeyName": "node",
        "nonceWindow": 0,
        "permissions": TRADING,
        "iban": "AA88 N84G WOAK NMOI",
        "validUntil": "0",
        "queryFrom": "0",
        "queryTo": "0",
        "createdTime": "1772542900",
        "modifiedTime": "1772543095",
        "ipAllowlist": [],
        "lastUsed": "1772627061",
    }
    keeps: ClassVar[type[Books]] = KrakenBooks
    order_paths: ClassVar[tuple[str, ...]] = tuple(
        f"{PRIVATE}{each}" for each in ("AddOrder", "CancelOrder", "OpenOrders", "ClosedOrders", "QueryOrders")
    )

    def reset(self) -> None:
        """New books, faults and counts; numbers of requests may begin anew."""
        super().reset()
        self._nonce = 0
        self._calls, self._counted_at = 0.0, self.clock.now()

    def perform(self, request: HttpRequest) -> Answer:
        """Check the request and do what it asks. Raises Refused."""
        if request.method == "GET" and request.path.startswith(PUBLIC):
            return _done(self._public(request.path.removeprefix(PUBLIC), Params(request.query)))
        if request.method == "POST" and request.path.startswith(PRIVATE):
            endpoint = request.path.removeprefix(PRIVATE)
            params = self._admitted(request, endpoint)
            return _done(self._private(endpoint, params))
        raise Said("EGeneral:Unknown method")

    def refused(self, refused: Refused) -> Answer:
        """A refusal in Kraken's words."""
        return as_json({"error": [words(refused)]})

    def unavailable(self) -> Answer:
        """What the front says when it hears nothing from behind."""
        return Answer(502, b"<html><body>502 Bad Gateway</body></html>", content="text/html")

    def _admitted(self, request: HttpRequest, endpoint: str) -> Params:
        """The parameters of a request that is this key's, signed, in order, not too many, and allowed."""
        if not self.valid or request.headers.get("api-key") != self.key["key"]:
            raise Said("EAPI:Invalid key")
        if request.query or request.headers.get("content-type", "").partition(";")[0] != FORM:
            raise Said("EGeneral:Invalid arguments")
        params = Params(request.body)
        nonce = params.text("nonce", r"[0-9]{1,19}")
        expected = signature(request.path, nonce, request.body, self.key["secret"])
        if not hmac.compare_digest(expected, request.headers.get("api-sign", "")):
            raise Said("EAPI:Invalid signature")
        if int(nonce) <= self._nonce:
            raise Said("EAPI:Invalid nonce")
        self._nonce = int(nonce)
        self._count(COSTS.get(endpoint, 1.0))
        needed = NEEDED.get(endpoint)
        if needed is not None and not needed & set(self.permissions["permissions"]):
            raise Said("EGeneral:Permission denied")
        return params

    def _count(self, cost: float) -> None:
        now = self.clock.now()
        self._calls = max(0.0, self._calls - max(0, now - self._counted_at) / 1000 * CALLS_BACK)
        self._counted_at = now
        if self._calls + cost > MOST_CALLS:
            raise Said("EAPI:Rate limit exceeded")
        self._calls += cost

    def _public(self, endpoint: str, params: Params) -> Any:
        now = self.books.advance()
        match endpoint:
            case "Time":
                params.finish()
                at = datetime.fromtimestamp(now // 1000).astimezone()
                return {"unixtime": now // 1000, "rfc1123": at.strftime("%a, %d %b %y %H:%M:%S %z")}
            case "AssetPairs":
                asked = params.optional("pair")
                params.finish()
                symbols = list(self.listed) if asked is None else [self._symbol(each) for each in asked.split(",")]
                return {symbol: wire.PAIRS[symbol] for symbol in symbols}
            case "Ticker":
                symbol, market = self._market(params)
                params.finish()
                return {symbol: wire.ticker(market.price(now), market.rules.tick)}
            case "Depth":
                symbol, market = self._market(params)
                levels = params.whole("count", 100)
                params.finish()
                return {symbol: wire.depth(market.price(now), market.rules.tick, min(levels, 500), now)}
            case "OHLC":
                symbol, market = self._market(params)
                minutes, since = params.whole("interval", 1), params.whole("since")
                params.finish()
                if minutes not in MINUTES:
                    raise Said("EGeneral:Invalid arguments:interval")
                rows = wire.candles(market, minutes, since, now, CANDLES)
                return {symbol: rows, "last": rows[-2][0] if len(rows) > 1 else rows[-1][0]}
        raise Said("EGeneral:Unknown method")

    def _private(self, endpoint: str, params: Params) -> Any:
        now = self.books.advance()
        endpoints: dict[str, Callable[[Params, int], Any]] = {
            "GetApiKeyInfo": self._key_info,
            "BalanceEx": self._balances,
            "AddOrder": self._add_order,
            "CancelOrder": self._cancel_order,
            "OpenOrders": self._open_orders,
            "ClosedOrders": self._closed_orders,
            "QueryOrders": self._query_orders,
            "TradesHistory": self._trades_history,
            "QueryTrades": self._query_trades,
        }
        if endpoint not in endpoints:
            raise Said("EGeneral:Unknown method")
        return endpoints[endpoint](params, now)

    def _key_info(self, params: Params, now: int) -> Any:
        params.finish()
        return {**self.permissions, "apiKey": self.key["key"], "nonce": str(self._nonce)}

    def _balances(self, params: Params, now: int) -> Any:
        params.finish()
        return {
            asset: {
                "balance": wire.amount(free + self.books.locked[asset], 10),
                "hold_trade": wire.amount(self.books.locked[asset], 10),
            }
            for asset, free in self.books.free.items()
        }

    def _add_order(self, params: Params, now: int) -> Any:
        symbol = self._symbol(params.text("pair"))
        kind = params.text("ordertype", "market|limit|stop-loss")
        price = params.decimal("price")
        ask = Ask(
            symbol,
            params.text("type", "buy|sell").upper(),
            {"market": "MARKET", "limit": "LIMIT", "stop-loss": "STOP_LOSS"}[kind],
            params.optional("cl_ord_id", CLIENT_ID) or "",
            quantity=params.decimal("volume"),
            price=price if kind == "limit" else None,
            stop_price=price if kind == "stop-loss" else None,
            time_in_force=params.optional("timeinforce", "GTC|IOC") or "GTC",
        )
        deadline = params.optional("deadline", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
        params.optional("oflags", "fciq")
        params.finish()
        if deadline is not None:
            self._in_time(datetime.fromisoformat(deadline), now)
        if ask.quantity is None or (price is None) is not (kind == "market"):
            raise Said("EGeneral:Invalid arguments")
        order = self.books.place(ask)
        return {"txid": [wire.name("O", order.id)], "descr": {"order": wire.description(order)}}

    def _in_time(self, deadline: datetime, now: int) -> None:
        ahead = deadline.timestamp() - now / 1000
        if ahead < 0:
            raise Said("EService:Deadline elapsed")
        if not DEADLINE[0] <= ahead <= DEADLINE[1]:
            raise Said("EGeneral:Invalid arguments:deadline")

    def _cancel_order(self, params: Params, now: int) -> Any:
        txid, client_id = params.optional("txid"), params.optional("cl_ord_id", CLIENT_ID)
        params.finish()
        if (txid is None) is (client_id is None):
            raise Said("EGeneral:Invalid arguments")
        if txid is not None:
            order = self._orders([txid])[0]
            self.books.cancel(order.symbol, order.id, None)
            return {"count": 1}
        for order in self.books.open():
            if order.client_id == client_id:
                self.books.cancel(order.symbol, order.id, None)
                return {"count": 1}
        raise Said("EOrder:Unknown order")

    def _open_orders(self, params: Params, now: int) -> Any:
        client_id = params.optional("cl_ord_id", CLIENT_ID)
        params.finish()
        orders = [each for each in reversed(self.books.open()) if client_id in (None, each.client_id)]
        return {"open": {wire.name("O", each.id): wire.order(each, trades=False) for each in orders}}

    def _closed_orders(self, params: Params, now: int) -> Any:
        client_id = params.optional("cl_ord_id", CLIENT_ID)
        start, offset = params.whole("start"), params.whole("ofs")
        by = params.optional("closetime", "open|close|both") or "both"
        params.finish()

        def times(order: Order) -> Iterable[int]:
            return {"open": (order.at,), "close": (order.updated,), "both": (order.at, order.updated)}[by]

        orders = [
            each
            for each in reversed(self.books.orders)
            if not each.open and client_id in (None, each.client_id) and max(times(each)) > start * 1000
        ]
        page = orders[offset : offset + PAGE]
        return {
            "closed": {wire.name("O", each.id): wire.order(each, trades=False) for each in page},
            "count": len(orders),
        }

    def _query_orders(self, params: Params, now: int) -> Any:
        txids = params.text("txid").split(",")
        trades = params.optional("trades", "true|false") == "true"
        params.optional("consolidate_taker", "true|false")
        params.finish()
        if len(txids) > ORDERS_AT_ONCE:
            raise Said("EGeneral:Invalid arguments:txid")
        return {wire.name("O", each.id): wire.order(each, trades=trades) for each in self._orders(txids)}

    def _trades_history(self, params: Params, now: int) -> Any:
        start, offset = params.whole("start"), params.whole("ofs")
        params.optional("consolidate_taker", "true|false")
        params.finish()
        trades = [each for each in reversed(self.books.trades) if each.at > start * 1000]
        page = trades[offset : offset + PAGE]
        return {"trades": self._shown(each.id for each in page), "count": len(trades)}

    def _query_trades(self, params: Params, now: int) -> Any:
        txids = params.text("txid").split(",")
        params.finish()
        numbers = {wire.number("T", each) for each in txids}
        known = [each.id for each in self.books.trades if each.id in numbers]
        if len(known) != len(txids) or len(txids) > TRADES_AT_ONCE:
            raise Said("EGeneral:Invalid arguments:txid")
        return self._shown(known)

    def _shown(self, numbers: Iterable[int]) -> Any:
        trades = {each.id: each for each in self.books.trades}
        orders = {each.id: each for each in self.books.orders}
        return {
            wire.name("T", number): wire.trade(trades[number], orders[trades[number].order_id]) for number in numbers
        }

    def _orders(self, txids: Iterable[str]) -> list[Order]:
        orders = {each.id: each for each in self.books.orders}
        found = [orders.get(wire.number("O", txid) or 0) for txid in txids]
        if None in found:
            raise Said("EOrder:Invalid order")
        return [each for each in found if each is not None]

    def _market(self, params: Params) -> tuple[str, Market]:
        symbol = self._symbol(params.text("pair"))
        return symbol, self.books.market(symbol)

    def _symbol(self, asked: str) -> str:
        for symbol in self.listed:
            if asked in (symbol, wire.PAIRS[symbol]["altname"], wire.PAIRS[symbol]["wsname"]):
                return symbol
        raise Said("EQuery:Unknown asset pair")


def _done(result: Any) -> Answer:
    return as_json({"error": [], "result": result})
