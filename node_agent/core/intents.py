"""From an intent to an order: rounded, held against the owner's limits, written down, and only then sent.

Whoever asks, a strategy, the server or the owner by hand, comes through `propose`; only the owner's kill switch closes
positions past the limits (`close`), and it can do nothing else. A check that raises halts the node: an order that could
not be judged is not placed, and none is placed after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from node_agent.core import memory
from node_agent.core.amounts import can_be_written, rounded, whole_steps
from node_agent.core.effects import Submit
from node_agent.core.ids import order_of_strategy
from node_agent.core.market import Candle, Market, OrderRequest, OrderType, Side, TimeInForce
from node_agent.core.orders import Move, Order, fields, moved
from node_agent.core.pauses import pause
from node_agent.core.policy import Verdict, check, notional, reduces
from node_agent.core.risk import exposure, is_dust, recent, trading_time
from node_agent.core.state import RISK_CHECK_FAILED, STOPPED_BY_OWNER, Day, State, StrategyBook
from node_agent.core.turn import Turn, shifted
from node_agent.strategies.interface import Intent, Strategy
from node_protocol.messages import OrderPlace

_STRATEGY_PATIENCE: Final = timedelta(seconds=60)
"""How long a strategy's order is worth sending."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who wants an order, and until when it is worth sending."""

    wanted_until: datetime
    command_id: str | None = None
    strategy: str | None = None
    signal_age: timedelta = timedelta(0)
    """How long ago it was decided."""


def request_of(client_order_id: str, wanted: OrderPlace) -> OrderRequest:
    """The order that a command, or the owner in the same words, asks for."""
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=wanted.symbol,
        side=Side(wanted.side),
        type=OrderType(wanted.type),
        amount=wanted.amount,
        price=wanted.price,
        stop_price=wanted.stop_price,
        time_in_force=TimeInForce(wanted.time_in_force),
        reduce_only=wanted.reduce_only,
    )


def propose(turn: Turn, exchange: str, asked: OrderRequest, source: Source) -> str | None:
    """Make an order of what is asked, or refuse it; either way it is written down and reported.

    Returns the rule that refused it. The same client order id is dealt with once: later ones change nothing.
    """
    if asked.client_order_id in turn.state.orders:
        return None
    if turn.state.windup is None:
        request, verdict = _judged(turn, turn.state, exchange, asked, source.signal_age)
    else:
        request, verdict = asked, Verdict(STOPPED_BY_OWNER, "orders are being cancelled and closed")
    if verdict.rule is not None:
        refuse(turn, exchange, request, source, verdict)
        return verdict.rule
    _send(turn, _order(turn, exchange, request, source))
    return None


def close(turn: Turn, asked: OrderRequest, source: Source) -> None:
    """Send an order that closes a position, or part of it, for the owner's kill switch."""
    _send(turn, _order(turn, turn.state.exchange, asked, source))


def _send(turn: Turn, order: Order) -> None:
    turn.move(moved(order, Move.ACCEPT), Move.SUBMIT)
    state = turn.state
    day = state.day and replace(state.day, orders=state.day.orders + 1)
    turn.change(placed=(*recent(state.placed, order.placed_at), order.placed_at), day=day)
    turn.remember("market", memory.market(turn.state))
    turn.do(Submit(order.request()))


def _order(turn: Turn, exchange: str, request: OrderRequest, source: Source) -> Order:
    return Order(
        client_order_id=request.client_order_id,
        exchange=exchange,
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        amount=request.amount,
        price=request.price,
        stop_price=request.stop_price,
        time_in_force=request.time_in_force,
        reduce_only=request.reduce_only,
        decided_at=shifted(turn.at, -source.signal_age),
        placed_at=trading_time(turn.state, turn.at),
        wanted_until=source.wanted_until,
        market_at=turn.state.market_at,
        command_id=source.command_id,
        strategy=source.strategy,
    )


def refuse(turn: Turn, exchange: str, asked: OrderRequest, source: Source, verdict: Verdict) -> None:
    """Write an order down as refused, and say by which rule."""
    order = _order(turn, exchange, asked, source)
    turn.put(moved(order, Move.REFUSE, reason=verdict.rule))
    turn.report("intent.refused", **fields(order), rule=verdict.rule, detail=verdict.detail)


def judge(
    state: State, exchange: str, asked: OrderRequest, at: datetime, signal_age: timedelta = timedelta(0)
) -> tuple[OrderRequest, Verdict]:
    """The order in the market's steps, and the verdict on it: the owner's rules, then the market's own."""
    market = state.markets.get(asked.symbol)
    request = asked if market is None else rounded(asked, market)
    facts = exposure(state, request.symbol, at)
    if not can_be_written(request):
        return asked, Verdict("tick_size", "no price or amount that can be written")
    verdict = check(state.policy, facts, exchange, request, signal_age=signal_age)
    if not verdict.allowed:
        return request, verdict
    if exchange != state.exchange:
        return request, Verdict("exchange", f"this node trades on {state.exchange}")
    if market is None:
        return request, Verdict("symbol", f"{exchange} has no market of {request.symbol}")
    lacking = state.conduct.lacks(request)
    if lacking is not None:
        return asked, Verdict("unsupported", f"{exchange} takes no {lacking}")
    too_small = _too_small(request, market, facts.last)
    return (request, verdict) if too_small is None else (asked, too_small)


