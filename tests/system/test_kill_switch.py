"""The owner's kill switch at a real wire: with the server gone, with the exchange gone, with both gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.binance.process import BinanceProcess
from tests.control_plane.support import ServerProcess
from tests.live import SYMBOL, live_node
from tests.support import WITHIN, NodeDir, NodeProcess, environment, node_agent, until
from tests.system.conftest import register

AWAY = {"drop_before": 1.0}
"""Every request about orders is dropped, before anything is done."""
PERMISSIONS = "/sapi/v1/account/apiRestrictions"
ORDER = ("--symbol", SYMBOL, "--side", "buy", "--exchange", "binance")


@pytest.fixture
def live(tmp_path: Path, server: ServerProcess, exchange: BinanceProcess) -> NodeDir:
    node = live_node(tmp_path, exchange, "--strategy", "none")
    register(node, server)
    return node


def place(node: NodeDir, *words: str) -> dict[str, Any]:
    done = node_agent("orders", "place", "--data-dir", node.path, *ORDER, *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    order: dict[str, Any] = json.loads(done.stdout)
    return order


def traded(node: NodeDir, exchange: BinanceProcess) -> None:
    """A position, and an order that rests."""
    until(lambda: node.status()["prices"] or None, "a price")
    place(node, "--type", "market", "--amount", "0.01")
    place(node, "--type", "limit", "--amount", "0.01", "--price", "39000")
    until(lambda: node.status()["positions"].get(SYMBOL), "the position")
    until(lambda: open_there(exchange) or None, "the resting order")


def killed_in_trade(node: NodeDir, exchange: BinanceProcess) -> None:
    """A life that left all of that behind, without a word."""
    with NodeProcess(node, "--live") as process:
        traded(node, exchange)
        process.process.kill()
        process.process.wait()


def open_there(exchange: BinanceProcess) -> list[str]:
    return [order["clientOrderId"] for order in exchange.books()["orders"] if order["status"] == "NEW"]


def held_there(exchange: BinanceProcess) -> float:
    books = exchange.books()
    return float(books["balances"]["BTC"]["free"]) - float(books["deposited"]["BTC"])


@pytest.mark.parametrize("away", ["server", "exchange", "both"])
def test_flatten_closes_all_whatever_is_away(
    live: NodeDir, server: ServerProcess, exchange: BinanceProcess, away: str
) -> None:
    with NodeProcess(live, "--live") as process:
        traded(live, exchange)
        if away in ("server", "both"):
            server.process.kill()
        if away in ("exchange", "both"):
            exchange.faults(chance=AWAY)
        stop = subprocess.Popen(
            [sys.executable, "-m", "node_agent", "stop", "--flatten", "--data-dir", str(live.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        assert stop.stdout is not None
        said = stop.stdout.readline()
        assert said.startswith("still open after ")
        if away in ("exchange", "both"):
            until(lambda: exchange.books()["faults"].get("drop_before", 0) > 1 or None, "tries that come to nothing")
            assert stop.poll() is None
            assert open_there(exchange)
            exchange.faults()
        rest, _ = stop.communicate(timeout=WITHIN)
        assert stop.returncode == 0, said + rest
        assert process.process.wait(WITHIN) == 0, process.log
    assert open_there(exchange) == []
    assert abs(held_there(exchange)) < 0.0002, "no more than dust is left"
    facts = live.status()
    assert [each["rule"] for each in facts["pauses"]] == ["stopped_by_owner"]
    assert facts["trading"] == "halted"


@pytest.mark.parametrize("by", ["command", "file"])
def test_flatten_closes_all_though_the_exchange_does_not_tell_what_the_key_may_do(
    live: NodeDir, exchange: BinanceProcess, by: str
) -> None:
    killed_in_trade(live, exchange)
    exchange.faults({"what": "5xx_before", "method": "GET", "path": PERMISSIONS, "times": 1000})
    with NodeProcess(live, "--live") as process:
        until(lambda: "nothing is traded before" in process.log or None, "a start that waits")
        if by == "command":
            assert node_agent("stop", "--flatten", "--data-dir", live.path).returncode == 0
            assert process.process.wait(WITHIN) == 0, process.log
        else:
            (live.path / "STOP").write_text("flatten\n")
            until(lambda: abs(held_there(exchange)) < 0.0002 or None, "the exit")
            until(lambda: "key_rejected" in [each["rule"] for each in live.status()["pauses"]] or None, "no new risk")
    assert open_there(exchange) == []
    assert abs(held_there(exchange)) < 0.0002, "no more than dust is left"


def test_a_stop_file_closes_all_though_the_key_could_take_money_out_and_the_next_start_is_refused(
    live: NodeDir, exchange: BinanceProcess
) -> None:
    killed_in_trade(live, exchange)
    exchange.permissions(enableWithdrawals=True)
    (live.path / "STOP").write_text("flatten\n")
    with NodeProcess(live, "--live"):
        until(lambda: abs(held_there(exchange)) < 0.0002 or None, "the exit")
        until(lambda: not open_there(exchange) or None, "the cancel")
        until(lambda: "key_rejected" in [each["rule"] for each in live.status()["pauses"]] or None, "no new risk")
        (live.path / "STOP").unlink()
        until(lambda: "stop_file" not in [each["rule"] for each in live.status()["pauses"]] or None, "the file gone")
        refused = node_agent("orders", "place", "--data-dir", live.path, *ORDER, "--type", "market", "--amount", "0.01")
        assert refused.returncode == 1
        assert "key_rejected" in refused.stdout + refused.stderr
    done = node_agent("run", "--live", "--data-dir", live.path)
    assert done.returncode == 1
    assert "could take money out" in done.stderr


@pytest.mark.parametrize("words", ["", "flatten\n"])
def test_a_stop_file_that_has_nothing_left_to_close_lets_no_key_in_that_could_take_money_out(
    live: NodeDir, exchange: BinanceProcess, words: str
) -> None:
    with NodeProcess(live, "--live") as process:
        traded(live, exchange)
        place(live, "--type", "market", "--amount", "0.01234")
        (live.path / "STOP").write_text(words)
        until(lambda: not open_there(exchange) or None, "the cancel")
        until(lambda: live.status()["stopping"] is None or None, "the end of it")
        process.stop()
    assert live.status()["positions"], "a position that stays, or dust"
    exchange.permissions(enableWithdrawals=True)
    with NodeProcess(live, "--live") as process:
        assert process.process.wait(WITHIN) == 1
        assert "could take money out" in process.log


def test_a_stopped_node_takes_no_new_risk_when_it_starts_again_until_its_owner_resumes(
    live: NodeDir, exchange: BinanceProcess
) -> None:
    with NodeProcess(live, "--live"):
        traded(live, exchange)
        assert node_agent("stop", "--cancel-open", "--data-dir", live.path).returncode == 0
    with NodeProcess(live, "--live"):
        until(lambda: live.status()["running"] or None, "the node to run")
        until(lambda: (live.path / "node.sock").exists() or None, "the socket")
        words = ("orders", "place", "--data-dir", live.path, *ORDER, "--type", "market", "--amount", "0.01")
        refused = node_agent(*words)
        assert refused.returncode == 1
        assert "stopped_by_owner" in refused.stdout + refused.stderr
        assert node_agent("resume", "--data-dir", live.path).returncode == 0
        assert node_agent(*words).returncode == 0


def test_a_stop_file_cancels_what_is_open_and_holds_as_long_as_it_lies_there(
    live: NodeDir, exchange: BinanceProcess
) -> None:
    with NodeProcess(live, "--live") as process:
        traded(live, exchange)
        (live.path / "STOP").touch()
        until(lambda: not open_there(exchange) or None, "the cancel")
        until(lambda: live.status()["stopping"] is None or None, "the end of it")
        assert [each["rule"] for each in live.status()["pauses"]] == ["stop_file"]
        assert live.status()["positions"], "a position stays unless the file says flatten"
        (live.path / "STOP").write_text("flatten\n")
        until(lambda: abs(held_there(exchange)) < 0.0002 or None, "the exit")
        (live.path / "STOP").unlink()
        until(lambda: not live.status()["pauses"] or None, "trading to go on")
        assert process.process.poll() is None


@pytest.mark.parametrize("patience", ["0", "0.3"])
def test_a_stop_of_a_node_that_does_not_run_is_not_waited_for_longer_than_asked(
    live: NodeDir, exchange: BinanceProcess, patience: str
) -> None:
    """Shorter than a start takes, with the exchange away: nothing else would end it."""
    with NodeProcess(live, "--live") as process:
        traded(live, exchange)
        process.stop()
    exchange.faults(chance=AWAY)
    done = node_agent("stop", "--cancel-open", "--wait", patience, "--data-dir", live.path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "so does the node's next start" in done.stderr
    exchange.faults()
    with NodeProcess(live, "--live") as process:
        assert process.process.wait(WITHIN) == 0, process.log
    assert open_there(exchange) == []


def test_a_node_whose_log_cannot_be_written_goes_on_trading(live: NodeDir, exchange: BinanceProcess) -> None:
    """Whoever read it is gone, as with `run 2>&1 | tee log`, and there is something to be said."""
    reader, writer = os.pipe()
    words = [sys.executable, "-m", "node_agent", "run", "--live", "--data-dir", str(live.path)]
    with subprocess.Popen(words, stdout=writer, stderr=writer, env=environment()) as process:
        try:
            os.close(writer)
            os.close(reader)
            traded(live, exchange)
            exchange.faults(chance={"5xx_before": 1.0})
            until(lambda: exchange.books()["faults"].get("5xx_before", 0) > 5 or None, "warnings that nobody hears")
            exchange.faults()
            exchange.price("38900")
            until(lambda: not live.status()["open_orders"] or None, "the fill")
            assert live.status()["positions"] == {SYMBOL: "0.01998"}, "both buys, less their fees"
            process.terminate()
            assert process.wait(WITHIN) == 0
        finally:
            process.kill()
