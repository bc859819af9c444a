"""Node and server as real processes: away and back, killed, with a clock that is off, copied, in the wrong hands."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.control_plane.support import ServerProcess, control_plane, json_of
from tests.support import NodeDir, NodeProcess, environment, node_agent, told, until


def events(server: ServerProcess, node_id: str) -> list[dict[str, Any]]:
    done = control_plane("events", "tail", "--data-dir", server.data_dir, "--node", node_id, "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def types(server: ServerProcess, node_id: str) -> list[str]:
    return [event["type"] for event in events(server, node_id)]


def has(server: ServerProcess, node_id: str, kind: str, times: int = 1) -> None:
    until(lambda: True if types(server, node_id).count(kind) >= times else None, f"{times} of {kind} at the server")


def place(server: ServerProcess, node_id: str, **options: str) -> dict[str, Any]:
    words = {"symbol": "BTC/USD", "side": "buy", "type": "limit", "amount": "0.01", "price": "40000"} | options
    flags = [part for name, value in words.items() if value for part in (f"--{name}", value)]
    placed: dict[str, Any] = json_of("orders", "place", "--data-dir", server.data_dir, "--node", node_id, *flags)
    return placed


def test_a_trader_s_first_hour(server: ServerProcess, node: NodeDir) -> None:
    node_id = node.status()["node_id"]
    with NodeProcess(node, "--speed", "2000") as process:
        has(server, node_id, "account.snapshot")
        command = place(server, node_id)["command_id"]
        has(server, node_id, "order.filled")
        code, seconds = process.stop()
    assert code == 0, process.log
    assert seconds < 5
    stored = events(server, node_id)
    assert [event["seq"] for event in stored] == list(range(1, len(stored) + 1))
    assert stored[0]["type"] == "node.started"
    assert stored[-1]["type"] == "node.stopping"
    ours = [event for event in stored if event["data"].get("command_id") == command]
    assert [event["type"] for event in ours if event["type"].startswith("order.")][-1] == "order.filled"
    facts = node.status()
    assert facts["events"] == {"last_seq": len(stored), "acknowledged": len(stored), "pending": 0}
    assert not facts["running"]


def test_positions_and_balances_of_a_snapshot_are_of_one_moment(server: ServerProcess, node: NodeDir) -> None:
    node_id = node.status()["node_id"]
    for _ in range(20):
        place(server, node_id, type="market", amount="0.0002", price="", expires="10m")
    with NodeProcess(node) as process:
        has(server, node_id, "trade", 20)
        until(lambda: True if node.status()["balances"].get("BTC") == "0.004" else None, "the last snapshot")
        process.stop()
    told = [event["data"] for event in events(server, node_id) if event["type"] == "account.snapshot"]
    assert told[-1]["positions"] == {"BTC/USD": "0.004"}
    for each in told:
        assert each["positions"].get("BTC/USD", "0") == each["balances"].get("BTC", "0")


def test_what_became_of_each_order_is_listed(server: ServerProcess, node: NodeDir) -> None:
    node_id = node.status()["node_id"]
    with NodeProcess(node) as process:
        has(server, node_id, "account.snapshot")
        given = [place(server, node_id, type="market", price="", amount=amount) for amount in ("0.001", "1000")]
        has(server, node_id, "order.filled")
        has(server, node_id, "command.refused")
        process.stop()
    listed = json_of("orders", "list", "--data-dir", server.data_dir, "--node", node_id)["commands"]
    assert [each["command_id"] for each in listed] == [each["command_id"] for each in given]
    assert [(each["state"], each["rule"]) for each in listed] == [("done", None), ("refused", "max_order_notional")]
    assert listed[1]["detail"]


def test_reports_wait_for_a_server_that_is_away_and_arrive_once(server: ServerProcess, node: NodeDir) -> None:
    node_id = node.status()["node_id"]
    server.end()
    with NodeProcess(node, "--speed", "5000") as process:
        until(lambda: True if node.status()["events"]["pending"] > 20 else None, "reports to pile up")
        server.start()
        until(lambda: True if node.status()["events"]["pending"] == 0 else None, "reports to be taken")
        process.stop()
    stored = events(server, node_id)
    assert [event["seq"] for event in stored] == list(range(1, node.status()["events"]["last_seq"] + 1))


@pytest.mark.parametrize("offset", ["+10m", "-10m"])
def test_a_clock_that_is_ten_minutes_off_is_learnt_and_the_node_goes_on(
    server: ServerProcess, tmp_path: Path, offset: str
) -> None:
    node = NodeDir.made(tmp_path)
    # By hand, for the `faketime` command keeps the node as its child, out of reach of what stops it.
    library = subprocess.run(["faketime", "-f", offset, "printenv", "LD_PRELOAD"], capture_output=True, check=True)
    shifted = {"LD_PRELOAD": library.stdout.decode().strip(), "FAKETIME": offset}
    done = node_agent(
        "register",
        "--data-dir",
        node.path,
        "--server",
        f"http://127.0.0.1:{server.port}",
        "--token",
        server.token(),
        "--insecure-loopback",
        **shifted,
    )
    assert done.returncode == 0, done.stderr
    node_id = node.status()["node_id"]
    with NodeProcess(node, **shifted) as process:
        has(server, node_id, "node.started")
        assert process.stop()[0] == 0
    wanted = -600 if offset == "+10m" else 600
    assert abs(node.status()["clock_offset"] - wanted) <= 2


def test_a_copy_beside_the_original_suspends_the_node_and_stops_new_risk(
    server: ServerProcess, node: NodeDir, tmp_path: Path
) -> None:
    node_id = node.status()["node_id"]
    with NodeProcess(node) as process:
        has(server, node_id, "node.started")
        process.stop()
    copy = NodeDir(tmp_path / "copy", node.key_file)
    shutil.copytree(node.path, copy.path)
    with NodeProcess(node), NodeProcess(copy):

        def suspended() -> dict[str, Any] | None:
            shown = json_of("nodes", "show", "--data-dir", server.data_dir, node_id)
            forks = [alert["evidence"] for alert in shown["alerts"] if alert["evidence"].get("suspends")]
            return forks[0] if shown["state"] == "suspended" and forks else None

        evidence = until(suspended, "the node to be suspended")
        until(
            lambda: True if any("--replace" in json.dumps(each.status()["pauses"]) for each in (node, copy)) else None,
            "a holder to stop new risk, and to say what can be done",
        )
    assert evidence["cause"] in ("copy_same_host", "rollback")


def test_no_report_is_lost_when_server_and_node_are_killed(server: ServerProcess, node: NodeDir) -> None:
    node_id = node.status()["node_id"]
    for speed in ("3000", "4000", "5000"):
        with NodeProcess(node, "--speed", speed):
            before = node.status()["events"]["last_seq"]
            until(
                lambda before=before: True if node.status()["events"]["last_seq"] > before + 5 else None,  # type: ignore[misc]
                "the node to report",
            )
            server.end(signal.SIGKILL)
            server.start()
    with NodeProcess(node, "--speed", "1000") as process:
        until(lambda: True if node.status()["events"]["pending"] == 0 else None, "all reports to be taken")
        process.stop()
    stored = events(server, node_id)
    assert [event["seq"] for event in stored] == list(range(1, node.status()["events"]["last_seq"] + 1))
    assert len({event["id"] for event in stored}) == len(stored)
    trades = [event["data"]["trade_id"] for event in stored if event["type"] == "trade"]
    assert len(trades) == len(set(trades))


def test_a_wrong_passphrase_ends_in_one_line(tmp_path: Path) -> None:
    for name, text in (("right", "correct horse battery"), ("wrong", "battery horse correct")):
        (tmp_path / name).write_text(text)
    path, right = tmp_path / "node", {"NODE_VAULT_PASSPHRASE_FILE": str(tmp_path / "right")}
    candles = NodeDir.made(tmp_path / "other").path / "config.toml"
    line = next(line for line in candles.read_text().splitlines() if line.startswith("candles"))
    words = ("init", "--data-dir", path, "--paper", "--non-interactive", "--candles", line.split('"')[1])
    assert node_agent(*words, **right).returncode == 0
    wrong = node_agent("run", "--data-dir", path, NODE_VAULT_PASSPHRASE_FILE=str(tmp_path / "wrong"))
    assert "does not open with this key" in told(wrong, 2)
    none = node_agent("run", "--data-dir", path)
    assert "nothing opens the vault" in told(none, 2)


def test_an_unreadable_vault_ends_in_one_line(tmp_path: Path) -> None:
    node = NodeDir.made(tmp_path)
    (node.path / "vault.json").write_text("{")
    assert "damaged" in told(node_agent("run", "--data-dir", node.path), 2)
    node.key_file.unlink()
    assert "cannot read the vault's key file" in told(node_agent("run", "--data-dir", node.path), 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no candles"),
        ("timestamp,open,high,low,close,volume\n", "no candles"),
        ("timestamp,open\n2022-01-01,1\n", "no column high"),
        ("2022-01-01T00:00:00Z,1,2,x,1,1\n", ":1: not a candle"),
        ("2022-01-01T00:00:00Z,5,2,1,1,1\n", ":1: prices that cannot be"),
    ],
)
def test_a_recording_that_cannot_be_played_names_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text("2022-01-01T00:00:00Z,1,1,1,1,1\n")
    node = NodeDir.made(tmp_path, candles=prices)
    prices.write_text(text)
    assert said in told(node_agent("run", "--data-dir", node.path), 2)


def test_the_demo_proves_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node_agent", "demo", "--json", "--seconds", "8"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        env=environment(TMPDIR=str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["ok"]
    assert len(outcome["attacks"]) == 6
    counts = outcome["events"]
    assert counts["made"] == counts["verified"] == counts["stored"] > 100
    assert Path(outcome["equity_curve"]).read_text().startswith("<svg")
    assert [each.name for each in tmp_path.iterdir()] == [Path(outcome["equity_curve"]).name]


def test_a_command_that_was_waiting_before_the_first_start_is_weighed_by_the_first_price(
    server: ServerProcess, node: NodeDir
) -> None:
    node_id = node.status()["node_id"]
    command_id = place(server, node_id)["command_id"]
    with NodeProcess(node) as process:
        has(server, node_id, "order.filled")
        process.stop()
    kinds = [event["type"] for event in events(server, node_id) if event["data"].get("command_id") == command_id]
    assert kinds[0] == "order.submitting"
    assert "intent.refused" not in kinds


def test_a_key_is_rotated_while_the_node_trades_and_outlives_a_restart(server: ServerProcess, node: NodeDir) -> None:
    before = node.status()
    node_id = before["node_id"]
    with NodeProcess(node) as process:
        has(server, node_id, "account.snapshot")
        json_of("nodes", "rotate-key", "--data-dir", server.data_dir, node_id)
        until(lambda: True if node.status()["key_id"] == f"{node_id}.2" else None, "the second key")
        place(server, node_id)
        has(server, node_id, "order.filled")
        process.stop()
    with NodeProcess(node) as process:
        has(server, node_id, "node.started", 2)
        process.stop()
    keys = json_of("nodes", "show", "--data-dir", server.data_dir, node_id)["keys"]
    assert [key["key_id"] for key in keys][-1] == f"{node_id}.2"
    assert keys[-1]["first_used_at"]


def test_a_server_pauses_and_resumes_new_risk(server: ServerProcess, node: NodeDir) -> None:
    node_id = node.status()["node_id"]
    with NodeProcess(node) as process:
        has(server, node_id, "account.snapshot")
        json_of("nodes", "pause", "--data-dir", server.data_dir, node_id)
        has(server, node_id, "node.paused")
        place(server, node_id)
        has(server, node_id, "intent.refused")
        json_of("nodes", "resume", "--data-dir", server.data_dir, node_id)
        has(server, node_id, "node.resumed")
        place(server, node_id)
        has(server, node_id, "order.filled")
        process.stop()


def test_a_picture_that_has_nowhere_to_go_is_told_before_the_demo_plays(tmp_path: Path) -> None:
    done = node_agent("demo", "--quiet", "--svg", tmp_path / "nowhere/last.svg", TMPDIR=str(tmp_path))
    assert "--svg: there is no directory" in told(done, 2)
    assert list(tmp_path.iterdir()) == []
