"""An exchange that lost an order, or wants nothing of us for a while: what the owner sees of it, and can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.binance.process import BinanceProcess
from tests.live import SYMBOL, live_node
from tests.support import NodeDir, NodeProcess, node_agent, told, until

RESTING = ("--symbol", SYMBOL, "--side", "buy", "--type", "limit", "--amount", "0.01", "--price", "39000")


@pytest.fixture
def live(tmp_path: Path, exchange: BinanceProcess) -> NodeDir:
    return live_node(tmp_path, exchange, "--strategy", "none")


def place(node: NodeDir) -> str:
    """A resting order; its client order id."""
    until(lambda: node.status()["prices"] or None, "a price")
    done = node_agent("orders", "place", "--data-dir", node.path, *RESTING, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)["client_order_id"])


def test_an_order_that_the_exchange_lost_blocks_its_symbol_until_the_owner_gives_it_up(
    live: NodeDir, exchange: BinanceProcess
) -> None:
    with NodeProcess(live, "--live"):
        name = place(live)
        give_up = ("orders", "give-up", name, "--data-dir", live.path)
        assert "only an unknown order is given up, and this one is open" in told(node_agent(*give_up), 1)
        exchange.reset()
        until(lambda: live.status()["open_orders"][0]["state"] == "unknown" or None, "an order that is not found")
        assert "`node-agent orders give-up ID`" in node_agent("orders", "list", "--data-dir", live.path).stdout
        assert "unknown_order" in told(node_agent("orders", "place", "--data-dir", live.path, *RESTING), 1)
        done = node_agent(*give_up)
        assert (done.returncode, done.stdout.split()[-2:]) == (0, ["cancelled", name])
        assert place(live) != name


AWAY = "nothing is traded before the exchange says"


def test_a_ban_is_kept_by_a_node_that_is_killed_and_started_again(live: NodeDir, exchange: BinanceProcess) -> None:
    def banned() -> str | None:
        ends: str | None = (live.status()["line_to_exchange"] or {}).get("banned_until")
        return ends

    with NodeProcess(live, "--live") as process:
        until(lambda: live.status()["prices"] or None, "a price")
        exchange.limits(ban=60.0)
        until(banned, "a ban that is written down")
        process.process.kill()
    asks_for_nothing(live, exchange)


def test_a_ban_that_comes_at_a_start_is_kept_by_the_next_one_too(live: NodeDir, exchange: BinanceProcess) -> None:
    """A supervisor that starts the node again and again would make it longer each time."""
    exchange.limits(ban=60.0)
    with NodeProcess(live, "--live") as process:
        until(lambda: AWAY in process.log or None, "a ban")
        process.process.kill()
    asks_for_nothing(live, exchange)


def asks_for_nothing(node: NodeDir, exchange: BinanceProcess) -> None:
    """A start that gets nowhere for a ban, and does not ask whether it is over."""
    before, tries = exchange.books()["requests"], (node.path / "run.log").read_text().count(AWAY)
    with NodeProcess(node, "--live") as process:
        until(lambda: process.log.count(AWAY) > tries or None, "a start that gets nowhere")
        assert exchange.books()["requests"] == before
        assert "our clock" in node_agent("status", "--data-dir", node.path).stdout