def _judged(
    turn: Turn, state: State, exchange: str, asked: OrderRequest, signal_age: timedelta
) -> tuple[OrderRequest, Verdict]:
    """As `judge` says; when it raises that is a no, and the node is halted."""
    try:
        return judge(state, exchange, asked, turn.at, signal_age)
    except Exception as error:  # whatever it is, an order that could not be judged must not be placed
        verdict = Verdict(RISK_CHECK_FAILED, f"{type(error).__name__}: {error}")
        pause(turn, RISK_CHECK_FAILED, by="rule", reason=f"an order could not be judged: {verdict.detail}")
        return asked, verdict


def refusing_now(turn: Turn, order: Order) -> str | None:
    """Why an accepted order would be refused if it were asked for now; None when it would not.

    One that only reduces is held against nothing but that, for the kill switch closes positions past the limits.
    """
    state = turn.state
    placed = list(state.placed)
    if order.placed_at in placed:
        placed.remove(order.placed_at)
    without = replace(
        state,
        orders=state.orders.without(order.client_order_id),
        placed=tuple(placed),
        day=_day_without(state, order),
    )
    if order.reduce_only:
        still = reduces(order.request(), exposure(without, order.symbol, turn.at))
        return None if still else "it is more than the position that is left"
    _, verdict = _judged(turn, without, order.exchange, order.request(), turn.at - order.decided_at)
    return None if verdict.rule is None else f"{verdict.rule} refuses it now"


def _day_without(state: State, order: Order) -> Day | None:
    """The day as if the order had not been placed, which may have been on another day."""
    day = state.day
    return day if day is None or order.placed_at.date() < day.date else replace(day, orders=max(day.orders - 1, 0))


def _too_small(request: OrderRequest, market: Market, last: Decimal | None) -> Verdict | None:
    if request.amount <= 0:
        return Verdict("step_size", f"less than one step of {market.step_size:f}")
    if any(price is not None and price <= 0 for price in (request.price, request.stop_price)):
        return Verdict("tick_size", f"less than one tick of {market.tick_size:f}")
    if request.amount < market.minimum_amount:
        return Verdict("minimum_amount", f"the market's least is {market.minimum_amount:f}")
    if last is not None and notional(request, last) < market.minimum_notional:
        return Verdict("minimum_notional", f"the market's least is {market.minimum_notional:f}")
    return None


def ask_strategies(turn: Turn, candle: Candle) -> None:
    """Let every strategy on the candle's symbol decide, and propose what it wants.

    While new risk is stopped its entries are dropped without a word, for it asked for what everybody knows is stopped.
    While the owner's kill switch is at work none is asked.
    """
    if turn.state.windup is not None:
        return
    for strategy in turn.state.strategies:
        if strategy.symbol != candle.symbol:
            continue
        theirs = turn.state.strategy_books.get(strategy.name) or StrategyBook(strategy.start())
        after, intents = strategy.on_candle(theirs.memory, candle, _closable(turn, strategy, theirs))
        turn.change(strategy_books={**turn.state.strategy_books, strategy.name: replace(theirs, memory=after)})
        turn.remember("strategies", memory.strategies(turn.state))
        for intent in intents:
            if intent.reduce_only or not turn.state.pauses:
                _propose_intent(turn, strategy, candle, intent)


def _propose_intent(turn: Turn, strategy: Strategy, candle: Candle, intent: Intent) -> None:
    asked = OrderRequest(
        client_order_id=order_of_strategy(strategy.name, strategy.symbol, candle.at, intent.side),
        symbol=strategy.symbol,
        side=intent.side,
        type=intent.type,
        amount=intent.amount,
        price=intent.price,
        stop_price=intent.stop_price,
        reduce_only=intent.reduce_only,
    )
    age = turn.at - candle.closed_at if turn.state.mode == "live" else timedelta(0)
    source = Source(wanted_until=turn.at + _STRATEGY_PATIENCE, strategy=strategy.name, signal_age=age)
    propose(turn, turn.state.exchange, asked, source)


def _closable(turn: Turn, strategy: Strategy, book: StrategyBook) -> Decimal:
    """What the strategy holds and can close; zero when it is dust, too small to be traded."""
    market = turn.state.markets.get(strategy.symbol)
    facts = exposure(turn.state, strategy.symbol, turn.at)
    if market is None or facts.last is None:
        return Decimal(0)
    held = min(abs(book.position), facts.closable)
    side = Side.SELL if book.position > 0 else Side.BUY
    if (facts.position > 0) != (book.position > 0):
        return Decimal(0)
    if is_dust(held, market, facts.last):
        return Decimal(0)
    amount = whole_steps(held, market)
    return amount if side is Side.SELL else -amount
