"""The tests' own door to any exchange here, under /_test/: looks into the books; sets price, clock, key and faults."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from tests.venue.account import Account
from tests.venue.http import Answer, HttpRequest
from tests.venue.orders import Ask
from tests.venue.refusals import Refused
from tests.venue.writing import as_json

PREFIX: Final = "/_test/"

V = TypeVar("V", bound=Account)
Actions = Mapping[str, Callable[[V, dict[str, Any]], Any]]
"""What can be asked for, by method and path."""


def answer(venue: V, request: HttpRequest, actions: Actions[V]) -> Answer:
    """Does what is asked; 400 with the reason when it cannot."""
    action = actions.get(f"{request.method} {request.path.removeprefix(PREFIX)}")
    if action is None:
        return Answer(404, b"{}")
    try:
        result = action(venue, json.loads(request.body or "{}"))
    except Refused as refused:
        return as_json({"code": refused.code, "msg": refused.message}, refused.status)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        return as_json({"error": repr(error)}, 400)
    return as_json(result)


def _books(venue: Account, body: dict[str, Any]) -> Any:
    books = venue.books
    now = books.advance()
    used = Counter(order.client_id for order in books.orders if not order.foreign)
    return {
        "time": now,
        "prices": {name: str(market.price(now)) for name, market in books.markets.items()},
        "orders": [
            {
                "id": order.id,
                "client_id": order.client_id,
                "symbol": order.symbol,
                "side": order.side,
                "type": order.type,
                "status": order.status,
                "quantity": str(order.quantity),
                "executed": str(order.executed),
                "price": str(order.price),
                "foreign": order.foreign,
            }
            for order in books.orders
        ],
        "trades": [
            {
                "id": trade.id,
                "order_id": trade.order_id,
                "client_id": trade.client_id,
                "symbol": trade.symbol,
                "side": trade.side,
                "price": str(trade.price),
                "quantity": str(trade.quantity),
                "commission": str(trade.commission),
                "commission_asset": trade.commission_asset,
                "at": trade.at,
                "maker": trade.maker,
            }
            for trade in books.trades
        ],
        "balances": {asset: str(free + books.locked[asset]) for asset, free in books.free.items()},
        "requests": dict(venue.requests),
        "refusals": dict(venue.refusals),
        "faults": dict(venue.faults.done),
        "duplicates": {client_id: count for client_id, count in used.items() if count > 1},
    }


def _price(venue: Account, body: dict[str, Any]) -> Any:
    symbol = body.get("symbol") or next(iter(venue.books.markets))
    depth = body.get("depth")
    price = None if body.get("walk") else Decimal(body["price"])
    venue.books.pin(symbol, price, None if depth is None else Decimal(depth))
    if "then" in body:
        venue.books.pin(symbol, Decimal(body["then"]))
    return {"price": str(venue.books.market(symbol).price(venue.books.now()))}


def _clock(venue: Account, body: dict[str, Any]) -> Any:
    ahead = float(body["ahead"])
    venue.books.shift(lambda: setattr(venue.clock, "ahead", ahead))
    return {"time": venue.clock.now()}


def _key(venue: Account, body: dict[str, Any]) -> Any:
    venue.valid = bool(body.get("valid", venue.valid))
    venue.permissions |= body.get("permissions") or {}
    return {"valid": venue.valid, "permissions": venue.permissions}


def _foreign(venue: Account, body: dict[str, Any]) -> Any:
    symbol = body.get("symbol") or next(iter(venue.books.markets))
    quantity, price = Decimal(body["quantity"]), Decimal(body["price"]) if "price" in body else None
    name = f"web{len(venue.books.orders)}"
    ask = Ask(symbol, body["side"], body["type"], name, quantity=quantity, price=price, foreign=True)
    order = venue.books.place(ask)
    return {"id": order.id}


def _cancel(venue: Account, body: dict[str, Any]) -> Any:
    symbol = body.get("symbol") or next(iter(venue.books.markets))
    return {"status": venue.books.cancel(symbol, int(body["id"]), None).status}


def _faults(venue: Account, body: dict[str, Any]) -> Any:
    venue.faults.replace(body)
    return {"rules": len(venue.faults.rules)}


def _reset(venue: Account, body: dict[str, Any]) -> Any:
    venue.reset()
    return {}


ACTIONS: Final[Actions[Account]] = {
    "GET books": _books,
    "POST price": _price,
    "POST clock": _clock,
    "POST key": _key,
    "POST foreign": _foreign,
    "POST cancel": _cancel,
    "POST faults": _faults,
    "POST reset": _reset,
}
