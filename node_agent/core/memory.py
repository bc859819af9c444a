"""The state's facts as JSON values and back: what the journal keeps beside orders, fills, commands and events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from node_agent.core.orders import Order
from node_agent.core.risk import MINUTE
from node_agent.core.state import Day, Holding, Pause, State, StrategyBook
from node_protocol.encoding import format_time, parse_time
from node_protocol.messages import format_decimal

time = format_time


def market(state: State) -> dict[str, Any]:
    """The market's clock, prices and day."""
    return {
        "at": _time(state.market_at),
        "candles_at": {symbol: format_time(at) for symbol, at in state.candles_at.items()},
        "prices": {symbol: format_decimal(price) for symbol, price in state.prices.items()},
        "day": state.day and {"date": state.day.date.isoformat(), "baseline": format_decimal(state.day.baseline)},
        "snapshot_at": _time(state.snapshot_at),
    }


def holdings(state: State) -> dict[str, Any]:
    """What the node's fills come to, by symbol."""
    return {
        symbol: {"amount": format_decimal(held.amount), "cash": format_decimal(held.cash)}
        for symbol, held in state.holdings.items()
    }


def strategies(state: State) -> dict[str, Any]:
    """What each strategy remembers and holds."""
    return {
        name: {"memory": book.memory, "position": format_decimal(book.position)}
        for name, book in state.strategy_books.items()
    }


def restored(
    *, origin: str, last_seq: int, facts: Mapping[str, Any], orders: Iterable[Order], commands: Iterable[str]
) -> State:
    """The state that the journal's content stands for. `orders` come oldest first."""
    seen = facts.get("market") or {}
    known = {order.client_order_id: order for order in orders}
    market_at = _moment(seen.get("at"))
    day = seen.get("day")
    placed = sorted(order.market_at for order in known.values() if order.market_at is not None and order.tries_to_trade)
    return State(
        origin=origin,
        next_seq=last_seq + 1,
        policy_digest=facts.get("policy_digest"),
        orders=known,
        commands=frozenset(commands),
        strategy_books={
            name: StrategyBook(book["memory"], Decimal(book["position"]))
            for name, book in (facts.get("strategies") or {}).items()
        },
        holdings={
            symbol: Holding(Decimal(held["amount"]), Decimal(held["cash"]))
            for symbol, held in (facts.get("holdings") or {}).items()
        },
        pauses={
            each["rule"]: Pause(each["rule"], each["by"], each["reason"], parse_time(each["since"]))
            for each in facts.get("pauses") or ()
        },
        prices={symbol: Decimal(price) for symbol, price in seen.get("prices", {}).items()},
        market_at=market_at,
        candles_at={symbol: parse_time(at) for symbol, at in seen.get("candles_at", {}).items()},
        day=Day(date.fromisoformat(day["date"]), Decimal(day["baseline"])) if day else None,
        placed=tuple(at for at in placed if market_at is not None and at > market_at - MINUTE),
        snapshot_at=_moment(seen.get("snapshot_at")),
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
