"""OKX itself: who may ask, what for, and in which words it is answered."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, TypeVar

from tests.okx import wire
from tests.okx.parameters import CLIENT_ID, Parameters
from tests.okx.refusals import OrderRefused, because, of_books, wrong
from tests.okx.signing import sign
from tests.venue.app import Venue
from tests.venue.http import Answer, HttpRequest
from tests.venue.market import Rules, whole
from tests.venue.orders import Ask, Order, Trade
from tests.venue.refusals import Refused
from tests.venue.writing import as_json

T = TypeVar("T")

EXPIRES: Final = 30_000
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
LATE: Final = 60_000
"""How late the list of all fills is with a fill."""
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_BARS: Final = {"1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "1H": HOUR, "1Dutc": DAY}
_ENDED: Final = ("canceled", "filled", "mmp_canceled")
_TYPES: Final = {
    "limit": ("LIMIT", "GTC"),
    "ioc": ("LIMIT", "IOC"),
    "fok": ("LIMIT", "FOK"),
    "post_only": ("LIMIT_MAKER", "GTC"),
    "market": ("MARKET", "GTC"),
}

Endpoint = Callable[["Okx", Parameters], list[Any]]


class Okx(Venue):
    """An account in the mode for spot trading."""

    listed: ClassVar[Mapping[str, Rules]] = {
        name: Rules(name, base, "USDT", Decimal(opening), tick, Decimal(step), Decimal(least), notional=Decimal(0))
        for name, base, opening, tick, step, least in (
            ("BTC-USDT", "BTC", 40_000, Decimal("0.1"), "0.00000001", "0.00001"),
            ("ETH-USDT", "ETH", 2500, Decimal("0.01"), "0.000001", "0.001"),
        )
    }
    deposits: ClassVar[Mapping[str, str]] = {"USDT": "100000", "BTC": "5"}
    trade_only: ClassVar[Mapping[str, Any]] = {
        "acctLv": "1",
        "acctStpMode": "cancel_maker",
        "autoLoan": False,
        "ctIsoMode": "automatic",
        "enableSpotBorrow": False,
        "greeksType": "PA",
        "ip": "",
        "kycLv": "3",
        "label": "node",
        "level": "Lv1",
        "levelTmp": "",
        "liquidationGear": "-1",
        "mainUid": "44705892343619584",
        "mgnIsoMode": "automatic",
        "opAuth": "0",
        "perm": "read_only,trade",
        "posMode": "net_mode",
        "roleType": "0",
        "spotBorrowAutoRepay": False,
        "spotOffsetType": "",
        "spotRoleType": "0",
        "spotTraderInsts": [],
        "traderInsts": [],
        "type": "0",
        "uid": "44705892343619584",
    }
    order_paths = ("/api/v5/trade/order", "/api/v5/trade/cancel-order")

    def perform(self, request: HttpRequest) -> Answer:
        """Who asks, then what for."""
        route = _ROUTES.get((request.method, request.path))
        if route is None:
            raise because(404)
        private, endpoint = route
        if private:
            self._authenticate(request)
        parameters = Parameters.of(request)
        self.books.advance()
        try:
            data = endpoint(self, parameters)
        except OrderRefused:
            raise
        except Refused as refused:
            raise (of_books(refused) if refused.code < 0 else refused) from None
        told = {"code": "0", "data": data, "msg": ""}
        return self._answer(200, told if request.method == "GET" else told | self._times())

    def refused(self, refused: Refused) -> Answer:
        """An order's refusal is a success of HTTP, and of the answer nearly."""
        if isinstance(refused, OrderRefused):
            row = {
                "clOrdId": refused.client_id,
                "ordId": refused.order_id,
                "sCode": str(refused.code),
                "sMsg": refused.message,
                "subCode": "1000" if refused.code == 51008 else "",
                "tag": "",
                "ts": str(self.clock.now()),
            }
            return self._answer(200, {"code": "1", "data": [row], "msg": "All operations failed"} | self._times())
        if refused.status == 401:
            return self._answer(401, {"msg": refused.message, "code": str(refused.code)})
        return self._answer(refused.status, {"code": str(refused.code), "data": [], "msg": refused.message})

    def unavailable(self) -> Answer:
        """The same whether something was done or not."""
        message = "Service temporarily unavailable. Please try again later."
        return self._answer(503, {"code": "50001", "data": [], "msg": message})

    def _times(self) -> dict[str, str]:
        return {"inTime": f"{self.clock.now()}339", "outTime": f"{self.clock.now()}421"}

    @staticmethod
    def _answer(status: int, told: Mapping[str, Any]) -> Answer:
        return as_json(told, status)

    def _authenticate(self, request: HttpRequest) -> None:
        given = {
            name: request.headers.get(f"ok-access-{name}", "") for name in ("key", "passphrase", "sign", "timestamp")
        }
        for name, code in (("key", 50103), ("passphrase", 50104), ("sign", 50106), ("timestamp", 50107)):
            if not given[name]:
                raise because(code)
        if given["key"] != self.key["key"]:
            raise because(50111)
        if not self.valid:
            raise because(50119)
        if not _STAMP.fullmatch(given["timestamp"]):
            raise because(50112)
        stamped = datetime.fromisoformat(given["timestamp"]).timestamp() * 1000
        if abs(stamped - self.clock.now()) > EXPIRES:
            raise because(50102)
        if given["passphrase"] != self.key["passphrase"]:
            raise because(50105)
        target = f"{request.path}?{request.query}" if request.query else request.path
        expected = sign(self.key["secret"], given["timestamp"], request.method, target, request.body)
        if not hmac.compare_digest(expected, given["sign"]):
            raise because(50113)

    # What may be asked.

    def time(self, parameters: Parameters) -> list[Any]:
        """GET public/time."""
        parameters.finish()
        return [{"ts": str(self.clock.now())}]

    def instruments(self, parameters: Parameters) -> list[Any]:
        """GET public/instruments."""
        if parameters.text("instType") != "SPOT":
            raise wrong("instType")
        name = parameters.optional("instId")
        parameters.finish()
        markets = [self.books.market(name)] if name else list(self.books.markets.values())
        return [wire.instrument(each) for each in markets]

    def ticker(self, parameters: Parameters) -> list[Any]:
        """GET market/ticker."""
        market = self.books.market(parameters.text("instId"))
        parameters.finish()
        return [wire.ticker(market, self.clock.now())]

    def book(self, parameters: Parameters) -> list[Any]:
        """GET market/books."""
        market = self.books.market(parameters.text("instId"))
        levels = parameters.whole("sz")
        parameters.finish()
        return [wire.book(market, min(levels or 1, 400), self.clock.now())]

    def candles(self, parameters: Parameters) -> list[Any]:
        """GET market/candles and market/history-candles: neither `before` nor `after` is among the answer."""
        market = self.books.market(parameters.text("instId"))
        bar = parameters.choice("bar", _BARS) or "1m"
        before, after = parameters.whole("before"), parameters.whole("after")
        limit = parameters.limit(100, 300)
        parameters.finish()
        now, length = self.clock.now(), _BARS[bar]
        last = now // length if after is None else min(now, after - 1) // length
        first = last - limit + 1 if before is None else max(before // length + 1, last - limit + 1)
        rows = [market.candle(each * length, length, now) for each in range(last, first - 1, -1)]
        return [wire.candle(each, length, now) for each in rows]

    def config(self, parameters: Parameters) -> list[Any]:
        """GET account/config."""
        parameters.finish()
        return [self.permissions]

    def balance(self, parameters: Parameters) -> list[Any]:
        """GET account/balance."""
        parameters.finish()
        return [wire.balance(self.books, self.clock.now())]

    def place(self, parameters: Parameters) -> list[Any]:
        """POST trade/order."""
        client_id = parameters.optional("clOrdId", CLIENT_ID) or ""
        symbol, mode = parameters.text("instId"), parameters.text("tdMode")
        if mode not in {"cash", "cross", "isolated"}:
            raise wrong("tdMode")
        side = parameters.text("side", "buy|sell").upper()
        kind = parameters.text("ordType", "|".join(_TYPES))
        quantity = parameters.amount("sz")
        price = None if kind == "market" else parameters.amount("px")
        target = parameters.choice("tgtCcy", ("base_ccy", "quote_ccy"))
        firm = parameters.flag("banAmend") if kind == "market" else False
        parameters.finish()
        if quantity is None or (price is None and kind != "market"):
            raise because(50014, f"Parameter {'sz' if quantity is None else 'px'} can not be empty.")
        type_, time_in_force = _TYPES[kind]
        in_quote = kind == "market" and (target or ("quote_ccy" if side == "BUY" else "base_ccy")) == "quote_ccy"
        try:
            if mode != "cash":
                raise because(51010)
            if not in_quote and quantity < self.books.market(symbol).rules.least:
                raise because(51020)
            if kind == "market" and not firm and not in_quote:
                quantity = self._affordable(symbol, side, quantity)
            order = self.books.place(
                Ask(
                    symbol,
                    side,
                    type_,
                    client_id,
                    quantity=None if in_quote else quantity,
                    quote_quantity=quantity if in_quote else None,
                    price=price,
                    time_in_force=time_in_force,
                )
            )
        except Refused as refused:
            raise OrderRefused(of_books(refused) if refused.code < 0 else refused, client_id) from None
        return [self._done(order) | {"tag": "", "subCode": ""}]

    def cancel(self, parameters: Parameters) -> list[Any]:
        """POST trade/cancel-order."""
        symbol, order_id, client_id = self._named(parameters)
        try:
            order = self.books.cancel(symbol, order_id, client_id)
        except Refused as refused:
            raise OrderRefused(of_books(refused), client_id or "", str(order_id or "")) from None
        return [self._done(order)]

    def one_order(self, parameters: Parameters) -> list[Any]:
        """GET trade/order."""
        symbol, order_id, client_id = self._named(parameters)
        order = self.books.find(symbol, order_id, client_id)
        if self._forgotten(order):
            raise because(51603)
        return [self._shown(order)]

    def open_orders(self, parameters: Parameters) -> list[Any]:
        """GET trade/orders-pending."""
        symbol = parameters.optional("instId")
        states = parameters.choice("state", ("live", "partially_filled"))
        orders = [each for each in self.books.open(symbol) if states in (None, wire.STATES[each.status])]
        page = _page(orders, parameters, lambda order: order.id, None)
        return [self._shown(order) for order in page]

    def ended_orders(self, parameters: Parameters) -> list[Any]:
        """GET trade/orders-history: a week of them, and two hours of those of which nothing was filled."""
        symbol = parameters.optional("instId")
        if parameters.text("instType") != "SPOT":
            raise wrong("instType")
        state = parameters.choice("state", _ENDED)
        orders = [
            each
            for each in self.books.orders
            if not each.open
            and symbol in (None, each.symbol)
            and state in (None, wire.STATES[each.status])
            and each.updated > self.clock.now() - 7 * DAY
            and not self._forgotten(each)
        ]
        page = _page(orders, parameters, lambda order: order.id, lambda order: order.at, nearest_begin=True)
        return [self._shown(order) for order in page]

    def recent_fills(self, parameters: Parameters) -> list[Any]:
        """GET trade/fills: of three days."""
        return self._fills(parameters, lambda trade: trade.at > self.clock.now() - 3 * DAY)

    def all_fills(self, parameters: Parameters) -> list[Any]:
        """GET trade/fills-history: of three months, but late."""
        now = self.clock.now()
        return self._fills(parameters, lambda trade: now - 92 * DAY < trade.at < now - LATE)

    def _fills(self, parameters: Parameters, told: Callable[[Trade], bool]) -> list[Any]:
        symbol, order_id = parameters.optional("instId"), parameters.whole("ordId")
        if parameters.text("instType") != "SPOT":
            raise wrong("instType")
        trades = [
            each
            for each in self.books.trades
            if told(each) and symbol in (None, each.symbol) and order_id in (None, each.order_id)
        ]
        page = _page(trades, parameters, wire.bill, lambda trade: trade.at)
        return [wire.filled(each, self.books.market(each.symbol).rules.quote) for each in page]

    def _named(self, parameters: Parameters) -> tuple[str, int | None, str | None]:
        """Symbol and one of both ids: theirs goes before ours."""
        symbol, order_id = parameters.text("instId"), parameters.whole("ordId")
        client_id = parameters.optional("clOrdId", CLIENT_ID)
        parameters.finish()
        self.books.market(symbol)
        if order_id is None and client_id is None:
            raise because(50015, "Either parameter ordId or clOrdId is required")
        return symbol, order_id, None if order_id is not None else client_id

    def _affordable(self, symbol: str, side: str, quantity: Decimal) -> Decimal:
        """As much of a market order as the account has the money for."""
        market = self.books.market(symbol)
        free = self.books.free[market.rules.quote if side == "BUY" else market.rules.base]
        most = free / market.price(self.clock.now()) if side == "BUY" else free
        return min(quantity, whole(most, market.rules.step))

    def _forgotten(self, order: Order) -> bool:
        """Of an order that was cancelled with nothing filled nothing is known after two hours."""
        return not order.open and not order.executed and order.updated < self.clock.now() - 2 * HOUR

    def _done(self, order: Order) -> dict[str, str]:
        now = str(self.clock.now())
        return {"clOrdId": order.client_id, "ordId": str(order.id), "ts": now, "sCode": "0", "sMsg": ""}

    def _shown(self, order: Order) -> dict[str, Any]:
        rules = self.books.market(order.symbol).rules
        return wire.shown(order, rules.base, rules.quote)


def _page(
    rows: Sequence[T],
    parameters: Parameters,
    id_of: Callable[[T], int],
    at: Callable[[T], int] | None,
    *,
    nearest_begin: bool = False,
) -> list[T]:
    """The newest first, and the newest of them; `before` and `after` are ids and left out, `begin` and `end` are in.

    `nearest_begin`: with neither `end` nor `after`, what comes first after `begin`.
    """
    after, before, limit = parameters.whole("after"), parameters.whole("before"), parameters.limit(100, 100)
    begin, end = (parameters.whole("begin"), parameters.whole("end")) if at else (None, None)
    parameters.finish()
    found = [
        row
        for row in sorted(rows, key=id_of, reverse=True)
        if (after is None or id_of(row) < after)
        and (before is None or id_of(row) > before)
        and (begin is None or at is None or at(row) >= begin)
        and (end is None or at is None or at(row) <= end)
    ]
    oldest = (before is not None or (nearest_begin and begin is not None and end is None)) and after is None
    return found[-limit:] if oldest else found[:limit]


_ROUTES: Final[Mapping[tuple[str, str], tuple[bool, Endpoint]]] = {
    ("GET", "/api/v5/public/time"): (False, Okx.time),
    ("GET", "/api/v5/public/instruments"): (False, Okx.instruments),
    ("GET", "/api/v5/market/ticker"): (False, Okx.ticker),
    ("GET", "/api/v5/market/books"): (False, Okx.book),
    ("GET", "/api/v5/market/candles"): (False, Okx.candles),
    ("GET", "/api/v5/market/history-candles"): (False, Okx.candles),
    ("GET", "/api/v5/account/config"): (True, Okx.config),
    ("GET", "/api/v5/account/balance"): (True, Okx.balance),
    ("POST", "/api/v5/trade/order"): (True, Okx.place),
    ("POST", "/api/v5/trade/cancel-order"): (True, Okx.cancel),
    ("GET", "/api/v5/trade/order"): (True, Okx.one_order),
    ("GET", "/api/v5/trade/orders-pending"): (True, Okx.open_orders),
    ("GET", "/api/v5/trade/orders-history"): (True, Okx.ended_orders),
    ("GET", "/api/v5/trade/fills"): (True, Okx.recent_fills),
    ("GET", "/api/v5/trade/fills-history"): (True, Okx.all_fills),
}
