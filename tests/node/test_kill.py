"""Killed at any moment: every intent is one order at the exchange and no more, every fill is reported once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from node_agent.core.ids import order_of_command
from node_agent.journal import Journal
from node_protocol.messages import Command
from tests.node.shop import Shop

MOMENTS = [
    *((moment, number) for moment in ("before append", "after append") for number in range(1, 13)),
    *((moment, number) for moment in ("before create", "after create") for number in range(1, 4)),
    ("before fills", 1),
    ("before balances", 2),
]
COMMANDS = 3
PRICE_KNOWN = {"prices": {"BTC/USD": "40000"}}


def live(directory: Path, *death: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.node.mortal", str(directory), *death],
        check=False,
        capture_output=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(done.stderr.decode()[-2000:])
    return done.returncode


def command(number: int) -> Command:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "market"}
    return Command(
        id=f"cmd_{number}",
        issued_at=now,
        expires_at=now + timedelta(minutes=10),
        type="order.place",
        data=fields | {"amount": "0.01"},
    )


@pytest.mark.parametrize(("moment", "number"), MOMENTS)
def test_killed_at_a_moment_and_started_again(tmp_path: Path, moment: str, number: int) -> None:
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        commands = [command(number) for number in range(COMMANDS)]
        journal.record_answer(ticket="t", acked_through=0, commands=commands, at=datetime.now(UTC))
        journal.put_fact("market", PRICE_KNOWN)
    assert live(tmp_path, moment, str(number)) == -signal.SIGKILL
    assert live(tmp_path) == 0
    shop = Shop(tmp_path / "shop.sqlite3", [])
    with closing(shop.db):
        traded, fills = shop.orders(), shop.fills()
    with Journal.open_read_only(tmp_path / "journal.sqlite3") as journal:
        state, reports = journal.restore(), journal.pending_events(limit=-1)
        assert journal.commands_not_done() == []
    books = [order.client_order_id for order in traded]
    assert Counter(books) == Counter(name for name, order in state.orders.items() if order.tries_to_trade)
    assert {order_of_command(f"cmd_{number}") for number in range(COMMANDS)} <= set(books)
    assert sorted(event.data["trade_id"] for event in reports if event.type == "trade") == sorted(
        fill.trade_id for fill in fills
    )
    assert [event.seq for event in reports] == list(range(1, len(reports) + 1))
    held = sum(fill.amount if fill.side == "buy" else -fill.amount for fill in fills)
    assert state.holdings["BTC/USD"].amount == held
    filled = [event.data["client_order_id"] for event in reports if event.type == "order.filled"]
    assert Counter(filled) == Counter(books)
