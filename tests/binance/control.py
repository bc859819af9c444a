"""The tests' own door, under /_test/: as that of any exchange here, with books in Binance's words, and with limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from tests.binance import wire
from tests.binance.app import Exchange
from tests.binance.asking import asked
from tests.binance.params import Params
from tests.venue import control


def _books(exchange: Exchange, body: dict[str, Any]) -> Any:
    books = exchange.books
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


def _foreign(exchange: Exchange, body: dict[str, Any]) -> Any:
    books = exchange.books
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


ACTIONS: Final[control.Actions[Exchange]] = {
    **control.ACTIONS,
    "GET books": _books,
    "POST foreign": _foreign,
    "POST limits": _limits,
}
