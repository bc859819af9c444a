"""`node-agent status`: how the node is, read from its journal while it runs and when it does not."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from node_agent import facts
from node_agent.cli import options
from node_agent.cli.errors import CliError, Exit
from node_agent.core.risk import day_loss, drawdown, result
from node_agent.core.state import State
from node_agent.journal import JOURNAL_FILE, Journal, JournalError, JournalMissing
from node_agent.lock import is_held
from node_protocol.messages import format_decimal


@click.command(help="Show how the node is: whether it runs and trades, what it holds, what the server knows of it.")
@options.data_dir
@options.as_json
def status(data_dir: Path, as_json: bool) -> None:
    try:
        with Journal.open_read_only(data_dir / JOURNAL_FILE) as journal:
            told = _told(data_dir, journal)
    except JournalMissing as error:
        raise CliError(error.message, *error.hints, exit_code=Exit.USAGE) from error
    except JournalError as error:
        raise CliError(error.message, *error.hints) from error
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        for name, value in _lines(told):
            click.echo(f"{name:<16}{value}")


def _told(data_dir: Path, journal: Journal) -> dict[str, Any]:
    registration = journal.registration()
    node = journal.fact("node") or {}
    account = journal.fact("account") or {}
    market = journal.fact("market") or {}
    holdings = journal.fact("holdings") or {}
    state = journal.restore()
    running = is_held(data_dir)
    return {
        "node_id": registration and registration.node_id,
        "key_id": registration and registration.key_id,
        "server": registration and registration.server,
        "line": journal.fact("line"),
        "last_sync_at": journal.fact("last_sync_at"),
        "clock_offset": journal.fact("clock_offset"),
        "running": running,
        "started_at": (journal.fact("run") or {}).get("started_at"),
        "begun": running and (journal.fact("run") or {}).get("begun", False),
        "version": node.get("version"),
        "mode": node.get("mode"),
        "exchange": node.get("exchange"),
        "line_to_exchange": journal.fact("line_to_exchange"),
        "exchange_key": journal.fact("exchange_key"),
        **facts.of_trading(state),
        "stopping": journal.fact("windup"),
        "day": _day(state),
        "limits_digest": journal.fact("policy_digest"),
        "market_at": market.get("at"),
        "prices": market.get("prices", {}),
        "positions": {symbol: held["amount"] for symbol, held in holdings.items() if held["amount"] != "0"},
        "equity": account.get("equity"),
        "currency": account.get("currency"),
        "balances": account.get("balances", {}),
        "equity_at": account.get("at"),
        "open_orders": [facts.of_order(order) for order in journal.open_orders()],
        "foreign_orders": journal.fact("foreign") or [],
        "events": journal.event_counts(),
    }


def _day(state: State) -> dict[str, Any] | None:
    """What the day's limits are measured from, and when that begins anew."""
    if state.day is None:
        return None
    return {
        "date": state.day.date.isoformat(),
        "baseline": format_decimal(state.day.baseline),
        "high": format_decimal(state.day.high),
        "result": format_decimal(result(state)),
        "loss": format_decimal(day_loss(state)),
        "drawdown": format_decimal(drawdown(state)),
        "orders": state.day.orders,
        "resets_at": f"{state.day.date + timedelta(days=1)}T00:00:00Z",
    }


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    events = told["events"]
    server = f"{told['server']} ({told['line'] or 'not spoken with yet'})" if told["server"] else "none"
    reasons = "; ".join(f"{each['rule']}: {each['reason']}" for each in told["pauses"])
    market_at = f" at {told['market_at']}" if told["market_at"] else ""
    orders = [
        f"{each['side']} {each['amount']} {each['symbol']} {each['type']} {each['state']} {each['client_order_id']}"
        for each in told["open_orders"]
    ]
    day = told["day"]
    losses = "none yet"
    if day:
        losses = (
            f"{day['loss']} lost, {day['drawdown']} since its best moment, {day['orders']} orders;"
            f" counted from {day['baseline']}, anew at {day['resets_at']}"
        )
    strangers = [f"{each['side']} {each['amount']} {each['symbol']}" for each in told["foreign_orders"]]
    return [
        ("node", told["node_id"] or "not registered"),
        ("server", server),
        ("last sync", f"{told['last_sync_at'] or 'never'}, clock {told['clock_offset'] or 0:+d} s"),
        ("running", _running(told)),
        ("trading", f"{told['trading']} ({reasons})" if reasons else "active"),
        ("mode", f"{told['mode'] or '-'} on {told['exchange'] or '-'}"),
        *([("exchange", _line_to_exchange(told["line_to_exchange"]))] if told["line_to_exchange"] else []),
        *([("key", _key(told["exchange_key"]))] if told["exchange_key"] else []),
        ("price", (_pairs(told["prices"]) or "none yet") + market_at),
        ("positions", _pairs(told["positions"]) or "none"),
        ("equity", f"{told['equity']} {told['currency']}" if told["equity"] else "not known yet"),
        ("day", losses),
        ("open orders", "; ".join(orders) or "none"),
        *([("not ours", "; ".join(strangers))] if strangers else []),
        ("reports", f"{events['last_seq']} made, {events['acknowledged']} stored, {events['pending']} to be sent"),
        ("limits", (told["limits_digest"] or "-")[:16]),
    ]


def _running(told: dict[str, Any]) -> str:
    if told["running"] and not told["begun"]:
        return "yes, but it trades nothing before its exchange tells how things stand: see its log"
    return "yes" if told["running"] else "no"


def _line_to_exchange(told: dict[str, Any]) -> str:
    used = [f"{name} {each['used']} of {each['limit']}" for name, each in told.get("limits", {}).items()]
    banned = f"; it wants no requests until {told['banned_until']}" if told.get("banned_until") else ""
    ahead = told["ahead"]
    clock = "our clocks were not compared yet" if ahead is None else f"our clock is {ahead:+.3f} s ahead"
    return f"{clock}; used: {', '.join(used) or 'nothing'}{banned}"


def _key(told: dict[str, Any]) -> str:
    """The exchange key, and how it is known to be harmless."""
    if "refused" in told:
        return f"{told['digest']}, not taken at {told['refused_at']}: {told['refused']}"
    match told["check"]:
        case "asked":
            known = f"the exchange said at {told['asked_at']} that it cannot withdraw"
        case "attested":
            known = f"attested by {told['attested_by']} at {told['attested_at']}: the exchange cannot be asked"
        case _:
            known = "custody: whoever holds it holds its wallet"
    advice = "".join(f"; {each}" for each in told.get("advice", ()))
    return f"{told['digest']}, {known}{advice}"


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
