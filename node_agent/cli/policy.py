"""`node-agent policy`: the owner's limits in plain words, and what they say to an order that nobody places."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from node_agent import at_rest
from node_agent.cli import asked, hand, options, words
from node_agent.config import load, load_policy
from node_agent.core.intents import judge, request_of
from node_agent.core.market import OrderRequest
from node_agent.core.policy import Policy, Verdict, check
from node_agent.core.risk import exposure
from node_agent.core.state import State
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.lock import is_held
from node_protocol.messages import format_decimal


@click.group(help="The owner's limits, policy.toml: no signal, strategy or server gets past them.")
def policy() -> None:
    pass


@policy.command(help="Show the limits in plain words, and whether the node goes by these.")
@options.data_dir
@options.as_json
def show(data_dir: Path, as_json: bool) -> None:
    with hand.said():
        limits = load_policy(data_dir)
        with Journal.open_read_only(data_dir / JOURNAL_FILE) as journal:
            taken = journal.fact("policy_digest")
    lines = dict(_in_words(limits))
    if as_json:
        click.echo(json.dumps({"digest": limits.digest, "in_force": taken == limits.digest, "limits": lines}, indent=2))
        return
    for name, words_ in lines.items():
        click.echo(f"{name:<16}{words_}")
    click.echo(f"{'digest':<16}{limits.digest}")
    if taken != limits.digest:
        said = "the node has not taken these yet" if taken else "no node has run with these yet"
        click.echo(f"{said}: it does at its next event, or at its next start")


@policy.command(
    "check",
    help="""Hold an order against policy.toml and what the journal holds, and say which rule refuses it. Nothing is
    placed.

    \b
    node-agent policy check --symbol BTC/USD --side buy --type limit \\
        --amount 0.1 --price 40000
    refused by max_order_notional: 4000 is above 1000

    Positions, open orders, pauses and the last price are those of the journal. While the node does not run, its last
    price counts as if it were of now. Exit code 0: allowed; 1: refused.
    """,
)
@options.data_dir
@asked.order_options
@click.option("--last", type=options.Money(), help="Judge as if the last trade were at this price, and of now.")
@options.as_json
def check_order(data_dir: Path, last: str | None, as_json: bool, exchange: str | None, **named: Any) -> None:
    with hand.said():
        config, limits = load(data_dir, os.environ), load_policy(data_dir)
        wanted = asked.asked(exchange=exchange or config.exchange.name, **named)
        with Journal.open_read_only(data_dir / JOURNAL_FILE) as journal:
            state = at_rest.restored(journal)
    at = datetime.now(UTC)
    request = request_of("0" * 32, wanted)
    state = replace(state, policy=limits, mode=config.node.mode, exchange=config.exchange.name)
    state, notes = _priced(state, request.symbol, last, at, running=is_held(data_dir))
    if not state.markets:
        notes = (*notes, "no market's steps are known before the node has run once: judged without them")
    request, verdict = _judged(state, wanted.exchange, request, at)
    said = "allowed" if verdict.allowed else f"refused by {verdict.rule}: {verdict.detail}"
    if as_json:
        click.echo(json.dumps(_facts(request, verdict, notes), indent=2))
    else:
        for note in notes:
            click.echo(note)
        click.echo(said)
    if not verdict.allowed:
        raise click.exceptions.Exit(1)


def _priced(
    state: State, symbol: str, last: str | None, at: datetime, *, running: bool
) -> tuple[State, tuple[str, ...]]:
    """The state with a price of now, where there is one, and what the owner should know of it."""
    if last is not None:
        return _with_price(state, symbol, last, at), (f"judged as if {symbol} had last traded at {last}",)
    known, since = state.prices.get(symbol), state.priced_at.get(symbol)
    if running or known is None:
        return state, ()
    note = f"the node does not run: judged by its last price, {format_decimal(known)}"
    return _with_price(state, symbol, str(known), at), (f"{note}, of {since:%Y-%m-%d %H:%M:%S} UTC" if since else note,)


def _with_price(state: State, symbol: str, price: str, at: datetime) -> State:
    return replace(
        state,
        prices={**state.prices, symbol: Decimal(price)},
        priced_at={**state.priced_at, symbol: at},
    )


def _judged(state: State, exchange: str, request: OrderRequest, at: datetime) -> tuple[OrderRequest, Verdict]:
    if state.markets:
        return judge(state, exchange, request, at)
    return request, check(state.policy, exposure(state, request.symbol, at), exchange, request)


def _facts(request: OrderRequest, verdict: Verdict, notes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "allowed": verdict.allowed,
        "rule": verdict.rule,
        "detail": verdict.detail,
        "reduces": verdict.reduces,
        "amount": format_decimal(request.amount),
        "price": None if request.price is None else format_decimal(request.price),
        "stop_price": None if request.stop_price is None else format_decimal(request.stop_price),
        "notes": list(notes),
    }


def _in_words(limits: Policy) -> Iterator[tuple[str, str]]:
    quotes = {symbol.partition("/")[2] for symbol in limits.symbols}
    unit = f" {quotes.pop()}" if len(quotes) == 1 else " in the quote currency"

    def money(value: Decimal) -> str:
        return f"{format_decimal(value)}{unit}"

    scope = [words.listed(sorted(each)) or "nothing" for each in (limits.symbols, limits.exchanges)]
    kinds = [words.listed(sorted(each)) or "no" for each in (limits.sides, limits.order_types)]
    yield "trades", f"{scope[0]} on {scope[1]}; to {kinds[0]}; by {kinds[1]} orders"
    yield "one order", f"at most {money(limits.max_order_notional)}"
    yield "open orders", f"at most {money(limits.max_open_notional)} together"
    yield "one symbol", f"at most {money(limits.max_position_notional)}, open orders included"
    yield "in all", f"at most {money(limits.max_total_notional)} of positions and open orders"
    yield "rate", f"at most {limits.orders_per_minute} orders a minute and {limits.orders_per_day} a day"
    lost = f"{money(limits.daily_loss)}, or {money(limits.drawdown)} since its best moment"
    yield "losses", f"new risk stops when a day (UTC) has lost {lost}"
    yield "prices", f"none worse than the last trade by more than {format_decimal(limits.price_collar * 100)} %"
    yield (
        "ages",
        (f"{_signals(limits)}, nor by a price older than {limits.max_data_age.total_seconds():g} s"),
    )
    yield (
        "hours",
        f"{words.listed([str(each) for each in limits.trading_hours]) or 'always'}"
        + (" UTC" if limits.trading_hours else ""),
    )
    yield "clock", f"at most {limits.max_clock_drift.total_seconds():g} s from the exchange's"
    yield "server", f"may ask for: {words.listed(sorted(limits.server_commands)) or 'nothing that trades'}"
    silence = limits.server_silence
    yield (
        "its silence",
        ("for ever" if silence is None else f"at most {silence.total_seconds():g} s, then: {limits.on_server_silence}"),
    )


def _signals(limits: Policy) -> str:
    if limits.max_signal_age is None:
        return "a command is traded as long as it is good"
    return f"what was decided {limits.max_signal_age.total_seconds():g} s ago is not traded"
