"""The market's clock and what follows from it: prices, the market's day and its losses, snapshots of the account.

The day is UTC, by candle times on a recording and by our own clock on an exchange. Its baseline is what the node's
trading had come to when it began, its high the most that it has come to since; both are in the journal, so a restart
forgets no loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from node_agent.core import memory
from node_agent.core.effects import ReadBalances
from node_agent.core.events import BalancesTold
from node_agent.core.market import Candle, Fill, Market, Side
from node_agent.core.pauses import lift, pause
from node_agent.core.risk import day_loss, drawdown, result, trading_time
from node_agent.core.state import DAILY_LOSS, DRAWDOWN, Day, Holding, State
from node_agent.core.turn import Turn
from node_protocol.messages import format_decimal

SNAPSHOT_EVERY: Final = timedelta(minutes=15)
"""Of the market's time."""
_ZERO: Final = Decimal(0)
_CLOCK_SET_BACK: Final = timedelta(days=1)
"""A day that is further ahead than this was begun by a clock that was wrong; a smaller step back begins none."""
_FEE_IN_ANOTHER: Final = Decimal("0.001")
"""What a fee in a currency that we have no price of counts for, of the notional: Binance's dearest, paid in BNB."""
_MOST_REREADINGS: Final = 5
_FIRST_REREADING: Final = 0.05
"""Seconds; the next ones come later."""


def take_price(turn: Turn, candle: Candle) -> bool:
    """Let the market's clock and price go on to this candle.

    False, and nothing changes, when it is not newer than the last one of its symbol, or its price is none.
    """
    state = turn.state
    before = state.candles_at.get(candle.symbol)
    if candle.close <= 0 or (before is not None and candle.at <= before):
        return False
    market_at = candle.at if state.market_at is None else max(state.market_at, candle.at)
    turn.change(
        market_at=market_at,
        candles_at={**state.candles_at, candle.symbol: candle.at},
        prices={**state.prices, candle.symbol: candle.close},
        priced_at={**state.priced_at, candle.symbol: candle.closed_at if state.mode == "live" else turn.at},
    )
    begin_day(turn, trading_time(turn.state, turn.at))
    stop_at_loss(turn)
    if state.snapshot_at is None or market_at - state.snapshot_at >= SNAPSHOT_EVERY:
        turn.change(snapshot_at=market_at)
        read_balances(turn)
    turn.remember("market", memory.market(turn.state))
    return True


def begin_day(turn: Turn, now: datetime) -> None:
    """Begin a new day of trading when it is one; yesterday's losses stop nothing any more."""
    day = turn.state.day
    if day is not None and timedelta(0) <= day.date - now.date() <= _CLOCK_SET_BACK:
        return
    baseline = result(turn.state)
    turn.change(day=Day(now.date(), baseline, high=baseline))
    turn.remember("market", memory.market(turn.state))
    lift(turn, DAILY_LOSS, by="rule")
    lift(turn, DRAWDOWN, by="rule")


def stop_at_loss(turn: Turn) -> None:
    """Stop new risk when the day's loss, or that since its best moment, has reached the owner's limit."""
    day, policy = turn.state.day, turn.state.policy
    if day is None:
        return
    turn.change(day=replace(day, high=max(day.high, result(turn.state))))
    for rule, lost, limit, since in (
        (DAILY_LOSS, day_loss(turn.state), policy.daily_loss, "today"),
        (DRAWDOWN, drawdown(turn.state), policy.drawdown, "since the day's best moment"),
    ):
        if lost > 0 and lost >= limit:
            reason = f"lost {format_decimal(lost)} {since}, the limit is {format_decimal(limit)}"
            pause(turn, rule, by="rule", reason=reason)


def book(turn: Turn, fill: Fill, strategy: str | None) -> None:
    """Count one fill into what the node, and the strategy that asked for it, hold."""
    begin_day(turn, fill.at if turn.state.market_at is None else trading_time(turn.state, turn.at))
    state = turn.state
    held = state.holdings.get(fill.symbol, Holding())
    sign = 1 if fill.side is Side.BUY else -1
    market = state.markets.get(fill.symbol)
    base_fee, quote_fee = _fees(fill, market)
    change = sign * fill.amount - base_fee
    cash = held.cash - sign * fill.price * fill.amount - quote_fee
    turn.change(
        holdings={**state.holdings, fill.symbol: Holding(held.amount + change, cash)},
        prices={fill.symbol: fill.price, **state.prices},
    )
    turn.fact("holdings", memory.holdings(turn.state))
    if strategy is not None and (theirs := state.strategy_books.get(strategy)) is not None:
        books = {**state.strategy_books, strategy: replace(theirs, position=theirs.position + change)}
        turn.change(strategy_books=books)
        turn.fact("strategies", memory.strategies(turn.state))
    if strategy is None:
        own_no_more_than_is_held(turn, state.holdings)
    stop_at_loss(turn)
    turn.remember("market", memory.market(turn.state))
    read_balances(turn)


