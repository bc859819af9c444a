"""What exchanges tell of our orders, and what follows: adopt, look, send again, give up, count a fill once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from node_agent.core import memory
from node_agent.core.account import book
from node_agent.core.effects import After, Cancel, LookFor, ReadFills, Submit
from node_agent.core.events import CancelFailed, Failure, LookedFor, Lookup, SubmitFailed
from node_agent.core.intents import refusing_now
from node_agent.core.market import ExchangeOrder, ExchangeStatus, Fill, OpenOrder
from node_agent.core.orders import ENDED, Move, Order, OrderState
from node_agent.core.pauses import cancel
from node_agent.core.reconcile import Finding, decide, survey
from node_agent.core.turn import Turn
from node_agent.core.windup import exits
from node_protocol.messages import format_decimal

_LONGEST_WAIT: Final = 30.0
"""Seconds between two tries, at the most."""
_FILLS_WAIT: Final = 1.0
"""Seconds that fills may lag behind the end that they led to before they are asked for."""

_END_MOVES: Final = {
    ExchangeStatus.FILLED: Move.FILLED_WHOLLY,
    ExchangeStatus.CANCELLED: Move.CANCELLED,
    ExchangeStatus.EXPIRED: Move.EXPIRED,
    ExchangeStatus.REJECTED: Move.REJECTED,
}


def take_fill(turn: Turn, fill: Fill) -> None:
    """Count a fill and report it, once. One of an order that is not ours is written down, said, and not counted."""
    order = turn.state.orders.get(fill.client_order_id)
    if order is None:
        turn.fill(fill)
        turn.note(f"fill {fill.trade_id} of {fill.symbol} is of an order that is not ours: {fill.client_order_id}")
        return
    if fill.trade_id in order.trade_ids:
        return
    turn.fill(fill)
    _there_after_all(turn, order)
    book(turn, fill, order.strategy)
    turn.report(
        "trade",
        client_order_id=fill.client_order_id,
        trade_id=fill.trade_id,
        exchange=order.exchange,
        symbol=fill.symbol,
        side=str(fill.side),
        price=format_decimal(fill.price),
        amount=format_decimal(fill.amount),
        fee=format_decimal(fill.fee),
        fee_currency=fill.fee_currency,
        liquidity=str(fill.liquidity),
    )
    order = replace(
        turn.state.orders[order.client_order_id],
        filled=order.filled + fill.amount,
        filled_quote=order.filled_quote + fill.amount * fill.price,
        trade_ids=(*order.trade_ids, fill.trade_id),
    )
    if order.filled > order.amount:
        turn.note(f"order {order.client_order_id} has filled more than its amount")
    if order.filled >= order.amount:
        turn.move(_settled(order), Move.FILLED_WHOLLY)
        return
    order = turn.move(order, Move.FILLED_PARTLY)
    if order.told is not None and order.filled >= order.told.filled:
        _settle(turn, order, order.told)
    order = turn.state.orders[order.client_order_id]
    if order.cancel_wanted:
        cancel(turn, order)


def take_told(turn: Turn, told: ExchangeOrder) -> None:
    """Take in how the exchange says that an order stands. What it says may be late, or said before."""
    order = turn.state.orders.get(told.client_order_id)
    if order is None:
        return
    if order.ended:
        _told_after_end(turn, order, told)
        return
    order = replace(_there_after_all(turn, order), exchange_order_id=told.exchange_order_id, lost_at=None, tries=0)
    if told.status is ExchangeStatus.OPEN and order.told is not None and order.told.status is not told.status:
        told = order.told  # an end is not taken back: what says otherwise is late
    if told.status is ExchangeStatus.OPEN:
        order = turn.move(order, Move.OPENED)
    if told.filled > order.filled:
        if order.told is None or order.told.status is not told.status:
            turn.do(After(_FILLS_WAIT, order.client_order_id))
        turn.put(replace(order, told=told))
    else:
        _settle(turn, order, told)
    order = turn.state.orders[order.client_order_id]
    if order.cancel_wanted:
        cancel(turn, order)


def take_submit_failure(turn: Turn, event: SubmitFailed) -> None:
    """The exchange did not take the order, or we do not know whether it did."""
    order = turn.state.orders.get(event.client_order_id)
    if order is None or order.state is not OrderState.SUBMITTING or order.exchange_order_id is not None:
        return
    if event.failure in (Failure.REFUSED, Failure.TOO_SMALL):
        turn.move(order, Move.REJECTED, reason=event.reason)
        if event.failure is Failure.TOO_SMALL and order.client_order_id in exits(turn.state):
            _learn_least(turn, order)
    elif event.failure is Failure.UNKNOWN:
        _lose(turn, order, event.reason)
        turn.do(LookFor(order.client_order_id, order.symbol))
        return
    else:
        order = turn.move(order, Move.RETURN, reason=event.reason)
        if order.cancel_wanted:
            turn.move(order, Move.ABANDON, reason="cancelled before it reached the exchange")
        else:
            _again_later(turn, order)


def take_cancel_failure(turn: Turn, event: CancelFailed) -> None:
    """A cancel came to nothing: look when the exchange refused it, else try again until the order has ended."""
    order = turn.state.orders.get(event.client_order_id)
    if order is None or order.state is not OrderState.CANCELLING:
        return
    if event.failure is Failure.REFUSED:
        turn.do(LookFor(order.client_order_id, order.symbol))
    _again_later(turn, order)


def take_lookup(turn: Turn, event: LookedFor) -> None:
    """The exchange answered for an order that we were not sure of.

    One that it did not find while the request for it was under way tells nothing: the request's own answer is to come.
    """
    order = turn.state.orders.get(event.client_order_id)
    if order is None or order.ended or (order.state is OrderState.SUBMITTING and event.lookup.order is None):
        return
    reconcile(turn, order, event.lookup)


def reconcile(turn: Turn, order: Order, lookup: Lookup) -> None:
    """Do what follows from the exchange's answer about an order that has not ended."""
    if order.state is OrderState.ACCEPTED and lookup.order is None:
        _send_or_give_up(turn, order)
        return
    lost_for = timedelta(0) if order.lost_at is None else (lookup.asked_at or turn.at) - order.lost_at
    conduct = turn.state.conduct
    unwanted = _unwanted(turn, order)
    order = turn.state.orders[order.client_order_id]  # a judgement that fails halts, and wants orders cancelled
    finding = decide(order, lookup, wanted=unwanted is None, lost_for=lost_for, conduct=conduct)
    if finding is Finding.ADOPT and lookup.order is not None:
        take_told(turn, lookup.order)
    elif finding is Finding.SEND:
        _send(turn, order)
    elif finding is Finding.ABANDON:
        turn.move(order, Move.ABANDON, reason=f"it never reached the exchange, and {unwanted}")
    else:
        reason = lookup.unsure or "the exchange does not find it"
        if order.state is OrderState.CANCELLING:
            order = order.wanting_cancel()
        _again_later(turn, _lose(turn, order, reason))


