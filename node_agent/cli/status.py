"""`node-agent status`: how the node is, read from its journal while it runs and when it does not."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from node_agent.cli import options
from node_agent.cli.errors import CliError, Exit
from node_agent.core.orders import Order, fields
from node_agent.core.risk import day_loss, drawdown, result
from node_agent.core.state import State
from node_agent.journal import JOURNAL_FILE, Journal, JournalError, JournalMissing
from node_agent.lock import is_held
from node_protocol.messages import format_decimal


@click.command()
@options.data_dir
@options.as_json
def status(data_dir: Path, as_json: bool) -> None:
    """Show how the node is: whether it runs and trades, what it holds, what the server knows of it."""
    try:
        with Journal.open_read_only(data_dir / JOURNAL_FILE) as journal:
            facts = _facts(data_dir, journal)
    except JournalMissing as error:
        raise CliError(error.message, *error.hints, exit_code=Exit.USAGE) from error
    except JournalError as error:
        raise CliError(error.message, *error.hints) from error
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        for name, value in _lines(facts):
            click.echo(f"{name:<16}{value}")


def _facts(data_dir: Path, journal: Journal) -> dict[str, Any]:
    registration = journal.registration()
    node = journal.fact("node") or {}
    account = journal.fact("account") or {}
    market = journal.fact("market") or {}
    holdings = journal.fact("holdings") or {}
    pauses = journal.fact("pauses") or []
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
        "version": node.get("version"),
        "mode": node.get("mode"),
        "exchange": node.get("exchange"),
        "line_to_exchange": journal.fact("line_to_exchange"),
        "trading": str(state.trading),
        "pauses": pauses,
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
        "open_orders": [_order(order) for order in journal.open_orders()],
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


def _order(order: Order) -> dict[str, Any]:
    return {**fields(order), "reduce_only": order.reduce_only, "state": str(order.state)}


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    events = facts["events"]
    server = f"{facts['server']} ({facts['line'] or 'not spoken with yet'})" if facts["server"] else "none"
    reasons = "; ".join(f"{each['rule']}: {each['reason']}" for each in facts["pauses"])
    market_at = f" at {facts['market_at']}" if facts["market_at"] else ""
    orders = [
        f"{each['side']} {each['amount']} {each['symbol']} {each['type']} {each['state']} {each['client_order_id']}"
        for each in facts["open_orders"]
    ]
    day = facts["day"]
    losses = "none yet"
    if day:
        losses = (
            f"{day['loss']} lost, {day['drawdown']} since its best moment, {day['orders']} orders;"
            f" counted from {day['baseline']}, anew at {day['resets_at']}"
        )
    strangers = [f"{each['side']} {each['amount']} {each['symbol']}" for each in facts["foreign_orders"]]
    return [
        ("node", facts["node_id"] or "not registered"),
        ("server", server),
        ("last sync", f"{facts['last_sync_at'] or 'never'}, clock {facts['clock_offset'] or 0:+d} s"),
        ("running", "yes" if facts["running"] else "no"),
        ("trading", f"{facts['trading']} ({reasons})" if reasons else "active"),
        ("mode", f"{facts['mode'] or '-'} on {facts['exchange'] or '-'}"),
        *([("exchange", _line_to_exchange(facts["line_to_exchange"]))] if facts["line_to_exchange"] else []),
        ("price", (_pairs(facts["prices"]) or "none yet") + market_at),
        ("positions", _pairs(facts["positions"]) or "none"),
        ("equity", f"{facts['equity']} {facts['currency']}" if facts["equity"] else "not known yet"),
        ("day", losses),
        ("open orders", "; ".join(orders) or "none"),
        *([("not ours", "; ".join(strangers))] if strangers else []),
        ("reports", f"{events['last_seq']} made, {events['acknowledged']} stored, {events['pending']} to be sent"),
        ("limits", (facts["limits_digest"] or "-")[:16]),
    ]


def _line_to_exchange(told: dict[str, Any]) -> str:
    used = [f"{name} {each['used']} of {each['limit']}" for name, each in told.get("limits", {}).items()]
    banned = f"; it wants no requests until {told['banned_until']}" if told.get("banned_until") else ""
    return f"our clock is {told['ahead']:+.3f} s ahead; used: {', '.join(used) or 'nothing'}{banned}"


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
