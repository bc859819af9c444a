"""The owner's commands as real processes: pause, resume, stop, orders, policy, journal; the node runs or does not."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from node_agent import at_rest
from node_agent.cli.words import LIFTED_BY
from node_agent.control_line import SOCKET_FILE
from node_agent.core import events, state
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.lock import DirectoryLock
from tests.control_plane.support import ServerProcess
from tests.support import WITHIN, NodeDir, NodeProcess, environment, node_agent, told, until
from tests.system.conftest import register

BUY = ("--symbol", "BTC/USD", "--side", "buy")
RESTING = (*BUY, "--type", "limit", "--amount", "0.01", "--price", "30000")
MARKET = (*BUY, "--type", "market", "--amount", "0.01")


@pytest.fixture
def node(tmp_path: Path) -> NodeDir:
    """A paper node with no strategy: nothing trades but what the owner asks for."""
    return NodeDir.made(tmp_path, "--strategy", "none")


def does(node: NodeDir, *words: str, code: int = 0) -> str:
    """What a command prints; the test fails when it ends in another way."""
    done = node_agent(*words, "--data-dir", node.path)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def facts(node: NodeDir, *words: str, code: int = 0) -> Any:
    """The same with `--json`; the last of what it prints."""
    printed = does(node, *words, "--json", code=code)
    return json.loads(printed if printed.startswith("{\n") else printed.splitlines()[-1])


def refused(node: NodeDir, *words: str, code: int = 1) -> str:
    """The one line with which a command fails."""
    return told(node_agent(*words, "--data-dir", node.path), code)


def rules(node: NodeDir) -> list[str]:
    return [each["rule"] for each in node.status()["pauses"]]


@contextmanager
def running(node: NodeDir) -> Iterator[NodeProcess]:
    """The node, once it has a price."""
    with NodeProcess(node, "--speed", "60") as process:
        began = len(process.log)

        def priced() -> bool | None:
            assert process.process.poll() is None, process.log
            return True if "node.started" in process.log[began:] and node.status()["prices"] else None

        until(priced, "a start with a price")
        yield process


def test_each_rule_that_stops_new_risk_says_what_lifts_it() -> None:
    named = {value for name, value in vars(state).items() if name.isupper() and isinstance(value, str)}
    assert LIFTED_BY.keys() == named


def test_a_pause_holds_at_once_over_a_restart_and_until_the_owner_resumes(node: NodeDir) -> None:
    with running(node) as process:
        for _ in range(2):
            said = does(node, "pause", "--reason", "lunch")
            assert "new risk is stopped: paused_by_owner" in said
            assert "lunch" in said
        assert "paused_by_owner" in refused(node, "orders", "place", *RESTING)
        assert process.stop()[0] == 0
    with running(node):
        assert rules(node) == ["paused_by_owner"]
        assert "paused_by_owner" in refused(node, "orders", "place", *RESTING)
        for _ in range(2):
            assert does(node, "resume").splitlines()[0] == "trading"
        assert "open" in does(node, "orders", "place", *RESTING)


def test_a_node_that_does_not_run_is_paused_and_resumed_from_its_next_start_on(node: NodeDir) -> None:
    for _ in range(2):
        said = does(node, "pause")
        assert "the node does not run: this holds from its next start on" in said
    assert facts(node, "pause")["running"] is False
    with running(node):
        assert "paused_by_owner" in refused(node, "orders", "place", *RESTING)
        made = node.status()["events"]["last_seq"]
    does(node, "resume")
    does(node, "resume")
    assert rules(node) == []
    assert node.status()["events"]["last_seq"] > made
    with running(node):
        does(node, "orders", "place", *RESTING)


def test_resume_shows_what_still_stops_new_risk_and_what_lifts_it(node: NodeDir) -> None:
    (node.path / "STOP").touch()
    assert "remove that file" in does(node, "resume")
    with running(node):
        said = does(node, "resume")
        assert "new risk is stopped: stop_file" in said
        assert "lifted by removing the file STOP" in said
        assert facts(node, "resume")["trading"] == "halted"


def test_a_plain_stop_ends_the_process_and_says_what_it_leaves(node: NodeDir) -> None:
    with running(node) as process:
        order = facts(node, "orders", "place", *RESTING)["client_order_id"]
        said = does(node, "stop")
        assert process.process.wait(1) == 0
    assert "the node has ended, in order" in said
    assert order in said
    assert "may still trade" in said
    assert "it trades again" in said
    again = does(node, "stop")
    assert "the node does not run: there is nothing to stop" in again
    assert order in again
    assert not (node.path / SOCKET_FILE).exists()
    assert facts(node, "orders", "list")["orders"][0]["client_order_id"] == order


def test_orders_are_cancelled_and_positions_stay_with_cancel_open(node: NodeDir) -> None:
    with running(node) as process:
        order = facts(node, "orders", "place", *RESTING)["client_order_id"]
        does(node, "orders", "place", *MARKET)
        said = does(node, "stop", "--cancel-open")
        assert process.process.wait(1) == 0, process.log
        assert "Traceback" not in process.log
    assert "still open after 0 s: 1 order" in said
    assert order in said
    assert "position 0.01 BTC/USD" in said
    assert "until `node-agent resume`" in said
    left = node.status()
    assert (left["open_orders"], left["positions"]) == ([], {"BTC/USD": "0.01"})
    with running(node):
        assert rules(node) == ["stopped_by_owner"]
        assert "stopped_by_owner" in refused(node, "orders", "place", *RESTING)
        does(node, "resume")
        does(node, "orders", "place", *RESTING)


def test_positions_are_closed_with_flatten_though_the_server_is_gone(node: NodeDir, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "server").start()
    try:
        register(node, server)
        with running(node) as process:
            does(node, "orders", "place", *RESTING)
            does(node, "orders", "place", *MARKET)
            server.end(signal.SIGKILL)
            last = facts(node, "stop", "--flatten")
            assert process.process.wait(1) == 0, process.log
    finally:
        server.end(signal.SIGKILL)
    assert (last["done"], last["orders"], last["positions"], last["running"]) == (True, [], {}, False)
    assert rules(node) == ["stopped_by_owner"]


def test_a_node_that_does_not_run_is_run_to_flatten_and_a_second_time_changes_nothing(node: NodeDir) -> None:
    with running(node) as process:
        does(node, "orders", "place", *RESTING)
        does(node, "orders", "place", *MARKET)
        process.process.kill()
        process.process.wait()
    assert (node.path / SOCKET_FILE).exists()
    said = does(node, "stop", "--flatten")
    assert "it runs now, for just this" in said
    left = node.status()
    assert (left["open_orders"], left["positions"], left["running"]) == ([], {}, False)
    again = facts(node, "stop", "--flatten")
    assert (again["done"], rules(node)) == (True, ["stopped_by_owner"])


def test_a_stop_that_was_cut_off_goes_on_at_the_next_start(node: NodeDir) -> None:
    with running(node):
        does(node, "orders", "place", *RESTING)
        does(node, "orders", "place", *MARKET)
        does(node, "stop")
    with DirectoryLock(node.path), Journal.open(node.path / JOURNAL_FILE, create=False) as journal:
        at_rest.settle(
            journal, events.OwnerStops(datetime.now(UTC), flatten=True, then_end=True, reason="before the power cut")
        )
    assert "the next start goes on with it" in does(node, "stop")
    with NodeProcess(node) as process:
        assert process.process.wait(WITHIN) == 0, process.log
    left = node.status()
    assert (left["open_orders"], left["positions"]) == ([], {})


def test_whoever_waits_no_longer_is_told_and_the_node_goes_on(node: NodeDir) -> None:
    with running(node) as process:
        does(node, "orders", "place", *MARKET)
        process.process.send_signal(signal.SIGSTOP)
        assert "not all is done yet" in refused(node, "stop", "--flatten", "--wait", "0.5")
        process.process.send_signal(signal.SIGCONT)
        assert process.process.wait(WITHIN) == 0, process.log
    assert node.status()["positions"] == {}


def test_an_interrupt_ends_the_showing_alone(node: NodeDir) -> None:
    with running(node) as process:
        does(node, "orders", "place", *MARKET)
        process.process.send_signal(signal.SIGSTOP)
        with asking(node, "stop", "--flatten") as stopping:
            stopping.send_signal(signal.SIGINT)
            _, said = stopping.communicate(timeout=WITHIN)
        assert stopping.returncode == 130
        assert "the node goes on trying" in said
        process.process.send_signal(signal.SIGCONT)
        assert process.process.wait(WITHIN) == 0, process.log


def test_a_stop_whose_node_dies_says_what_is_still_open(node: NodeDir) -> None:
    with running(node) as process:
        does(node, "orders", "place", *MARKET)
        process.process.send_signal(signal.SIGSTOP)
        with asking(node, "stop", "--flatten") as stopping:
            process.process.kill()
            process.process.wait()
            _, said = stopping.communicate(timeout=WITHIN)
    assert stopping.returncode == 1
    assert "the node ended before all was done: no orders, 1 position still open" in said


@contextmanager
def asking(node: NodeDir, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that waits for its node's answer."""
    command = subprocess.Popen(
        [sys.executable, "-m", "node_agent", *words, "--data-dir", node.path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        until(lambda: True if waits(command.pid) else None, "the request")
        yield command
    finally:
        command.kill()
        command.communicate()


def waits(pid: int) -> bool:
    """Whether a process has a socket, and sleeps: its request is sent."""
    try:
        sockets = any("socket:" in os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())
        return sockets and (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")
    except OSError:
        return False


def test_the_owner_s_hand_is_named_so_that_no_order_is_doubled(node: NodeDir) -> None:
    with running(node):
        first = facts(node, "orders", "place", *RESTING, "--id", "one")
        assert "placed before" in does(node, "orders", "place", *RESTING, "--id", "one")
        assert "another order" in refused(node, "orders", "place", *MARKET, "--id", "one")
        listed = facts(node, "orders", "list")
        assert [order["client_order_id"] for order in listed["orders"]] == [first["client_order_id"]]
        for _ in range(2):
            assert facts(node, "orders", "cancel", first["client_order_id"])["state"] == "cancelled"
        assert facts(node, "orders", "list")["orders"] == []
        assert "no order" in refused(node, "orders", "cancel", "f" * 32)
        assert "had ended before" in refused(node, "orders", "give-up", first["client_order_id"])


def test_the_owner_s_limits_refuse_the_owner_s_hand(node: NodeDir) -> None:
    with running(node):
        said = refused(node, "orders", "place", *BUY, "--type", "limit", "--amount", "0.1", "--price", "36000")
        assert said == "refused by max_order_notional: 3600 is above 1000"
        assert facts(node, "orders", "list")["orders"] == []
    assert "while the node runs alone" in refused(node, "orders", "place", *RESTING)
    assert "while the node runs alone" in refused(node, "orders", "cancel", "f" * 32)
    assert "while the node runs alone" in refused(node, "orders", "give-up", "f" * 32)


def test_an_order_whose_answer_is_lost_is_asked_for_again_by_its_id(node: NodeDir) -> None:
    """Without the id it would be another order."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(node.path / SOCKET_FILE))
        dying.listen()

        def takes_it_and_dies() -> None:
            client, _ = dying.accept()
            asked.append(client.recv(4096))
            client.close()

        taking = threading.Thread(target=takes_it_and_dies)
        taking.start()
        done = node_agent("orders", "place", *MARKET, "--data-dir", node.path)
        taking.join(WITHIN)
    assert "ended before it had answered" in told(done, 1)
    token = json.loads(asked[0])["token"]
    assert f"ask again with `--id {token}`" in done.stderr
    assert "do it again" not in done.stderr


@pytest.mark.parametrize("reason", ["", "two\nlines", "a\x07bell", "\udcff", "x" * 201])
def test_a_reason_that_is_no_line_is_wrong_usage(node: NodeDir, reason: str) -> None:
    done = node_agent("pause", "--data-dir", node.path, "--reason", reason)
    assert done.returncode == 2
    assert "--reason takes one line" in done.stderr
    assert rules(node) == []


def test_to_stop_needs_no_limits(node: NodeDir) -> None:
    with running(node):
        facts(node, "orders", "place", *MARKET)
        does(node, "stop")
    digest = node.status()["limits_digest"]
    (node.path / "policy.toml").write_text("max_order_notional = ")
    assert "policy.toml" in refused(node, "run", code=2)
    does(node, "stop", "--flatten")
    left = node.status()
    assert (left["open_orders"], left["positions"], left["limits_digest"]) == ([], {}, digest)
    assert sorted(rules(node)) == ["policy_unreadable", "stopped_by_owner"]


def test_a_position_is_not_left_to_itself_by_another_symbol(node: NodeDir) -> None:
    with running(node):
        facts(node, "orders", "place", *MARKET)
    config = node.path / "config.toml"
    config.write_text(config.read_text().replace("BTC/USD", "ETH/USD"))
    for command in (("run",), ("stop", "--flatten", "--wait", "1")):
        assert "a position of BTC/USD" in told(node_agent(*command, "--data-dir", node.path), 2)
    config.write_text(config.read_text().replace("ETH/USD", "BTC/USD"))
    does(node, "stop", "--flatten")


@pytest.mark.parametrize("traded", [True, False])
def test_the_books_of_play_money_do_not_go_on_at_an_exchange(node: NodeDir, traded: bool) -> None:
    with running(node):
        if traded:
            facts(node, "orders", "place", *MARKET)
        else:  # what the limits refused was never at an exchange
            assert (
                "refused by"
                in node_agent("orders", "place", *MARKET, "--exchange", "x", "--data-dir", node.path).stderr
            )
    config = node.path / "config.toml"
    text = config.read_text().replace('mode = "paper"', 'mode = "live"').replace('name = "paper"', 'name = "binance"')
    config.write_text(
        re.sub(r"(?ms)^\[paper\].*?(?=^\[strategy\])", "", text).replace(
            'symbol = "BTC/USD"', 'symbol = "BTC/USD"\nurl = "http://127.0.0.1:1"'
        )
    )
    for command in (("run", "--live"), ("stop", "--flatten", "--wait", "1")):
        done = node_agent(*command, "--data-dir", node.path)
        if traded:
            assert "has traded on paper (paper)" in told(done, 2)
            assert 'put mode = "paper" and name = "paper" back' in done.stderr
        else:
            assert "has no key for binance" in told(done, 2)


@pytest.mark.parametrize(
    ("order", "rule"),
    [
        (("--exchange", "kraken", *RESTING), "exchange: kraken is not among the owner's exchanges"),
        (("--symbol", "ETH/USD", "--side", "buy", "--type", "market", "--amount", "1"), "symbol: ETH/USD is not"),
        ((*RESTING, "--reduce-only"), "reduce_only: no more than 0 can be closed"),
        ((*BUY, "--type", "limit", "--amount", "0.1", "--price", "60000"), "price_collar: 60000 is worse than 48000"),
        ((*BUY, "--type", "limit", "--amount", "0.1", "--price", "40000"), "max_order_notional: 4000 is above 1000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_policy_check_names_the_rule(node: NodeDir, order: tuple[str, ...], rule: str) -> None:
    said = does(node, "policy", "check", *order, "--last", "40000", code=1)
    assert said.splitlines()[-1].startswith(f"refused by {rule}")


def test_policy_check_goes_by_the_journal(node: NodeDir) -> None:
    order = ("policy", "check", *BUY, "--type", "market", "--amount", "0.01")
    assert "refused by no_price" in does(node, *order, code=1)
    with running(node):
        assert does(node, *order).splitlines() == ["allowed"]
        for _ in range(3):
            does(node, "orders", "place", *BUY, "--type", "market", "--amount", "0.025")
    does(node, "stop")
    allowed = facts(node, *order)
    assert (allowed["allowed"], allowed["rule"]) == (True, None)
    assert "the node does not run" in allowed["notes"][0]
    tight = (
        (node.path / "policy.toml")
        .read_text()
        .replace('max_position_notional = "5000"', 'max_position_notional = "3000"')
    )
    (node.path / "policy.toml").write_text(tight)
    assert "refused by max_position_notional" in does(node, *order, code=1)
    assert "minimum_notional" in does(node, "policy", "check", *BUY, "--type", "market", "--amount", "0.0001", code=1)
    does(node, "pause")
    assert facts(node, *order, code=1)["rule"] == "paused_by_owner"
    exit_ = ("policy", "check", "--symbol", "BTC/USD", "--side", "sell", "--type", "market", "--amount", "0.05")
    assert facts(node, *exit_)["reduces"] is True


def test_policy_check_of_an_order_that_is_none_is_wrong_usage(node: NodeDir) -> None:
    for words in ((*BUY, "--type", "limit", "--amount", "1"), (*MARKET, "--price", "1"), (*BUY, "--type", "market")):
        refused(node, "policy", "check", *words, code=2)


def test_the_limits_are_shown_in_words_and_whether_they_are_in_force(node: NodeDir) -> None:
    said = does(node, "policy", "show")
    assert "at most 1000 USD" in said
    assert "no node has run with these yet" in said
    with running(node):
        assert facts(node, "policy", "show")["in_force"] is True
        assert "not taken" not in does(node, "policy", "show")


def test_a_copy_of_the_journal_is_whole_and_made_while_the_node_runs(node: NodeDir, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite3"
    with running(node):
        does(node, "orders", "place", *RESTING)
        held = facts(node, "journal", "export", str(copy))
        assert (held["orders"], held["open_orders"], held["fills"]) == (1, 1, 0)
        assert facts(node, "journal", "check") == held
        assert "there already" in refused(node, "journal", "export", str(copy))
        does(node, "journal", "export", str(copy), "--force")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir() if "copy" in each.name] == ["copy.sqlite3"]
    with Journal.open(copy, create=False) as journal:
        assert len(journal.open_orders()) == 1
    assert "the journal itself" in refused(node, "journal", "export", str(node.path / JOURNAL_FILE), "--force")
    assert "cannot be written" in refused(node, "journal", "export", str(tmp_path / "nowhere" / "copy"))


def test_a_damaged_journal_is_neither_sound_nor_copied(node: NodeDir, tmp_path: Path) -> None:
    does(node, "pause")
    path = node.path / JOURNAL_FILE
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    assert "damaged" in refused(node, "journal", "check")
    assert "damaged" in refused(node, "journal", "export", str(tmp_path / "copy"))
    assert not list(tmp_path.glob("*copy*"))


@pytest.mark.parametrize(
    "words",
    [
        ("pause",),
        ("resume",),
        ("stop",),
        ("stop", "--flatten"),
        ("orders", "list"),
        ("orders", "place", *RESTING),
        ("orders", "cancel", "f" * 32),
        ("orders", "give-up", "f" * 32),
        ("policy", "show"),
        ("policy", "check", *RESTING),
        ("journal", "check"),
        ("journal", "export", "copy"),
    ],
    ids=" ".join,
)
def test_a_directory_without_a_node_is_said_and_stays_as_it_is(tmp_path: Path, words: tuple[str, ...]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    told(node_agent(*words, "--data-dir", empty), 2)
    assert list(empty.iterdir()) == []


def test_a_process_that_holds_the_directory_and_does_not_listen_is_named(node: NodeDir) -> None:
    with DirectoryLock(node.path):
        assert f"process {os.getpid()} holds" in refused(node, "stop", "--flatten")
        assert f"process {os.getpid()}" in refused(node, "pause")
