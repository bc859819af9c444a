"""The state's facts as JSON values and back: what the journal keeps beside orders, fills, commands and events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from node_agent.core.kept import Orders, Seen
from node_agent.core.market import ExchangeOrder, ExchangeStatus, OpenOrder, Side
from node_agent.core.orders import Order
from node_agent.core.risk import recent
from node_agent.core.state import Day, Holding, Pause, State, StrategyBook, Windup
from node_protocol.encoding import format_time, parse_time
from node_protocol.messages import format_decimal

time = format_time


def market(state: State) -> dict[str, Any]:
    """The market's clock, prices and day."""
    return {
        "at": _time(state.market_at),
        "candles_at": {symbol: format_time(at) for symbol, at in state.candles_at.items()},
        "prices": {symbol: format_decimal(price) for symbol, price in state.prices.items()},
        "priced_at": {symbol: format_time(at) for symbol, at in state.priced_at.items()},
        "day": state.day and _day(state.day),
        "snapshot_at": _time(state.snapshot_at),
    }


def markets(state: State) -> dict[str, Any]:
    """The rules of each market, by symbol."""
    return {
        symbol: {
            "base": market.base,
            "quote": market.quote,
            "tick_size": format_decimal(market.tick_size),
            "step_size": format_decimal(market.step_size),
            "minimum_notional": format_decimal(market.minimum_notional),
            "minimum_amount": format_decimal(market.minimum_amount),
        }
        for symbol, market in state.markets.items()
    }


def foreign(state: State) -> list[dict[str, Any]]:
    """Open orders on the account that this node did not place."""
    return [
        {
            "exchange_order_id": each.order.exchange_order_id,
            "client_order_id": each.order.client_order_id,
            "symbol": each.order.symbol,
            "side": str(each.side),
            "amount": format_decimal(each.order.amount),
            "filled": format_decimal(each.order.filled),
            "price": None if each.price is None else format_decimal(each.price),
        }
        for each in state.foreign.values()
    ]


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
    listed = list(orders)
    placed = [order.placed_at for order in listed if order.tries_to_trade]
    seen_at, ahead = facts.get("last_sync_at"), timedelta(seconds=facts.get("clock_offset") or 0)
    return State(
        origin=origin,
        next_seq=last_seq + 1,
        mode=(facts.get("node") or {}).get("mode") or "",
        policy_digest=facts.get("policy_digest"),
        orders=Orders.of(listed),
        commands=Seen(frozenset(commands)),
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
        market_at=_moment(seen.get("at")),
        candles_at={symbol: parse_time(at) for symbol, at in seen.get("candles_at", {}).items()},
        priced_at={symbol: parse_time(at) for symbol, at in seen.get("priced_at", {}).items()},
        day=_day_from(seen.get("day")),
        server_ahead=ahead,
        server_seen_at=None if seen_at is None else parse_time(seen_at) - ahead,
        windup=_windup_from(facts.get("windup")),
        foreign={each["exchange_order_id"]: _foreign_from(each) for each in facts.get("foreign") or ()},
        placed=recent(placed, placed[-1]) if placed else (),
        snapshot_at=_moment(seen.get("snapshot_at")),
    )


def windup(state: State) -> dict[str, Any] | None:
    """How far the owner's kill switch has come; None when there is nothing left to do."""
    if state.windup is None:
        return None
    return {
        "begun_at": format_time(state.windup.begun_at),
        "flatten": state.windup.flatten,
        "then_end": state.windup.then_end,
        "wanted_by": sorted(state.windup.wanted_by),
        "attempts": dict(state.windup.attempts),
    }


def _foreign_from(stored: dict[str, Any]) -> OpenOrder:
    amounts = (Decimal(stored["amount"]), Decimal(stored["filled"]))
    names = (stored["client_order_id"], stored["exchange_order_id"], stored["symbol"])
    price = stored["price"]
    order = ExchangeOrder(*names, ExchangeStatus.OPEN, *amounts)
    return OpenOrder(order, Side(stored["side"]), None if price is None else Decimal(price))


def _windup_from(stored: dict[str, Any] | None) -> Windup | None:
    if stored is None:
        return None
    wanted_by = frozenset(stored.get("wanted_by") or ())
    return Windup(parse_time(stored["begun_at"]), stored["flatten"], stored["then_end"], wanted_by, stored["attempts"])


def _day(day: Day) -> dict[str, Any]:
    return {
        "date": day.date.isoformat(),
        "baseline": format_decimal(day.baseline),
        "high": format_decimal(day.high),
        "orders": day.orders,
    }


def _day_from(stored: dict[str, Any] | None) -> Day | None:
    if not stored:
        return None
    baseline = Decimal(stored["baseline"])
    return Day(
        date.fromisoformat(stored["date"]),
        baseline,
        Decimal(stored["high"]) if "high" in stored else baseline,
        stored.get("orders", 0),
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