def take_due(turn: Turn, client_order_id: str) -> None:
    """Some time has passed: whatever is still not as it should be is asked for again."""
    order = turn.state.orders.get(client_order_id)
    if order is None or order.ended:
        return
    if order.told is not None and order.told.filled > order.filled:
        turn.do(ReadFills(order.market_at))
        if order.state is OrderState.CANCELLING and order.told.status is ExchangeStatus.OPEN:
            turn.do(Cancel(client_order_id, order.symbol))
        else:
            turn.do(After(_LONGEST_WAIT, client_order_id))
    elif order.state is OrderState.ACCEPTED:
        _send_or_give_up(turn, order)
    elif order.state is OrderState.UNKNOWN:
        turn.do(LookFor(client_order_id, order.symbol))
    elif order.state is OrderState.CANCELLING:
        turn.do(Cancel(client_order_id, order.symbol))


def take_open_orders(turn: Turn, orders: Iterable[OpenOrder]) -> None:
    """Hold what is open on the account against our books: see strangers' orders, miss ours, end what should have ended.

    What is open there though it has ended here is cancelled when it is seen for the second time: at the first, its end
    may only be newer than the list. So is what an exchange took a cancel for and still has: it only took note of it,
    and that may have come to nothing.
    """
    found = survey(turn.state.orders, orders)
    for name in found.foreign.keys() - turn.state.foreign.keys():
        _tell_foreign(turn, found.foreign[name])
    undead = {each.order.client_order_id: each.order.symbol for each in found.undead}
    seen = {name: turn.state.undead.get(name, 0) + 1 for name in undead}
    for name, symbol in undead.items():
        if seen[name] == 2 and turn.state.orders[name].ended:
            turn.note(f"order {name} has ended in our books and is open at the exchange: it is cancelled there")
        if seen[name] > 1 and (turn.state.orders[name].ended or not seen[name] & seen[name] - 1):
            turn.do(Cancel(name, symbol))
    if found.foreign != turn.state.foreign:
        turn.change(foreign=dict(found.foreign))
        turn.remember("foreign", memory.foreign(turn.state))
    turn.change(undead=seen)
    for order in found.missing:
        turn.do(LookFor(order.client_order_id, order.symbol))


