"""Coinbase: each request with its token, and what it asks carried out on the books.

A client order id that was used before makes no order: the one that has it is told. A cancel is taken at once and
carried out a moment later. Fees are taken in what is paid with.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

from tests.coinbase import params, tokens, views
from tests.coinbase.refusals import (
    UNKNOWN_PREVIEW,
    UNKNOWN_REASON,
    NotMade,
    Problem,
    invalid,
    missing_scope,
    no_such_order,
    not_made,
    unauthorized,
)
from tests.venue.app import Venue
from tests.venue.books import QuoteFeeBooks
from tests.venue.http import Answer, HttpRequest
from tests.venue.market import Rules
from tests.venue.orders import Order
from tests.venue.refusals import Refused
from tests.venue.writing import as_json, plain

ROOT: Final = "/api/v3/brokerage/"
ORDERS: Final = ROOT + "orders"
CANCEL: Final = ORDERS + "/batch_cancel"
CANCELLED_WITHIN: Final = 50
"""Milliseconds from a cancel that was taken to the end of its order."""
MOST_CANDLES: Final = 350
MOST_A_PAGE: Final = 250
WALLETS_A_PAGE: Final = 2
SMALLEST: Final = Decimal("1e-8")
GRANULARITIES: Final = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1800,
    "ONE_HOUR": 3600,
    "TWO_HOUR": 7200,
    "SIX_HOUR": 21_600,
    "ONE_DAY": 86_400,
}


class CoinbaseVenue(Venue):
    """Coinbase's Advanced Trade, with one account and one key."""

    listed: ClassVar = {
        name: Rules(name, base, "USD", Decimal(opening), step=SMALLEST, least=SMALLEST, notional=Decimal(1))
        for name, base, opening in (("BTC-USD", "BTC", 40_000), ("ETH-USD", "ETH", 2500))
    }
    deposits: ClassVar = {"USD": "100000", "BTC": "5", "ETH": "50", "USDC": "250.5"}
    keeps: ClassVar = QuoteFeeBooks
    trade_only: ClassVar = {
        "can_view": True,
        "can_trade": True,
        "can_transfer": False,
        "portfolio_uuid": views.PORTFOLIO,
        "portfolio_type": "DEFAULT",
    }
    order_paths: ClassVar = (ORDERS, CANCEL)

    def __init__(self, key: Mapping[str, str], *, interval: int = 1000, seed: int = 0) -> None:
        self._public_key = tokens.private_key(key["secret"]).public_key()
        super().__init__(key, interval=interval, seed=seed)

    def reset(self) -> None:
        """New books, and nothing under way."""
        super().reset()
        self._nonces: set[str] = set()
        self._cancelling: dict[str, tuple[Order, int]] = {}

    def perform(self, request: HttpRequest) -> Answer:
        """Finds out what is asked, sees the token, and does it."""
        self._pass_time()
        for method, path, public, action in ROUTES:
            place = re.fullmatch(path, request.path)
            if method == request.method and place is not None:
                if not public:
                    self._see_token(request)
                told = action(self, request, *place.groups())
                self._pass_time()
                return as_json(told)
        raise Problem(404, "NOT_FOUND", "Not Found")

    def refused(self, refused: Refused) -> Answer:
        """In the shape that this kind of refusal has."""
        if isinstance(refused, NotMade):
            return as_json(_not_made(refused))
        if not isinstance(refused, Problem):
            raise TypeError(f"a refusal in the words of the books: {refused}")
        if refused.status == 401:
            return Answer(401, b"Unauthorized\n", content="text/plain; charset=utf-8")
        told = {"error": refused.error, "error_details": refused.message, "message": refused.message}
        return as_json(told, refused.status)

    def unavailable(self) -> Answer:
        """What the front says by itself."""
        return Answer(503, b"upstream connect error or disconnect/reset before headers", content="text/plain")

    def server_time(self, request: HttpRequest) -> Any:
        """The time."""
        params.query(request)
        now = self.clock.now()
        return {
            "iso": views.moment(now)[:19] + "Z",
            "epochSeconds": str(now // 1000),
            "epochMillis": str(now),
        }

    def product(self, request: HttpRequest, product_id: str) -> Any:
        """The rules of a product."""
        params.query(request)
        return views.product_view(self._market(product_id), self.clock.now())

    def candles(self, request: HttpRequest, product_id: str) -> Any:
        """Candles, newest first."""
        values = params.query(request, "granularity", "start", "end")
        seconds = GRANULARITIES.get(values.get("granularity", [""])[0])
        if seconds is None:
            raise invalid("granularity is required")
        start, end = params.whole_number(values, "start", 0), params.whole_number(values, "end", 0)
        if (end - start) // seconds > MOST_CANDLES:
            raise invalid("number of candles requested should be less than 350")
        now, length = self.clock.now(), seconds * 1000
        opened = range(-(-start // seconds) * length, min(end * 1000, now) + 1, length)
        told = [self._market(product_id).candle(at, length, now) for at in reversed(opened)]
        return {
            "candles": [
                {
                    "start": str(each.at // 1000),
                    "low": plain(each.low),
                    "high": plain(each.high),
                    "open": plain(each.open),
                    "close": plain(each.close),
                    "volume": plain(each.volume),
                }
                for each in told
            ]
        }

    def ticker(self, request: HttpRequest, product_id: str) -> Any:
        """The last trade, and the best of both sides."""
        params.whole_number(params.query(request, "limit"), "limit", 1)
        now, market = self.clock.now(), self._market(product_id)
        price = market.price(now)
        trade = {
            "trade_id": str(now),
            "product_id": product_id,
            "price": plain(price),
            "size": "0.0372",
            "time": views.moment(now),
            "side": "BUY",
            "bid": "",
            "ask": "",
        }
        return {
            "trades": [trade],
            "best_bid": plain(price - market.rules.tick),
            "best_ask": plain(price + market.rules.tick),
        }

    def book(self, request: HttpRequest) -> Any:
        """The book around the price."""
        values = params.query(request, "product_id", "limit")
        product_id = values.get("product_id", [""])[0]
        market = self._market(product_id)
        price, tick = market.price(self.clock.now()), market.rules.tick
        levels = range(1, params.whole_number(values, "limit", 50) + 1)
        bids, asks = (
            [{"price": plain(price + side * step * tick), "size": plain(Decimal(step) / 8)} for step in levels]
            for side in (-1, 1)
        )
        told = {"product_id": product_id, "bids": bids, "asks": asks, "time": views.moment(self.clock.now())}
        return {"pricebook": told, "last": plain(price), "mid_market": plain(price)}

    def key_permissions(self, request: HttpRequest) -> Any:
        """What the key may do."""
        params.query(request)
        return self.permissions

    def accounts(self, request: HttpRequest) -> Any:
        """Wallets: never many in one answer, whatever was asked for."""
        values = params.query(request, "limit", "cursor")
        most = min(params.whole_number(values, "limit", 49), WALLETS_A_PAGE)
        assets = sorted(self.books.free)
        page, cursor, more = _page(assets, values, most)
        told = [views.account_view(each, self.books.free[each], self.books.locked[each]) for each in page]
        return {"accounts": told, "has_next": more, "cursor": cursor if more else "", "size": len(told)}

    def create(self, request: HttpRequest) -> Any:
        """A new order; or the one that has this client order id."""
        self._see_that_it_may("can_trade")
        ask = params.new_order(request)
        known = next((each for each in self.books.orders if each.client_id == ask.client_id), None)
        if known is not None:
            return views.made_view(known)
        try:
            return views.made_view(self.books.place(ask))
        except Refused as refused:
            raise not_made(refused) from None

    def cancel(self, request: HttpRequest) -> Any:
        """Takes the wish to cancel each order."""
        self._see_that_it_may("can_trade")
        results = []
        for order_id in params.to_cancel(request):
            reason = self._refusal_to_cancel(order_id)
            if reason is None:
                self._cancelling[order_id] = (self._order(order_id), self.clock.now() + CANCELLED_WITHIN)
            told = reason or "UNKNOWN_CANCEL_FAILURE_REASON"
            results.append({"success": reason is None, "failure_reason": told, "order_id": order_id})
        return {"results": results}

    def one_order(self, request: HttpRequest, order_id: str) -> Any:
        """An order by its id."""
        params.query(request)
        return {"order": self._view(self._order(order_id))}

    def orders(self, request: HttpRequest) -> Any:
        """Orders, newest first. Open ones go with no other status, and have no dates."""
        values = params.query(request, "product_ids", "order_status", "start_date", "limit", "cursor")
        statuses = values.get("order_status", [])
        if "OPEN" in statuses and len(statuses) > 1:
            raise invalid("Cannot pair OPEN orders with other order types")
        since = 0 if statuses == ["OPEN"] else params.moment(values, "start_date")
        fitting = [
            view
            for order in reversed(self.books.orders)
            if order.at >= since and order.symbol in values.get("product_ids", [order.symbol])
            for view in [self._view(order)]
            if view["status"] in statuses or not statuses
        ]
        page, cursor, more = _page(fitting, values, self._most(values))
        return {"orders": page, "sequence": "0", "has_next": more, "cursor": cursor if more else ""}

    def fills(self, request: HttpRequest) -> Any:
        """Fills, newest first. A page that holds something names a next one, which may be empty."""
        values = params.query(request, "product_ids", "order_ids", "start_sequence_timestamp", "limit", "cursor")
        since = params.moment(values, "start_sequence_timestamp")
        placed = {(order.symbol, order.id): order for order in self.books.orders}
        views_ = [views.fill_view(trade, placed[trade.symbol, trade.order_id]) for trade in self._trades(since)]
        fitting = [
            view
            for view in views_
            if view["product_id"] in values.get("product_ids", [view["product_id"]])
            and view["order_id"] in values.get("order_ids", [view["order_id"]])
        ]
        page, cursor, _ = _page(fitting, values, self._most(values))
        return {"fills": page, "cursor": cursor}

    def _pass_time(self) -> None:
        """Prices act, and cancels are carried out."""
        now = self.books.advance()
        for order_id, (order, due) in list(self._cancelling.items()):
            if order.open and now >= due:
                self.books.cancel(order.symbol, order.id, None)
            if not order.open:
                del self._cancelling[order_id]

    def _see_token(self, request: HttpRequest) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not self.valid:
            raise unauthorized("no token, or of a key that has ended")
        try:
            nonce = tokens.see(
                token,
                self._public_key,
                name=self.key["key"],
                method=request.method,
                host=request.headers.get("host", ""),
                path=request.path,
                now=self.clock.now() / 1000,
            )
        except tokens.BadToken as error:
            raise unauthorized(str(error)) from None
        if nonce in self._nonces:
            raise unauthorized("a token that was used before")
        self._nonces.add(nonce)
        self._see_that_it_may("can_view")

    def _see_that_it_may(self, what: str) -> None:
        if self.permissions.get(what) is not True:
            raise missing_scope()

    def _refusal_to_cancel(self, order_id: str) -> str | None:
        try:
            order = self._order(order_id)
        except Problem:
            return "UNKNOWN_CANCEL_ORDER"
        if not order.open:
            return "ORDER_IS_FULLY_FILLED" if order.status == "FILLED" else "UNKNOWN_CANCEL_ORDER"
        return "DUPLICATE_CANCEL_REQUEST" if order_id in self._cancelling else None

    def _market(self, product_id: str) -> Any:
        try:
            return self.books.market(product_id)
        except Refused:
            raise Problem(404, "NOT_FOUND", "valid product_id is required") from None

    def _order(self, order_id: str) -> Order:
        found = next((each for each in self.books.orders if views.order_id(each) == order_id), None)
        if found is None:
            raise no_such_order()
        return found

    def _view(self, order: Order) -> dict[str, Any]:
        return views.order_view(order, cancelling=views.order_id(order) in self._cancelling)

    def _trades(self, since: int) -> list[Any]:
        return [trade for trade in reversed(self.books.trades) if trade.at >= since]

    def _most(self, values: Mapping[str, list[str]]) -> int:
        return min(params.whole_number(values, "limit", 100), MOST_A_PAGE)


def _page(items: Sequence[Any], values: Mapping[str, list[str]], most: int) -> tuple[Sequence[Any], str, bool]:
    """A part of a list, what the next one is asked for with, and whether there is a next one."""
    start = 0
    if "cursor" in values:
        try:
            start = int(base64.b64decode(values["cursor"][0], validate=True).removeprefix(b"after>>?"))
        except ValueError:
            raise invalid("cursor is none") from None
    page = items[start : start + most]
    # with signs in it that an address has to escape
    cursor = base64.b64encode(b"after>>?%d" % (start + len(page))).decode() if page else ""
    return page, cursor, start + len(page) < len(items)


def _not_made(refused: NotMade) -> Mapping[str, Any]:
    """The reason stands where it does not for others, too: Coinbase writes it into one field or the other."""
    previewed = refused.reason.startswith(("INSUFFICIENT", "INVALID"))
    said = {
        "error": UNKNOWN_REASON if previewed and refused.reason != "INSUFFICIENT_FUND" else refused.reason,
        "message": refused.words,
        "error_details": "",
        "preview_failure_reason": f"PREVIEW_{refused.reason}" if previewed else UNKNOWN_PREVIEW,
        "new_order_failure_reason": UNKNOWN_REASON if previewed else refused.reason,
    }
    return {"success": False, "failure_reason": UNKNOWN_REASON, "order_id": "", "error_response": said}


Action = Callable[..., Any]
ID: Final = "([A-Za-z0-9_-]+)"
ROUTES: Final[Sequence[tuple[str, str, bool, Action]]] = (
    ("GET", f"{ROOT}time", True, CoinbaseVenue.server_time),
    ("GET", f"{ROOT}market/products/{ID}", True, CoinbaseVenue.product),
    ("GET", f"{ROOT}products/{ID}/candles", False, CoinbaseVenue.candles),
    ("GET", f"{ROOT}products/{ID}/ticker", False, CoinbaseVenue.ticker),
    ("GET", f"{ROOT}product_book", False, CoinbaseVenue.book),
    ("GET", f"{ROOT}key_permissions", False, CoinbaseVenue.key_permissions),
    ("GET", f"{ROOT}accounts", False, CoinbaseVenue.accounts),
    ("POST", f"{ROOT}orders", False, CoinbaseVenue.create),
    ("POST", f"{ROOT}orders/batch_cancel", False, CoinbaseVenue.cancel),
    ("GET", f"{ROOT}orders/historical/batch", False, CoinbaseVenue.orders),
    ("GET", f"{ROOT}orders/historical/fills", False, CoinbaseVenue.fills),
    ("GET", f"{ROOT}orders/historical/{ID}", False, CoinbaseVenue.one_order),
)
"""Method, path, whether anybody may ask, and what is done."""
