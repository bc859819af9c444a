"""Polymarket itself: who may ask, what for, and in which words it is answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

from tests.polymarket import signing, wire
from tests.polymarket.books import FeeBooks
from tests.polymarket.refusals import of_books, refused, unauthorized
from tests.venue.app import Venue
from tests.venue.books import Books
from tests.venue.http import Answer, HttpRequest
from tests.venue.market import Rules, whole
from tests.venue.orders import ZERO, Ask, Order
from tests.venue.refusals import Refused
from tests.venue.writing import as_json, plain

TOKEN: Final = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
FINE_TOKEN: Final = "52114319501245915516055106046884209969926127482827954674443846427813813222426"
"""An outcome with a fine tick size, settled by the other contract."""
KINDS: Final = ("eoa", "proxy", "safe", "deposit")
ZEROS: Final = "0x" + "0" * 64
LEAST: Final = Decimal(5)
_FUTURE, _PAST = 5, 60
_HASH: Final = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,78}", re.ASCII)
_BODY: Final = {"deferExec", "postOnly", "order", "owner", "orderType"}
_ORDER: Final = {
    *("salt", "maker", "signer", "taker", "tokenId", "makerAmount", "takerAmount", "side", "signatureType"),
    *("timestamp", "expiration", "metadata", "builder", "signature"),
}


class Polymarket(Venue):
    """One wallet that trades by one key."""

    listed: ClassVar[Mapping[str, Rules]] = {
        name: Rules(
            name,
            name,
            "USDC",
            Decimal("0.5"),
            Decimal(tick),
            Decimal("0.01"),
            Decimal("0.01"),
            most=Decimal(10**9),
            notional=ZERO,
            up=Decimal(1000),
            down=ZERO,
        )
        for name, tick in ((TOKEN, "0.01"), (FINE_TOKEN, "0.001"))
    }
    deposits: ClassVar[Mapping[str, str]] = {"USDC": "1000", TOKEN: "200", FINE_TOKEN: "200"}
    keeps: ClassVar[type[Books]] = FeeBooks
    order_paths = ("/order",)

    def reset(self) -> None:
        """New books, and none of the orders that were seen."""
        super().reset()
        self.address = signing.own_address(self.key["key"])
        self.wallet = signing.checksummed(self.key["wallet"])
        seed = hashlib.sha256(self.address.encode()).hexdigest()
        self.api = {
            "apiKey": f"{seed[:8]}-{seed[8:12]}-{seed[12:16]}-{seed[16:20]}-{seed[20:32]}",
            "secret": base64.urlsafe_b64encode(hashlib.sha512(seed.encode()).digest()[:32]).decode(),
            "passphrase": hashlib.sha256(seed.encode()).hexdigest(),
        }
        self._seen: set[str] = set()
        self._sent: dict[str, tuple[str, int]] = {}
        """Of each order: its type, and when it expires, in seconds."""
        self._held: dict[str, tuple[int, Ask]] = {}
        """Orders that are held back, until when, by their ids."""

    def perform(self, request: HttpRequest) -> Answer:
        """Who asks, then what for."""
        path = request.path
        wanted = ""
        if path.startswith("/data/order/"):
            path, wanted = "/data/order/", request.path.removeprefix("/data/order/")
        route = _ROUTES.get((request.method, path))
        if route is None:
            raise refused("404 page not found", 404)
        who, names, endpoint = route
        if who:
            (self._l1 if who == 1 else self._l2)(request)
        query = dict(parse_qsl(request.query, keep_blank_values=True, strict_parsing=bool(request.query)))
        if set(query) - set(names):
            raise refused("invalid params payload")
        self._time_passes()
        told = endpoint(self, query if request.method == "GET" else request.body, wanted)
        return as_json(told)

    def refused(self, refused: Refused) -> Answer:
        """Words."""
        return as_json({"error": refused.message}, refused.status)

    def unavailable(self) -> Answer:
        """The same whether something was done or not."""
        return self.refused(refused("Trading is currently disabled. Check polymarket.com for updates", 503))

    def _time_passes(self) -> None:
        now = self.books.advance()
        for order_id, (until, ask) in list(self._held.items()):
            if now >= until:
                del self._held[order_id]
                self.books.place(ask)
        for order in self.books.open():
            _, expires = self._sent.get(order.client_id, ("", 0))
            if expires and now // 1000 >= expires - 60:
                self.books.cancel(order.symbol, order.id, None)

    def _timely(self, stamp: str) -> bool:
        return stamp.isdecimal() and -_FUTURE <= self.clock.now() // 1000 - int(stamp) <= _PAST

    def _l1(self, request: HttpRequest) -> None:
        """By a signature of the wallet's key itself."""
        given = {
            name: request.headers.get(f"poly_{name}", "") for name in ("address", "signature", "timestamp", "nonce")
        }
        if not given["nonce"].isdecimal() or not self._timely(given["timestamp"]):
            raise refused("Invalid L1 Request headers", 401)
        signer = signing.auth_signer_of(given["address"], given["timestamp"], int(given["nonce"]), given["signature"])
        if signer is None or signer != given["address"]:
            raise refused("Invalid L1 Request headers", 401)
        if signer != self.address or int(given["nonce"]) != 0 or not self.valid:
            raise refused("Could not derive api key!")

    def _l2(self, request: HttpRequest) -> None:
        """By the key for requests."""
        given = {
            name: request.headers.get(f"poly_{name}", "")
            for name in ("address", "api_key", "passphrase", "signature", "timestamp")
        }
        expected = signing.request_signature(
            self.api["secret"], given["timestamp"], request.method, request.path, request.body
        )
        right = (
            given["address"] == self.address
            and given["api_key"] == self.api["apiKey"]
            and given["passphrase"] == self.api["passphrase"]
            and self._timely(given["timestamp"])
            and hmac.compare_digest(given["signature"], expected)
        )
        if not right or not self.valid:
            raise unauthorized()

    # What may be asked.

    def time(self, query: Mapping[str, str], _: str) -> Any:
        """GET time: a bare number."""
        return self.clock.now() // 1000

    def markets(self, query: Mapping[str, str], _: str) -> Any:
        """GET markets, of the other host."""
        market = self.books.markets.get(query.get("clob_token_ids", ""))
        return [] if market is None else [wire.question(market, neg_risk=_neg_risk(market.rules.symbol))]

    def history(self, query: Mapping[str, str], _: str) -> Any:
        """GET prices-history: a sample each so many minutes, some seconds after they began."""
        market = self._market(query.get("market"))
        every = int(query.get("fidelity", "1")) * 60
        begin, end = int(query["startTs"]), min(int(query["endTs"]), self.clock.now() // 1000)
        if end - begin > 15 * 86_400:
            raise refused("invalid filters: 'startTs' and 'endTs' interval is too long")
        times = range(begin // every * every + 7, end + 1, every)
        return {"history": [{"t": at, "p": float(market.price(at * 1000))} for at in times if at >= begin]}

    def book(self, query: Mapping[str, str], _: str) -> Any:
        """GET book."""
        return wire.book(self._market(query.get("token_id")), self.clock.now())

    def last_price(self, query: Mapping[str, str], _: str) -> Any:
        """GET last-trade-price."""
        return {"price": plain(self._market(query.get("token_id")).price(self.clock.now())), "side": "BUY"}

    def derive(self, query: Mapping[str, str], _: str) -> Any:
        """GET auth/derive-api-key."""
        return self.api

    def balance(self, query: Mapping[str, str], _: str) -> Any:
        """GET balance-allowance."""
        if query.get("signature_type") != str(KINDS.index(self.key["kind"])):
            return {"balance": "0", "allowances": {}}
        assets = {"COLLATERAL": "USDC", "CONDITIONAL": query.get("token_id", "")}
        asset = assets.get(query.get("asset_type", ""))
        if asset is None or asset not in self.books.free:
            raise refused("Invalid asset type")
        held = self.books.free[asset] + self.books.locked[asset]
        return {"balance": str(int(held * 10**6)), "allowances": {signing.EXCHANGE: str(2**256 - 1)}}

    def place(self, text: str, _: str) -> Any:
        """POST order."""
        body, order = self._well_formed(text)
        order_id = signing.order_id(order, neg_risk=_neg_risk(order["tokenId"]))
        if signing.signer_of(order, neg_risk=_neg_risk(order["tokenId"])) != self.address:
            raise refused("invalid signature")
        if order_id in self._seen:
            raise refused(f"order {order_id} is invalid. Duplicated.")
        ask = self._ask(body, order, order_id)
        self._seen.add(order_id)
        self._sent[order_id] = (body["orderType"], int(order["expiration"]))
        now = self.clock.now()
        if "delays" in self.key and self._crosses(ask):
            self._held[order_id] = (now + int(self.key["delays"]) * 1000, ask)
            return self._taken(order_id, "delayed", None)
        try:
            placed = self.books.place(ask)
        except Refused as told:
            self._seen.discard(order_id)
            raise of_books(told, order_id) from None
        if body["orderType"] == "FAK" and not placed.executed:
            raise refused(
                "no orders found to match with FAK order. "
                "FAK orders are partially filled or killed if no match is found."
            )
        return self._taken(order_id, "matched" if placed.executed else "live", placed)

    def cancel(self, text: str, _: str) -> Any:
        """DELETE order."""
        try:
            body = json.loads(text)
            order_id = body.pop("orderID")
        except (ValueError, KeyError, AttributeError):
            raise refused("Invalid order payload") from None
        if body or not isinstance(order_id, str) or not _HASH.fullmatch(order_id):
            raise refused("Invalid orderID")
        order = self._order(order_id)
        if order is None or not order.open:
            return {"canceled": [], "not_canceled": {order_id: "order can't be found - already canceled or matched"}}
        self.books.cancel(order.symbol, order.id, None)
        return {"canceled": [order_id], "not_canceled": {}}

    def one_order(self, query: Mapping[str, str], wanted: str) -> Any:
        """GET data/order/{id}: nothing at all of one that it does not have, or does not tell of."""
        if not _HASH.fullmatch(wanted):
            raise refused("Invalid orderID")
        order = self._order(wanted)
        if order is None or (not order.open and "forgets" in self.key):
            return None
        return self._shown(order)

    def open_orders(self, query: Mapping[str, str], _: str) -> Any:
        """GET data/orders."""
        orders = [each for each in self.books.open() if query.get("asset_id") in (None, each.symbol)]
        return self._page([self._shown(each) for each in orders], query)

    def trades(self, query: Mapping[str, str], _: str) -> Any:
        """GET data/trades, newest first."""
        after = int(query.get("after", "0"))
        rows = [
            wire.trade(each, self._id_of(each.order_id, each.symbol), self.api["apiKey"], self.wallet, self.clock.now())
            for each in reversed(self.books.trades)
            if query.get("market") in (None, wire.condition(each.symbol)) and each.at // 1000 > after
        ]
        return self._page(rows, query)

    def _market(self, token: str | None) -> Any:
        if token not in self.books.markets:
            raise refused("No orderbook exists for the requested token id", 404)
        return self.books.markets[token]

    def _page(self, rows: Sequence[Any], query: Mapping[str, str]) -> Any:
        limit = int(self.key.get("page", "100"))
        first = int(base64.b64decode(query.get("next_cursor", "MA==")))
        rest = first + limit < len(rows)
        cursor = base64.b64encode(str(first + limit if rest else -1).encode()).decode()
        page = rows[first : first + limit]
        return {"data": page, "next_cursor": cursor, "limit": limit, "count": len(page)}

    def _order(self, order_id: str) -> Order | None:
        return next((each for each in self.books.orders if self._id_of(each.id, each.symbol) == order_id), None)

    def _id_of(self, number: int, symbol: str) -> str:
        """An order of the owner's hand has another id than one of ours would."""
        order = self.books.find(symbol, number, None)
        return order.client_id or "0x" + hashlib.sha256(f"{symbol} {number}".encode()).hexdigest()

    def _shown(self, order: Order) -> Any:
        kind, expires = self._sent.get(order.client_id, ("GTC", 0))
        return wire.order(order, self._id_of(order.id, order.symbol), self.api["apiKey"], self.wallet, kind, expires)

    def _taken(self, order_id: str, status: str, placed: Order | None) -> Any:
        told = {"errorMsg": "", "orderID": order_id, "takingAmount": "", "makingAmount": "", "status": status}
        if placed is not None and placed.executed:
            shares, cost = plain(placed.executed), plain(placed.executed_quote)
            taking, making = (shares, cost) if placed.side == "BUY" else (cost, shares)
            told |= {"takingAmount": taking, "makingAmount": making}
            return told | {"transactionsHashes": [ZEROS], "success": True}
        return told | {"success": True}

    def _well_formed(self, text: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Body and order; raises Refused for what is not written as it should be, or not by this wallet."""
        try:
            body = json.loads(text)
            order = body["order"]
            numbers = [order[name] for name in ("tokenId", "makerAmount", "takerAmount", "timestamp", "expiration")]
            right = (
                set(body) == _BODY
                and set(order) == _ORDER
                and all(isinstance(each, str) and _NUMBER.fullmatch(each) for each in numbers)
                and type(order["salt"]) is int
                and 0 <= order["salt"] < 1 << 53
                and order["side"] in {"BUY", "SELL"}
                and order["taker"] == "0x" + "0" * 40
                and order["metadata"] == order["builder"] == ZEROS
                and body["orderType"] in {"GTC", "GTD", "FOK", "FAK"}
                and body["postOnly"] is False
                and body["deferExec"] is False
                and int(order["timestamp"]) < self.clock.now() + 1000 * _FUTURE
                and order["tokenId"] in self.books.markets
                and int(order["makerAmount"]) > 0
                and int(order["takerAmount"]) > 0
            )
        except (ValueError, LookupError, TypeError):
            right = False
        if not right:
            raise refused("Invalid order payload")
        if body["owner"] != self.api["apiKey"]:
            raise refused("the order owner has to be the owner of the API KEY")
        by_wallet = self.key["kind"] == "deposit"
        if order["signer"] != (self.wallet if by_wallet else self.address):
            raise refused("the order signer address has to be the address of the API KEY")
        if order["maker"] != self.wallet or order["signatureType"] != KINDS.index(self.key["kind"]):
            raise refused("maker address not allowed, please use the deposit wallet flow")
        return body, order

    def _ask(self, body: Mapping[str, Any], order: Mapping[str, Any], order_id: str) -> Ask:
        """What the books are asked for; raises Refused for what the rules of the outcome do not allow."""
        given, got = (Decimal(order[name]) / 10**6 for name in ("makerAmount", "takerAmount"))
        shares, cost = (got, given) if order["side"] == "BUY" else (given, got)
        price, rules = cost / shares, self._market(order["tokenId"]).rules
        at_once, expiration = body["orderType"] in {"FOK", "FAK"}, int(order["expiration"])
        if not ZERO < price < 1:
            raise refused("invalid price, price must be greater than 0 and less than 1")
        if at_once and (whole(given, Decimal("0.01")) != given or whole(got, Decimal("0.0001")) != got):
            side = order["side"].lower()
            raise refused(
                f"invalid amounts, the market {side} orders maker amount supports a max accuracy of 2 decimals, "
                "taker amount a max of 4 decimals"
            )
        if not at_once and price % rules.tick:
            raise refused(f"order {order_id} is invalid. Price ({price}) breaks minimum tick size rule: {rules.tick}")
        if not at_once and shares < LEAST:
            raise refused(f"order {order_id} is invalid. Size ({shares}) lower than the minimum: {LEAST}")
        if (body["orderType"] == "GTD") != bool(expiration) or 0 < expiration < self.clock.now() // 1000 + 60:
            raise refused("invalid expiration")
        now_at = self.books.market(order["tokenId"]).price(self.clock.now())
        if at_once and order["side"] == "BUY" and price >= now_at:
            shares = whole(cost / now_at, rules.step)  # such an order spends a sum
        crosses = price >= now_at if order["side"] == "BUY" else price <= now_at
        if crosses and order["side"] == "BUY" and shares * now_at < 1:
            raise refused(f"invalid amount for a marketable BUY order (${shares * now_at}), min size: $1")
        times = {"FAK": "IOC", "FOK": "FOK"}
        return Ask(
            *(order["tokenId"], order["side"], "LIMIT", order_id),
            quantity=shares,
            price=price,
            time_in_force=times.get(body["orderType"], "GTC"),
        )

    def _crosses(self, ask: Ask) -> bool:
        now_at, price = self.books.market(ask.symbol).price(self.clock.now()), ask.price or ZERO
        return price >= now_at if ask.side == "BUY" else price <= now_at


def _neg_risk(token: str) -> bool:
    return token == FINE_TOKEN


Endpoint = Callable[["Polymarket", Any, str], Any]

_ROUTES: Final[Mapping[tuple[str, str], tuple[int, tuple[str, ...], Endpoint]]] = {
    ("GET", "/time"): (0, (), Polymarket.time),
    ("GET", "/markets"): (0, ("clob_token_ids",), Polymarket.markets),
    ("GET", "/prices-history"): (0, ("market", "fidelity", "startTs", "endTs"), Polymarket.history),
    ("GET", "/book"): (0, ("token_id",), Polymarket.book),
    ("GET", "/last-trade-price"): (0, ("token_id",), Polymarket.last_price),
    ("GET", "/auth/derive-api-key"): (1, (), Polymarket.derive),
    ("GET", "/balance-allowance"): (2, ("asset_type", "token_id", "signature_type"), Polymarket.balance),
    ("GET", "/balance-allowance/update"): (2, ("asset_type", "token_id", "signature_type"), Polymarket.balance),
    ("POST", "/order"): (2, (), Polymarket.place),
    ("DELETE", "/order"): (2, (), Polymarket.cancel),
    ("GET", "/data/order/"): (2, (), Polymarket.one_order),
    ("GET", "/data/orders"): (2, ("id", "market", "asset_id", "next_cursor"), Polymarket.open_orders),
    ("GET", "/data/trades"): (
        2,
        ("id", "maker_address", "market", "asset_id", "before", "after", "next_cursor"),
        Polymarket.trades,
    ),
}
"""By whom it may be asked: anyone, the holder of the wallet's key, the holder of the second; with which parameters."""
