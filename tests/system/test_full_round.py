"""A full round on each exchange, by the words that an owner types: a key, a partial fill, a cancel, a kill, a restart.

The exchange's own books say what happened; the node's have to come to the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.exchanges.catalogue import EXCHANGES
from tests.exchanges.cases import Case, case_of
from tests.live import add_key, node_of
from tests.support import NodeDir, NodeProcess, node_agent, until
from tests.venue.process import VenueProcess


@pytest.fixture(params=EXCHANGES)
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Case, VenueProcess]]:
    case = case_of(request.param)
    with case.start() as process:
        process.price(case.price)
        yield case, process


def orders(node: NodeDir, *words: str) -> Any:
    done = node_agent("orders", *words, "--data-dir", node.path, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def position(node: NodeDir, case: Case) -> Decimal:
    return Decimal(node.status()["positions"].get(case.symbol, "0"))


def bought(exchange: VenueProcess, case: Case) -> Decimal:
    """What the exchange's books say that was bought, less what it took of that as its commission."""
    base = case.symbol.partition("/")[0]
    trades = exchange.trades()
    taken = (each.commission for each in trades if each.commission_asset == base)
    return sum((each.quantity for each in trades), Decimal(0)) - sum(taken, Decimal(0))


def test_a_round_on_each_exchange_ends_with_books_that_agree(
    tmp_path: Path, running: tuple[Case, VenueProcess]
) -> None:
    case, exchange = running
    node = node_of(tmp_path, case, exchange.url)
    assert node_agent("run", "--live", "--data-dir", node.path).returncode == 2  # no key yet
    add_key(node, case)
    buy = ("place", "--symbol", case.symbol, "--side", "buy", "--type", "limit", "--amount", case.amount)
    with NodeProcess(node, "--live") as first:
        until(lambda: node.status()["prices"].get(case.symbol), "a price")
        partly = orders(node, *buy, "--price", case.below)
        exchange.touch(case.dip, case.price)
        until(lambda: position(node, case) or None, "half of it")
        orders(node, "cancel", partly["client_order_id"])
        until(lambda: not orders(node, "list")["orders"] or None, "the cancel")
        (known,) = exchange.placed()
        assert (known.status, known.executed) == ("CANCELED", case.amount_of() / 2)
        orders(node, *buy, "--price", case.below)
        first.process.kill()
        first.process.wait()
    exchange.touch(case.dip, case.dip)
    with NodeProcess(node, "--live"):
        until(lambda: position(node, case) == bought(exchange, case) or None, "what was filled meanwhile")
        until(lambda: not orders(node, "list")["orders"] or None, "the end of the order")
    assert [(each.status, each.executed) for each in exchange.placed()] == [
        ("CANCELED", case.amount_of() / 2),
        ("FILLED", case.amount_of()),
    ]
    assert exchange.books()["duplicates"] == {}
    told = node.status()
    assert told["open_orders"] == []
    assert told["exchange_key"]["exchange"] == case.name