def _tell_foreign(turn: Turn, each: OpenOrder) -> None:
    price = "" if each.price is None else f" at {format_decimal(each.price)}"
    what = f"{each.side} {format_decimal(each.order.amount)} {each.order.symbol}{price}"
    turn.note(f"an order that this node did not place is open on the account, and is left alone: {what}")


def _learn_least(turn: Turn, order: Order) -> None:
    """The exchange takes more than this alone: some do not tell beforehand. What is left of a position may be dust.

    Of exits alone: any other may be too small by the price that it names, and large all the same.
    """
    market = turn.state.markets.get(order.symbol)
    if market is not None and order.amount >= market.minimum_amount:
        market = replace(market, minimum_amount=order.amount + market.step_size)
        turn.change(markets={**turn.state.markets, order.symbol: market})
        turn.fact("markets", memory.markets(turn.state))


def _there_after_all(turn: Turn, order: Order) -> Order:
    """The order, when the exchange tells of it. One that surely did not reach it is not to be sent once more."""
    if order.state is not OrderState.ACCEPTED:
        return order
    return turn.move(order, Move.LOSE, reason="the exchange has it after all")


def _lose(turn: Turn, order: Order, reason: str) -> Order:
    return turn.move(replace(order, lost_at=order.lost_at or turn.at), Move.LOSE, reason=reason)


def _told_after_end(turn: Turn, order: Order, told: ExchangeOrder) -> None:
    end = _END_MOVES.get(told.status)
    late = told.filled <= order.filled and told.status is ExchangeStatus.OPEN and order.exchange_order_id is not None
    if late or (end is not None and order.state is _state_of(end)):
        return
    turn.note(f"order {order.client_order_id} is {order.state}, and the exchange says: {told.status}")


def _settle(turn: Turn, order: Order, told: ExchangeOrder) -> None:
    """Every fill behind what was told is here, so it takes effect."""
    order = _settled(order)
    if told.status is ExchangeStatus.OPEN:
        turn.put(order)
    else:
        turn.move(order, _END_MOVES[told.status], reason=told.reason)


def _settled(order: Order) -> Order:
    return replace(order, told=None)


def _state_of(end: Move) -> OrderState:
    return next(state for state in ENDED if state == ("filled" if end is Move.FILLED_WHOLLY else str(end)))


def _send_or_give_up(turn: Turn, order: Order) -> None:
    """What becomes of an order that surely did not reach the exchange."""
    unwanted = _unwanted(turn, order)
    order = turn.state.orders[order.client_order_id]
    if order.ended or turn.state.stopping:
        return
    if unwanted is None:
        _send(turn, order)
    else:
        turn.move(order, Move.ABANDON, reason=f"the exchange could not be reached, and {unwanted}")


def _unwanted(turn: Turn, order: Order) -> str | None:
    """Why an order that has not reached the exchange should not be sent there any more; None when it should."""
    if turn.state.stopping:
        return "the node is stopping"
    if order.cancel_wanted:
        return "it was cancelled"
    if turn.at > order.wanted_until:
        return "its time is over"
    return refusing_now(turn, order)


def _send(turn: Turn, order: Order) -> None:
    order = turn.move(replace(order, lost_at=None), Move.SUBMIT)
    turn.do(Submit(order.request()))


def _again_later(turn: Turn, order: Order) -> None:
    order = turn.put(replace(order, tries=order.tries + 1))
    turn.do(After(min(2.0 ** min(order.tries - 1, 10), _LONGEST_WAIT), order.client_order_id))
