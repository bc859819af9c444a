"""The books of all three sides held against each other: what the exchange has, the journal, what the server was told.

Pure: what was read from each goes in, what does not agree comes out, a sentence each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from node_agent.core.ids import order_of_command, order_of_strategy
from node_agent.core.market import Side

ENDED: Final = frozenset(("filled", "cancelled", "expired", "rejected", "refused"))


@dataclass(frozen=True, slots=True)
class Books:
    """What is compared, when all is quiet."""

    exchange_orders: Sequence[Mapping[str, Any]]
    """Every order that the exchange ever accepted, in its own words."""
    exchange_trades: Sequence[Mapping[str, Any]]
    journal_orders: Sequence[Mapping[str, Any]]
    """Records of the journal."""
    journal_fills: Sequence[Mapping[str, Any]]
    journal_events: Sequence[Mapping[str, Any]]
    server_events: Sequence[Mapping[str, Any]]
    commands: Sequence[str]
    """Ids of commands that the server gave."""
    holdings: Mapping[str, Decimal]
    """What the node believes that it holds, by base currency."""
    balance_changes: Mapping[str, Decimal]
    """What the account has of each currency more than at the start."""


def differences(books: Books) -> list[str]:
    """All that does not agree; empty when the promise was kept."""
    return [*_orders(books), *_ids(books), *_fills(books), *_events(books), *_commands(books), *_holdings(books)]


def _orders(books: Books) -> Iterable[str]:
    there = Counter(order["clientOrderId"] for order in books.exchange_orders)
    for name, times in there.items():
        if times > 1:
            yield f"order {name} is {times} times at the exchange"
    ours = {order["client_order_id"]: order for order in books.journal_orders}
    for order in books.exchange_orders:
        known = ours.get(order["clientOrderId"])
        if known is None:
            yield f"order {order['clientOrderId']} is at the exchange and not in the journal"
        elif known["exchange_order_id"] not in (None, str(order["orderId"])):
            yield f"order {order['clientOrderId']}: number {order['orderId']} is {known['exchange_order_id']} here"
        elif Decimal(known["filled"]) != Decimal(order["executedQty"]):
            yield f"order {order['clientOrderId']}: {order['executedQty']} filled there, {known['filled']} here"
        elif known["state"] != _state(order):
            yield f"order {order['clientOrderId']}: {order['status']} there, {known['state']} here"
    for name, known in ours.items():
        if name not in there and (known["exchange_order_id"] is not None or Decimal(known["filled"])):
            yield f"order {name} is {known['state']} in the journal and not at the exchange"
        if known["state"] not in ENDED:
            yield f"order {name} has not ended: {known['state']}"


def _ids(books: Books) -> Iterable[str]:
    """An id that is made up, and not derived from what was decided, would be another one after a crash."""
    for order in books.journal_orders:
        name, symbol, side = order["client_order_id"], order["symbol"], Side(order["side"])
        if order["command_id"] is not None:
            derived = order_of_command(order["command_id"])
        else:
            derived = order_of_strategy(order["strategy"], symbol, datetime.fromisoformat(order["market_at"]), side)
        if name != derived:
            yield f"order {name} has not the id of its decision"


def _state(order: Mapping[str, Any]) -> str:
    status = str(order["status"])
    return {"CANCELED": "cancelled", "EXPIRED_IN_MATCH": "expired"}.get(status, status.lower())


def _fills(books: Books) -> Iterable[str]:
    there = Counter(str(trade["id"]) for trade in books.exchange_trades)
    here = Counter(fill["trade_id"] for fill in books.journal_fills)
    told = Counter(event["data"]["trade_id"] for event in books.server_events if event["type"] == "trade")
    if there != here:
        yield f"fills only there: {sorted((there - here).elements())}; only here: {sorted((here - there).elements())}"
    if there != told:
        more, less = sorted((told - there).elements()), sorted((there - told).elements())
        yield f"trades not told: {less}; told too often: {more}"
    amounts = {fill["trade_id"]: (Decimal(fill["amount"]), Decimal(fill["price"])) for fill in books.journal_fills}
    for trade in books.exchange_trades:
        amount = Decimal(trade["qty"]), Decimal(trade["price"])
        if amounts.get(str(trade["id"]), amount) != amount:
            yield f"fill {trade['id']} is {amount} there and {amounts[str(trade['id'])]} here"


def _events(books: Books) -> Iterable[str]:
    here = [(event["seq"], event["id"], event["type"], event["data"]) for event in books.journal_events]
    there = [(event["seq"], event["id"], event["type"], event["data"]) for event in books.server_events]
    if [number for number, *_ in there] != list(range(1, len(there) + 1)):
        yield "the server's events have a gap or come twice"
    if here != there:
        at = next(
            (n for n, (a, b) in enumerate(zip(here, there, strict=False), 1) if a != b), min(len(here), len(there)) + 1
        )
        yield f"{len(here)} events here, {len(there)} at the server; the first that differs is number {at}"


def _commands(books: Books) -> Iterable[str]:
    orders = Counter(order["command_id"] for order in books.journal_orders if order["command_id"] is not None)
    for command in books.commands:
        if orders[command] > 1:
            yield f"command {command} made {orders[command]} orders"
    answered = {event["data"].get("command_id") for event in books.server_events}
    for command in books.commands:
        if command not in answered:
            yield f"nothing was told of command {command}"


def _holdings(books: Books) -> Iterable[str]:
    for currency in books.holdings.keys() | books.balance_changes.keys():
        here, there = books.holdings.get(currency, Decimal(0)), books.balance_changes.get(currency, Decimal(0))
        if here != there:
            yield f"the account has {there} {currency} more than at the start, the node counts {here}"
