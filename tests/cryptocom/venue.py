"""Crypto.com itself: who may ask, what for, and in which words it is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from tests.cryptocom import wire
from tests.cryptocom.refusals import Because, of_books
from tests.cryptocom.requests import Asked, authenticate, of_body, of_query
from tests.venue.app import Venue
from tests.venue.http import Answer, HttpRequest
from tests.venue.market import Rules
from tests.venue.orders import ZERO, Ask, Order
from tests.venue.refusals import Refused
from tests.venue.writing import as_json

ROOT: Final = "/exchange/v1/"
DAY: Final = 86_400_000_000_000
"""In nanoseconds."""
LONGEST: Final = 7 * DAY
"""How much time an answer on trades may cover."""
PAGE: Final = 100
DEEPEST: Final = 50
_CANDLES: Final = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000, "1D": 86_400_000}
_LIFETIMES: Final = {"GOOD_TILL_CANCEL": "GTC", "IMMEDIATE_OR_CANCEL": "IOC", "FILL_OR_KILL": "FOK"}
_ORDER: Final = (
    "instrument_name",
    "side",
    "type",
    "price",
    "quantity",
    "client_oid",
    "time_in_force",
    "spot_margin",
)
_LIST: Final = ("instrument_name", "start_time", "end_time", "limit")

Method = Callable[["CryptoCom", Asked], Any]


class CryptoCom(Venue):
    """An account for spot trading, which nothing is lent to."""

    listed: ClassVar[Mapping[str, Rules]] = {
        f"{base}_USDT": Rules(
            f"{base}_USDT", base, "USDT", Decimal(opening), step=Decimal(step), least=Decimal(step), notional=Decimal(1)
        )
        for base, opening, step in (("BTC", 40_000, "0.00001"), ("ETH", 2500, "0.0001"))
    }
    deposits: ClassVar[Mapping[str, str]] = {"USDT": "100000", "BTC": "5"}
    order_paths = (f"{ROOT}private/create-order", f"{ROOT}private/cancel-order")

    def reset(self) -> None:
        """New books, and no orders that were taken down and refused."""
        super().reset()
        self._rejected: list[Order] = []
        self._about: dict[str, Any] = {}

    def perform(self, request: HttpRequest) -> Answer:
        """Who asks, then what for."""
        name = request.path.removeprefix(ROOT)
        self._about = {"id": -1, "method": name}
        kind, method = _METHODS.get(name, ("", None))
        if method is None or kind != request.method or request.path != ROOT + name:
            raise Because(40002)
        asked = of_query(request.query) if kind == "GET" else self._signed(name, request)
        self.books.advance()
        try:
            result = method(self, asked)
        except Because:
            raise
        except Refused as refused:
            raise Because(of_books(refused)) from None
        return self._answer(200, self._about | {"code": 0, "result": result})

    def refused(self, refused: Refused) -> Answer:
        """What was asked, the code, and the word for it."""
        told = self._about | {"code": refused.code, "message": refused.message}
        if isinstance(refused, Because) and refused.result is not None:
            told["result"] = dict(refused.result)
        return self._answer(refused.status, told)

    def unavailable(self) -> Answer:
        """Not its own words, but those of what stands before it."""
        return Answer(503, b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>", {}, "text/html")

    @staticmethod
    def _answer(status: int, told: Mapping[str, Any]) -> Answer:
        return as_json(told, status)

    def _signed(self, name: str, request: HttpRequest) -> Asked:
        if request.query or request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Because(40001)
        envelope = of_body(request.body)
        self._about = {"id": int(envelope["id"]), "method": name}
        if envelope["method"] != name:
            raise Because(40003)
        authenticate(envelope, self.key, self.clock.now())
        if not self.valid:
            raise Because(40101)
        return Asked(envelope["params"])

    # The market.

    def instruments(self, asked: Asked) -> Any:
        """Everything that is traded, of every kind."""
        asked.known(())
        return {"data": [wire.PERPETUAL, *(wire.instrument(rules) for rules in self.listed.values())]}

    def tickers(self, asked: Asked) -> Any:
        """Prices of one market, or of all."""
        asked.known(("instrument_name",))
        names = [asked.text("instrument_name")] if asked.params else list(self.listed)
        return {"data": [wire.ticker(self.books.market(name), self.clock.now()) for name in names]}

    def book(self, asked: Asked) -> Any:
        """A market's best levels."""
        asked.known(("instrument_name", "depth"))
        name, depth = asked.text("instrument_name"), asked.whole("depth", 0)
        if not 1 <= depth <= DEEPEST:
            raise Because(40004)
        shown = wire.book(self.books.market(name), depth, self.clock.now())
        return {"depth": depth, "data": [shown], "instrument_name": name}

    def candles(self, asked: Asked) -> Any:
        """The last so many that opened after one time and not after another, oldest first."""
        asked.known(("instrument_name", "timeframe", "count", "start_ts", "end_ts"))
        name, frame = asked.text("instrument_name"), asked.one_of("timeframe", _CANDLES, 40004, "1m")
        market, now = self.books.market(name), self.clock.now()
        length, count = _CANDLES[frame], asked.whole("count", 25)
        since = asked.moment("start_ts", now - DAY // 1_000_000) // 1_000_000
        until = min(now, asked.moment("end_ts", now) // 1_000_000)
        last = until // length * length
        opened = [at for at in range(last - (count - 1) * length, last + 1, length) if at > since]
        data = [wire.candle(market.candle(at, length, now)) for at in opened]
        return {"interval": frame, "data": data, "instrument_name": name}

    # The account.

    def balances(self, asked: Asked) -> Any:
        """What there is, in one wallet."""
        asked.known(())
        books = self.books
        rows = [
            wire.balance(asset, free, books.locked[asset])
            for asset, free in books.free.items()
            if free + books.locked[asset]
        ]
        worth = {"total_available_balance": "100000", "total_cash_balance": "100000", "total_borrow": "0"}
        return {"data": [worth | {"instrument_name": "USD", "position_balances": rows, "is_liquidating": False}]}

    def create(self, asked: Asked) -> Any:
        """Take an order down; one that cannot be paid for is refused after it has got its number."""
        asked.known(_ORDER)
        kind = asked.one_of("type", ("LIMIT", "MARKET"), 218)
        limited = kind == "LIMIT"
        asked.one_of("spot_margin", ("SPOT",), 40004, "SPOT")
        client_id = asked.text("client_oid", str(self.clock.now()))
        if len(client_id) > 36 or limited != ("price" in asked.params):
            raise Because(40004)
        ask = Ask(
            symbol=asked.text("instrument_name"),
            side=asked.one_of("side", ("BUY", "SELL"), 220),
            type=kind,
            client_id=client_id,
            quantity=asked.amount("quantity", 213),
            price=asked.amount("price", 308) if limited else None,
            time_in_force=_LIFETIMES[asked.one_of("time_in_force", _LIFETIMES, 221, "GOOD_TILL_CANCEL")],
        )
        try:
            order = self.books.place(ask)
        except Refused as refused:
            code = of_books(refused)
            raise Because(code, self._acknowledged(self._reject(ask)) if code == 306 else None) from None
        return self._acknowledged(order)

    def cancel(self, asked: Asked) -> Any:
        """See to it that an order ends."""
        asked.known(("order_id", "client_oid"))
        order = self._one(asked)
        if order is None:
            raise Because(212)
        if not order.open:
            raise Because(316)
        return self._acknowledged(self.books.cancel(order.symbol, order.id, None))

    def detail(self, asked: Asked) -> Any:
        """One order, however it stands."""
        asked.known(("order_id", "client_oid"))
        order = self._one(asked)
        if order is None:
            raise Because(40401)
        return wire.order(order)

    def open_orders(self, asked: Asked) -> Any:
        """Orders that may still trade."""
        asked.known(("instrument_name",))
        symbol = asked.text("instrument_name") if asked.params else None
        return {"data": [wire.order(order) for order in self.books.open(symbol)]}

    def history(self, asked: Asked) -> Any:
        """Orders that have ended, newest first."""
        orders = [wire.order(order) for order in (*self.books.orders, *self._rejected) if not order.open]
        return {"data": self._within(asked, orders, None)}

    def trades(self, asked: Asked) -> Any:
        """Fills, newest first."""
        return {"data": self._within(asked, [wire.trade(trade) for trade in self.books.trades], LONGEST)}

    def _within(self, asked: Asked, rows: list[wire.Json], longest: int | None) -> list[wire.Json]:
        asked.known(_LIST)
        until = asked.moment("end_time", self.clock.now() + 1)
        since = asked.moment("start_time", (until - DAY) // 1_000_000)
        limit = asked.whole("limit", PAGE)
        if since >= until or (longest is not None and until - since > longest):
            raise Because(40005)
        if not 1 <= limit <= PAGE:
            raise Because(40004)
        symbol = asked.params.get("instrument_name")
        rows = [row for row in rows if symbol in (None, row["instrument_name"])]
        rows = [row for row in rows if since <= int(row["create_time_ns"]) < until]
        return sorted(rows, key=lambda row: int(row["create_time_ns"]), reverse=True)[:limit]

    def _one(self, asked: Asked) -> Order | None:
        """The order that is meant; the last one when an id of its owner's was used again."""
        if not asked.params:
            raise Because(40004)
        orders = (*self.books.orders, *self._rejected)
        if "order_id" in asked.params:
            wanted = asked.text("order_id")
            return next((order for order in orders if wire.order_id(order) == wanted), None)
        wanted = asked.text("client_oid")
        return next((each for each in reversed(orders) if wire.client_oid(each.client_id, each.at) == wanted), None)

    def _reject(self, ask: Ask) -> Order:
        now = self.clock.now()
        order = Order(
            symbol=ask.symbol,
            id=900_000 + len(self._rejected),
            client_id=ask.client_id,
            side=ask.side,
            type=ask.type,
            time_in_force=ask.time_in_force,
            quantity=ask.quantity or ZERO,
            quote_quantity=ZERO,
            price=ask.price or ZERO,
            stop_price=ZERO,
            at=now,
            updated=now,
            working_at=-1,
            hold_price=ask.price or ZERO,
            status="REJECTED",
        )
        self._rejected.append(order)
        return order

    @staticmethod
    def _acknowledged(order: Order) -> dict[str, str]:
        return {"client_oid": wire.client_oid(order.client_id, order.at), "order_id": wire.order_id(order)}


_METHODS: Final[Mapping[str, tuple[str, Method]]] = {
    "public/get-instruments": ("GET", CryptoCom.instruments),
    "public/get-tickers": ("GET", CryptoCom.tickers),
    "public/get-book": ("GET", CryptoCom.book),
    "public/get-candlestick": ("GET", CryptoCom.candles),
    "private/user-balance": ("POST", CryptoCom.balances),
    "private/create-order": ("POST", CryptoCom.create),
    "private/cancel-order": ("POST", CryptoCom.cancel),
    "private/get-order-detail": ("POST", CryptoCom.detail),
    "private/get-open-orders": ("POST", CryptoCom.open_orders),
    "private/get-order-history": ("POST", CryptoCom.history),
    "private/get-trades": ("POST", CryptoCom.trades),
}
