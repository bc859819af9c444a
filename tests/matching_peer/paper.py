"""Plays cases on our paper exchange's matching."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from node_agent.core import market
from node_agent.core.market import ExchangeOrder, Fill, Market, OrderRequest, OrderType, Side, TimeInForce
from node_agent.exchanges.paper.matching import Books, Rejected, Rules, Updates, cancel, on_candle, place
from tests.matching_peer.script import Cancel, Candle, Case, Outcome, Place, parse, plain

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
# our words for why an order was not taken | what the cases call it
WHY: Final = {
    "the notional is below": "notional",
    "not enough": "funds",
    "the price is not": "price",
    "the amount is not": "amount",
    "no price yet": "no market",
}


def play(case: Case) -> Outcome:
    """All steps, and how everything stands after them."""
    rules = case.rules
    pair = Market("BTC/USDT", "BTC", "USDT", rules["tick"], rules["step"], rules["minimum_notional"])
    ours = Rules(pair, rules["maker_fee"], rules["taker_fee"], rules["volume_share"])
    books = Books(base=case.base, quote=case.quote)
    outcome = Outcome()
    for number, line in enumerate(case.steps, start=1):
        updates: Updates = ()
        match parse(line):
            case Candle() as candle:
                books, updates = on_candle(books, ours, _candle(candle, number))
            case Place() as order:
                try:
                    books, updates = place(books, ours, _request(order))
                except Rejected as error:
                    why = next((why for words, why in WHY.items() if words in str(error)), str(error))
                    outcome.orders[order.id] = f"rejected: {why}"
            case Cancel(id=name):
                books, updates = cancel(books, name)
        for each in updates:
            _note(outcome, number, each)
    outcome.balances = {"base": plain(books.base), "quote": plain(books.quote)}
    return outcome


def _note(outcome: Outcome, step: int, update: ExchangeOrder | Fill) -> None:
    if isinstance(update, Fill):
        name, liquidity = update.client_order_id, str(update.liquidity)
        outcome.fill(step, name, update.amount, update.price, update.fee, liquidity)
    else:
        outcome.orders[update.client_order_id] = str(update.status)


def _candle(candle: Candle, number: int) -> market.Candle:
    at = START + timedelta(minutes=number)
    return market.Candle("BTC/USDT", at, candle.open, candle.high, candle.low, candle.close, candle.volume)


def _request(order: Place) -> OrderRequest:
    return OrderRequest(
        client_order_id=order.id,
        symbol="BTC/USDT",
        side=Side(order.side),
        type=OrderType(order.type),
        amount=order.amount,
        price=order.price if order.type == "limit" else None,
        stop_price=order.price if order.type == "stop" else None,
        time_in_force=TimeInForce.IOC if order.ioc else TimeInForce.GTC,
    )
