"""The dialect: requests are checked, carried out on the books, and answered as Robinhood answers them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from decimal import Decimal
from email.utils import formatdate
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.robinhood import wire
from tests.robinhood.refusals import (
    Problem,
    bad_signature,
    expired,
    in_its_words,
    invalid,
    missing_headers,
    not_found,
    throttled,
    unknown_key,
)
from tests.robinhood.tokens import Tokens
from tests.venue.app import Venue
from tests.venue.books import Books, FreeBooks
from tests.venue.http import Answer, HttpRequest
from tests.venue.market import Rules
from tests.venue.orders import Order
from tests.venue.refusals import Refused

GOOD_FOR: Final = 30
"""Seconds after its timestamp that a request is taken. So many before it as well: chosen."""
PAGE: Final = 3
"""Rows in a page. Chosen, and small, so that there are always more."""
LINGERS: Final = 200
"""How many ms an order is told as open after its cancel was heard. Chosen; it was seen to take a second."""
ROOT: Final = "/api/v1/crypto/"
ACCOUNTS, HOLDINGS = f"{ROOT}trading/accounts/", f"{ROOT}trading/holdings/"
PAIRS, PRICES, ORDERS = f"{ROOT}trading/trading_pairs/", f"{ROOT}marketdata/best_bid_ask/", f"{ROOT}trading/orders/"
FILTERS: Final = (
    *("created_at_start", "created_at_end", "updated_at_start", "updated_at_end"),
    *("symbol", "id", "side", "state", "type", "cursor", "limit"),
)
Query = Mapping[str, str]


class Robinhood(Venue):
    """`--key key=…` and `--key secret=…` are what its owner has: the API key, and the seed that signs."""

    listed: ClassVar[Mapping[str, Rules]] = {
        name: Rules(
            name, name[:3], "USD", Decimal(opening), step=Decimal("1e-8"), least=least, notional=Decimal("0.01")
        )
        for name, opening, least in (("BTC-USD", 40000, Decimal("0.000001")), ("ETH-USD", 2500, Decimal("0.0001")))
    }
    deposits: ClassVar[Mapping[str, str]] = {"USD": "100000", "BTC": "5"}
    keeps: ClassVar[type[Books]] = FreeBooks
    order_paths: ClassVar[tuple[str, ...]] = (ORDERS,)

    def reset(self) -> None:
        """New books, faults, counts and tokens."""
        super().reset()
        self._public = Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.key["secret"])).public_key()
        self._tokens = Tokens(self.clock.now())
        self._heard: dict[str, int] = {}
        """When the cancel of an order was heard, by the order's id."""

    def perform(self, request: HttpRequest) -> Answer:
        """Check the request and do what it asks."""
        self._authenticate(request)
        if (wait := self._tokens.take(self.clock.now())) is not None:
            raise throttled(wait)
        path, method = request.path, request.method
        if path.startswith(ORDERS) and path != ORDERS:
            return self._one_order(request, *path.removeprefix(ORDERS).split("/"))
        reads: dict[str, tuple[Callable[[Query], Any], tuple[str, ...]]] = {
            ACCOUNTS: (self._account, ()),
            HOLDINGS: (self._holdings, ("asset_code", "limit", "cursor")),
            PAIRS: (self._pairs, ("symbol", "limit", "cursor")),
            PRICES: (self._prices, ("symbol",)),
            ORDERS: (self._listed, FILTERS),
        }
        if path == ORDERS and method == "POST":
            return self._answer(201, self._placed(request))
        if path not in reads:
            raise not_found()
        if method != "GET":
            raise Problem(405, "client_error", f'Method "{method}" not allowed.')
        read, allowed = reads[path]
        return self._answer(200, read(_query(request, allowed)))

    def refused(self, refused: Refused) -> Answer:
        """A refusal in Robinhood's form; what its front refuses is plain text."""
        problem = in_its_words(refused)
        if problem.kind == "":
            return self._answer(problem.status, problem.message, content="text/plain; charset=utf-8")
        errors = [{"detail": problem.message, "attr": problem.attr}]
        return self._answer(problem.status, {"type": problem.kind, "errors": errors}, problem.headers)

    def unavailable(self) -> Answer:
        """What a front says."""
        return self._answer(503, "<html>Service Unavailable</html>", content="text/html")

    def _answer(
        self, status: int, body: Any, headers: Mapping[str, str] | None = None, content: str = "application/json"
    ) -> Answer:
        encoded = body.encode() if isinstance(body, str) else wire.dumps(body)
        date = formatdate(self.clock.now() // 1000, usegmt=True)
        cookie = {"set-cookie": "__cf_bm=not-to-be-sent-back; path=/"}
        return Answer(status, encoded, {"date": date, **cookie, **(headers or {})}, content)

    def _authenticate(self, request: HttpRequest) -> None:
        key, stamp, signed = (request.headers.get(f"x-{name}") for name in ("api-key", "timestamp", "signature"))
        if not key or not stamp or not signed:
            raise missing_headers()
        if key != self.key["key"] or not self.valid:
            raise unknown_key()
        if not stamp.isdecimal() or abs(self.clock.now() / 1000 - int(stamp)) > GOOD_FOR:
            raise expired()
        target = request.path if not request.query else f"{request.path}?{request.query}"
        try:
            self._public.verify(
                base64.b64decode(signed, validate=True), f"{key}{stamp}{target}{request.method}{request.body}".encode()
            )
        except (InvalidSignature, binascii.Error):
            raise bad_signature() from None

    def _account(self, query: Query) -> Any:
        return wire.account(self.books.free["USD"])

    def _holdings(self, query: Query) -> Any:
        self.books.advance()
        rows = [
            wire.holding(asset, free + self.books.locked[asset], free)
            for asset, free in self.books.free.items()
            if asset != "USD" and query.get("asset_code", asset) == asset
        ]
        return _page(HOLDINGS, query, [row for row in rows if row["total_quantity"]])

    def _pairs(self, query: Query) -> Any:
        markets = [each.rules for name, each in self.books.markets.items() if query.get("symbol", name) == name]
        return _page(PAIRS, query, [wire.pair(each) for each in markets])

    def _prices(self, query: Query) -> Any:
        if query.get("symbol") not in self.books.markets:
            raise invalid("symbol", "Invalid symbol(s).")
        now = self.clock.now()
        return {"results": [wire.price(query["symbol"], self.books.market(query["symbol"]).price(now), now)]}

    def _listed(self, query: Query) -> Any:
        self.books.advance()
        rows = [(self._row(each), each) for each in reversed(self.books.orders)]
        return _page(ORDERS, query, [row for row, each in rows if _fits(row, each, query)])

    def _row(self, order: Order) -> wire.Json:
        row = wire.order(order)
        if self.clock.now() - self._heard.get(row["id"], 0) < LINGERS:
            row["state"] = "partially_filled" if order.executed else "open"
        return row

    def _placed(self, request: HttpRequest) -> Any:
        if request.query:
            raise invalid(request.query.partition("=")[0], "Unknown parameter.")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Problem(415, "client_error", "Unsupported media type in request.")
        ask = wire.asked(request.body)
        # What a second order under one id gives is not documented: chosen, the first one.
        first = next((each for each in self.books.orders if each.client_id == ask.client_id), None)
        if first is not None:
            return self._row(first)
        return wire.acknowledged(self.books.place(ask))

    def _one_order(self, request: HttpRequest, name: str, *rest: str) -> Answer:
        order = self._named(name)
        if request.query:
            raise invalid(request.query.partition("=")[0], "Unknown parameter.")
        match (request.method, rest):
            case ("GET", ("",)):
                return self._answer(200, self._row(order))
            case ("POST", ("cancel", "")):
                if request.body:
                    raise invalid("non_field_errors", "Unexpected body.")
                if not order.open:
                    raise invalid("non_field_errors", "Order cannot be canceled.")
                self.books.cancel(order.symbol, order.id, None)
                self._heard[name] = self.clock.now()
                told = f"Cancel request was submitted for order {name}"
                return self._answer(200, told, content="text/plain; charset=utf-8")
        raise not_found()

    def _named(self, name: str) -> Order:
        self.books.advance()
        order = next((each for each in self.books.orders if wire.name_of(each) == name), None)
        if order is None:
            raise not_found()
        return order


def _query(request: HttpRequest, allowed: tuple[str, ...]) -> Query:
    pairs = parse_qsl(request.query, keep_blank_values=True)
    for name, _ in pairs:
        if name not in allowed:
            raise invalid(name, "Unknown parameter.")
    return dict(pairs)


def _fits(row: wire.Json, order: Order, query: Query) -> bool:
    if any(name in query and row[name] != query[name] for name in ("symbol", "id", "side", "state", "type")):
        return False
    for name, at in (("created_at", order.at), ("updated_at", order.updated)):
        if f"{name}_start" in query and at < wire.milliseconds(query[f"{name}_start"], f"{name}_start"):
            return False
        if f"{name}_end" in query and at > wire.milliseconds(query[f"{name}_end"], f"{name}_end"):
            return False
    return True


def _page(path: str, query: Query, rows: list[Any]) -> Any:
    """One page of a list, and where the others are."""
    try:
        start = int(base64.b64decode(query.get("cursor", ""), validate=True) or b"0")
    except ValueError:
        raise Problem(404, "client_error", "Invalid cursor") from None
    size = int(query.get("limit", PAGE))

    def at(row: int) -> str | None:
        if not 0 <= row < len(rows):
            return None
        return f"https://trading.robinhood.com{path}?{wire.encoded({**query, 'cursor': wire.cursor(row)})}"

    before = at(max(0, start - size)) if start else None
    return {"next": at(start + size), "previous": before, "results": rows[start : start + size]}
