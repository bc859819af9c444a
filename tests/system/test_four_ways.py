"""The owner's limits refuse an intent whichever way it comes: strategy, server, the owner's hand, or once more later.

Real processes; the exchange's own books say that nothing reached it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.binance.process import BinanceProcess
from tests.control_plane.support import ServerProcess, control_plane, json_of
from tests.live import SYMBOL, change_policy, live_node
from tests.support import NodeDir, NodeProcess, node_agent, until
from tests.system.conftest import register


@pytest.fixture
def exchange() -> Iterator[BinanceProcess]:
    with BinanceProcess("--interval", "1s") as process:
        yield process


def enrolled(folder: Path, server: ServerProcess, exchange: BinanceProcess, strategy: str = "none") -> NodeDir:
    node = live_node(folder, exchange, "--strategy", strategy)
    register(node, server)
    return node


def events(server: ServerProcess, node: NodeDir) -> list[dict[str, Any]]:
    done = control_plane("events", "tail", "--data-dir", server.data_dir, "--node", node.status()["node_id"], "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def told(server: ServerProcess, node: NodeDir, kind: str) -> dict[str, Any]:
    """The data of the first event of a type that the server has."""

    def found() -> dict[str, Any] | None:
        return next((event["data"] for event in events(server, node) if event["type"] == kind), None)

    return until(found, f"{kind} at the server")


def commanded(server: ServerProcess, node: NodeDir) -> str:
    words = ("--symbol", SYMBOL, "--side", "buy", "--type", "market", "--amount", "0.01", "--exchange", "binance")
    placed = json_of("orders", "place", "--data-dir", server.data_dir, "--node", node.status()["node_id"], *words)
    command: str = placed["command_id"]
    return command


def test_a_strategy_s_intent_is_refused(tmp_path: Path, server: ServerProcess, exchange: BinanceProcess) -> None:
    node = enrolled(tmp_path, server, exchange, "ma_trend")
    config = node.path / "config.toml"
    config.write_text(config.read_text().replace("fast = 10", "fast = 1").replace("slow = 30", "slow = 2"))
    change_policy(node, ('max_order_notional = "1000"', 'max_order_notional = "100"'))
    with NodeProcess(node, "--live"):
        refused = told(server, node, "intent.refused")
    assert (refused["rule"], refused["strategy"]) == ("max_order_notional", "ma_trend")
    assert exchange.books()["orders"] == []


@pytest.mark.parametrize("moment", ["while it runs", "before it starts"])
def test_a_server_s_command_is_refused(
    tmp_path: Path, server: ServerProcess, exchange: BinanceProcess, moment: str
) -> None:
    node = enrolled(tmp_path, server, exchange)
    change_policy(node, ('max_order_notional = "1000"', 'max_order_notional = "100"'))
    command = commanded(server, node) if moment == "before it starts" else ""
    with NodeProcess(node, "--live"):
        if not command:
            told(server, node, "node.started")
            command = commanded(server, node)
        refused = told(server, node, "command.refused")
    assert refused == {"command_id": command, "rule": "max_order_notional"}
    assert exchange.books()["orders"] == []


def test_the_owner_s_own_hand_is_refused(tmp_path: Path, server: ServerProcess, exchange: BinanceProcess) -> None:
    node = enrolled(tmp_path, server, exchange)
    words = ("--symbol", SYMBOL, "--side", "buy", "--type", "market", "--amount", "0.01", "--exchange", "binance")
    change_policy(node, ('max_order_notional = "1000"', 'max_order_notional = "100"'))
    with NodeProcess(node, "--live"):
        until(lambda: node.status()["prices"] or None, "a price")
        refused = node_agent("orders", "place", "--data-dir", node.path, *words)
        dry = node_agent("policy", "check", "--data-dir", node.path, *words)
    for said in (refused, dry):
        assert said.returncode == 1
        assert "max_order_notional" in said.stdout + said.stderr
    assert exchange.books()["orders"] == []


def test_an_order_that_waits_for_the_exchange_is_refused_by_the_limits_of_then(
    tmp_path: Path, server: ServerProcess, exchange: BinanceProcess
) -> None:
    node = enrolled(tmp_path, server, exchange)
    with NodeProcess(node, "--live"):
        until(lambda: node.status()["prices"] or None, "a price")
        exchange.faults({"method": "POST", "path": "/api/v3/order", "what": "-1021", "times": 1_000})
        command = commanded(server, node)
        until(lambda: node.status()["open_orders"] or None, "the order to be accepted")
        change_policy(node, ('max_order_notional = "1000"', 'max_order_notional = "100"'))
        told(server, node, "policy.changed")
        exchange.faults()
        given_up = told(server, node, "order.cancelled")
    assert given_up["command_id"] == command
    assert "max_order_notional" in given_up["reason"]
    assert exchange.books()["orders"] == []