def own_no_more_than_is_held(turn: Turn, before: Mapping[str, Holding] | None = None) -> None:
    """Let each strategy's book know what others sold of its position: the kill switch, the owner's hand, the server.

    `before`: what was held before one of those traded. A position that somebody else holds the other way says nothing.
    """
    held = turn.state.holdings
    books = dict(turn.state.strategy_books)
    for strategy in turn.state.strategies:
        book = books.get(strategy.name)
        now, had = (each.get(strategy.symbol, Holding()).amount for each in (held, held if before is None else before))
        if book is None or book.position * had < 0 or (before is not None and not had):
            continue
        owned = max(min(book.position, now), _ZERO) if book.position > 0 else min(max(book.position, now), _ZERO)
        books[strategy.name] = replace(book, position=owned)
    if books != turn.state.strategy_books:
        turn.change(strategy_books=books)
        turn.fact("strategies", memory.strategies(turn.state))


def read_balances(turn: Turn) -> None:
    """Have a snapshot made. While balances are being read, one more reading covers all that happens meanwhile."""
    if turn.state.reading_balances:
        turn.change(read_again=True)
        return
    turn.change(reading_balances=True)
    turn.do(ReadBalances())


def take_balances(turn: Turn, event: BalancesTold) -> None:
    """Report the account as the exchange tells it, valued at the last prices.

    Balances that do not go with the trades that we know of are read again first: most likely more has been traded, and
    we have not been told yet. When that does not help, somebody else moves the account, and it is reported as it is.
    """
    if event.balances is not None:
        untraded = _untraded(turn.state, event.balances)
        tries = turn.state.rereadings
        if tries < _MOST_REREADINGS and _moved(turn.state, untraded):
            turn.change(rereadings=tries + 1)
            turn.do(ReadBalances(after=_FIRST_REREADING * 2.0**tries))
            return
        turn.change(untraded=untraded, rereadings=0)
    again = turn.state.read_again
    turn.change(reading_balances=False, read_again=False)
    if event.balances is not None:
        turn.change(balances_at=turn.at)
        state = turn.state
        currency, equity = _equity(state, event)
        snapshot = {
            "equity": format_decimal(equity),
            "currency": currency,
            "positions": {
                symbol: format_decimal(held.amount) for symbol, held in state.holdings.items() if held.amount
            },
            "balances": {name: format_decimal(amount) for name, amount in event.balances.items()},
        }
        if state.market_at is not None:
            snapshot["market_at"] = memory.time(state.market_at)
        turn.report("account.snapshot", **snapshot)
        turn.fact("account", {**snapshot, "at": memory.time(turn.at)})
    if again:
        read_balances(turn)


def _fees(fill: Fill, market: Market | None) -> tuple[Decimal, Decimal]:
    """What the fee takes from the base currency, and from the quote currency."""
    if market is not None and fill.fee_currency == market.base:
        return fill.fee, Decimal(0)
    if market is not None and fill.fee_currency == market.quote:
        return Decimal(0), fill.fee
    return Decimal(0), fill.price * fill.amount * _FEE_IN_ANOTHER if fill.fee > 0 else Decimal(0)


def _untraded(state: State, balances: Mapping[str, Decimal]) -> dict[str, Decimal]:
    symbols = (state.policy.symbols | state.holdings.keys()) & state.markets.keys()
    markets = [state.markets[symbol] for symbol in symbols]
    left = {market.base: balances.get(market.base, Decimal(0)) for market in markets}
    for market in markets:
        left[market.base] -= state.holdings.get(market.symbol, Holding()).amount
    return left


def _moved(state: State, untraded: Mapping[str, Decimal]) -> bool:
    """Whether something changed but by our trades since the last snapshot, by more than exchanges round."""
    steps = {market.base: market.step_size for market in state.markets.values()}
    return any(abs(amount - state.untraded.get(base, amount)) > steps[base] for base, amount in untraded.items())


def _equity(state: State, event: BalancesTold) -> tuple[str, Decimal]:
    """The account's currency (the quote of what is traded), and balances in it at the last prices.

    A currency without a market in it counts for nothing.
    """
    balances = event.balances or {}
    traded = [state.markets[symbol] for symbol in sorted(state.markets) if symbol in state.policy.symbols]
    markets = traded or [state.markets[symbol] for symbol in sorted(state.markets)]
    if not markets:
        return "", Decimal(0)
    currency = markets[0].quote
    equity = balances.get(currency, Decimal(0))
    for market in markets:
        if market.quote == currency:
            equity += balances.get(market.base, Decimal(0)) * state.prices.get(market.symbol, Decimal(0))
    return currency, equity
