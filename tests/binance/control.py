"""The tests' own door, under /_test/: looks into the books, and sets price, clock, key, limits and faults."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from tests.binance import wire
from tests.binance.app import Exchange
from tests.binance.asking import asked
from tests.binance.params import Params
from tests.binance.requests import Request
from tests.venue.http import Answer
from tests.venue.refusals import Refused

PREFIX: Final = "/_test/"


def answer(exchange: Exchange, request: Request) -> Answer:
    """Does what is asked; 400 with the reason when it cannot."""
    action = ACTIONS.get(f"{request.method} {request.path.removeprefix(PREFIX)}")
    if action is None:
        return Answer(404, b"{}")
    try:
        result = action(exchange, json.loads(request.body or "{}"))
    except Refused as refused:
        return Answer(refused.status, json.dumps({"code": refused.code, "msg": refused.message}).encode())
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        return Answer(400, json.dumps({"error": repr(error)}).encode())
    return Answer(200, json.dumps(result).encode())


def _books(exchange: Exchange, body: dict[str, Any]) -> Any:
    books = exchange.desk.books
    now = books.advance()
    used = Counter(order.client_id for order in books.orders)
    return {
        "time": now,
        "prices": {symbol: wire.money(market.price(now)) for symbol, market in books.markets.items()},
        "orders": [wire.shown(order) | {"foreign": order.foreign} for order in books.orders],
        "trades": [wire.traded(t) | {"clientOrderId": t.client_id, "side": t.side} for t in books.trades],
        "balances": {
            asset: {"free": wire.money(free), "locked": wire.money(books.locked[asset])}
            for asset, free in books.free.items()
        },
        "deposited": {asset: wire.money(amount) for asset, amount in books.deposited.items()},
        "requests": dict(exchange.requests),
        "refusals": dict(exchange.refusals),
        "faults": dict(exchange.faults.done),
        "duplicates": {client_id: count for client_id, count in used.items() if count > 1},
    }


def _price(exchange: Exchange, body: dict[str, Any]) -> Any:
    books = exchange.desk.books
    symbol = body.get("symbol") or next(iter(books.markets))
    depth = body.get("depth")
    price = None if body.get("walk") else Decimal(body["price"])
    books.pin(symbol, price, None if depth is None else Decimal(depth))
    if "then" in body:
        books.pin(symbol, Decimal(body["then"]))
    return {"price": wire.money(books.market(symbol).price(books.now()))}


def _clock(exchange: Exchange, body: dict[str, Any]) -> Any:
    ahead = float(body["ahead"])
    exchange.desk.books.shift(lambda: setattr(exchange.clock, "ahead", ahead))
    return {"time": exchange.clock.now()}


def _key(exchange: Exchange, body: dict[str, Any]) -> Any:
    exchange.key.valid = bool(body.get("valid", exchange.key.valid))
    exchange.desk.restrictions |= body.get("restrictions") or {}
    return {"valid": exchange.key.valid, "restrictions": exchange.desk.restrictions}


def _foreign(exchange: Exchange, body: dict[str, Any]) -> Any:
    books = exchange.desk.books
    symbol = body.get("symbol") or next(iter(books.markets))
    if "cancel" in body:
        return wire.shown(books.cancel(symbol, int(body["cancel"]), None))
    usual = {"timeInForce": "GTC"} if body.get("type") in {"LIMIT", "STOP_LOSS_LIMIT"} else {}
    usual |= {"symbol": symbol, "newClientOrderId": f"web_{exchange.desk.made_up()}"}
    ask, _ = asked(exchange.desk, Params(urlencode(usual | body)))
    return wire.shown(books.place(replace(ask, foreign=True)))


def _limits(exchange: Exchange, body: dict[str, Any]) -> Any:
    ban = body.pop("ban", None)
    limits = exchange.desk.limits
    limits.set(body)
    if ban is not None:
        limits.ban(exchange.clock.now(), float(ban))
    return {"used": limits.used, "banned_until": limits.banned_until}


def _faults(exchange: Exchange, body: dict[str, Any]) -> Any:
    exchange.faults.replace(body)
    return {"rules": len(exchange.faults.rules)}


def _reset(exchange: Exchange, body: dict[str, Any]) -> Any:
    exchange.reset()
    return {}


ACTIONS: Final[dict[str, Callable[[Exchange, dict[str, Any]], Any]]] = {
    "GET books": _books,
    "POST price": _price,
    "POST clock": _clock,
    "POST key": _key,
    "POST foreign": _foreign,
    "POST limits": _limits,
    "POST faults": _faults,
    "POST reset": _reset,
}
