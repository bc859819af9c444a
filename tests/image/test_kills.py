"""The node in its container killed at random moments: the books of exchange, journal and server agree."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.control_plane.support import MASTER_KEY
from tests.image.conftest import HARDENED, Home
from tests.image.engine import Container, eventually, volume
from tests.torture.books import Books, differences

KILLS: Final = 20
SYMBOL: Final = "BTC/USD"


class Server(Container):
    """The control plane in a container; the node shares its network, and so reaches it on loopback."""

    def ask(self, *words: str) -> Any:
        """What one of its commands prints as JSON."""
        done = self.execute("control-plane", *words, "--data-dir", "/data", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self, node_id: str) -> list[dict[str, Any]]:
        """All that the node has told, in order."""
        found = self.ask("events", "tail", "--node", node_id)
        assert isinstance(found, list)
        return found


@pytest.fixture
def server(control_plane_image: str) -> Iterator[Server]:
    with volume() as data:
        options = ("--volume", f"{data}:/data", "--env", f"CONTROL_PLANE_MASTER_KEY={MASTER_KEY}")
        serve = ("serve", "--data-dir", "/data")
        with Server(control_plane_image, serve, (*HARDENED, *options)) as container:
            container.start()
            eventually(lambda: "listening on" in container.log(), "a server that listens")
            yield container


def enrolled(home: Home, server: Server) -> str:
    """Enrols the node; its id."""
    [token] = server.ask("token", "create")
    options = ("--network", f"container:{server.name}", "--env", f"NODE_ENROLL_TOKEN={token['token']}")
    at = ("--server", "http://127.0.0.1:8099", "--insecure-loopback", "--json")
    made = json.loads(home.run("register", *at, options=options))
    return str(made["node_id"])


@pytest.mark.timeout(600)
def test_killed_at_twenty_moments_all_books_agree(home: Home, server: Server, tmp_path: Path) -> None:
    chance = random.Random(6)
    node_id = enrolled(home.made(), server)
    commands: list[str] = []

    def command(*words: str) -> None:
        commands.extend(each["command_id"] for each in server.ask(*words, "--node", node_id))

    quick = ("--env", "NODE_STRATEGY__FAST=1", "--env", "NODE_STRATEGY__SLOW=2")
    options = ("--network", f"container:{server.name}", *quick)
    with home.container("run", "--speed", "300", options=options) as node:
        for _ in range(KILLS):
            node.start()
            side = chance.choice(("buy", "buy", "sell"))
            command("orders", "place", "--symbol", SYMBOL, "--side", side, "--type", "market", "--amount", "0.001")
            time.sleep(chance.uniform(0.3, 1.8))
            node.kill()
            assert node.facts()["State"]["ExitCode"] == 137
        node.start()
        command("nodes", "pause")
        eventually(lambda: any(each["type"] == "node.paused" for each in server.events(node_id)), "a pause")
        command("orders", "cancel-all")
        eventually(lambda: settled(node, server, node_id, commands), "a node that has told all")
        assert node.stop() == 0
        books = read(node.copied("/data", tmp_path), server.events(node_id), commands)
    assert differences(books) == []
    assert len(books.exchange_orders) >= KILLS // 2
    assert len(books.exchange_trades) >= KILLS // 2


def settled(node: Container, server: Server, node_id: str, commands: list[str]) -> bool:
    """Whether nothing is open, nothing is left to tell, and each command was answered."""
    status = json.loads(node.execute("node-agent", "status", "--json").stdout)
    answered = {event["data"].get("command_id") for event in server.events(node_id)}
    return not status["open_orders"] and not status["events"]["pending"] and answered.issuperset(commands)


def read(data: Path, told: list[dict[str, Any]], commands: list[str]) -> Books:
    """The books of all three."""
    exchange, journal = data / "paper.sqlite3", data / "journal.sqlite3"
    [account] = rows(exchange, "books")
    fills = rows(exchange, "fills")
    return Books(
        exchange_orders=[
            {
                "clientOrderId": order["request"]["client_order_id"],
                "orderId": f"paper-{order['number']}",
                "status": order["status"],
                "executedQty": order["filled"],
            }
            for order in rows(exchange, "orders")
        ],
        exchange_trades=[{"id": fill["trade_id"], "qty": fill["amount"], "price": fill["price"]} for fill in fills],
        journal_orders=rows(journal, "orders"),
        journal_fills=rows(journal, "fills"),
        journal_events=rows(journal, "events"),
        server_events=told,
        commands=commands,
        holdings=held(rows(journal, "fills")),
        balance_changes={"BTC": Decimal(account["base"]), "USD": Decimal(account["quote"]) - 10_000},
    )


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    query = f"SELECT record FROM {table} ORDER BY rowid"  # noqa: S608  (a name of ours)
    with closing(sqlite3.connect(path)) as connection:
        return [json.loads(record) for (record,) in connection.execute(query)]


def held(fills: list[dict[str, Any]]) -> dict[str, Decimal]:
    """What the fills in the journal come to."""
    sums = {"BTC": Decimal(0), "USD": Decimal(0)}
    for fill in fills:
        sign = 1 if fill["side"] == "buy" else -1
        sums["BTC"] += sign * Decimal(fill["amount"])
        sums["USD"] -= sign * Decimal(fill["amount"]) * Decimal(fill["price"])
        sums[fill["fee_currency"]] -= Decimal(fill["fee"])
    return sums
