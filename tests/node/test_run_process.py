"""`node-agent run` and `status` as real processes: they trade, they end in order, and what is wrong is one line."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from node_agent.enrol import node_key_name
from node_agent.journal import Journal, JournalMissing, Registration
from node_agent.vault import Vault, VaultKey
from tests.node.until import waits_for
from tests.node.values import START
from tests.support import with_room_for

NODE_AGENT = [sys.executable, "-m", "node_agent"]
ROOT = Path(__file__).parents[2]
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
SIGTERM_SECONDS = 5
NODE_ID = "n_" + "a" * 20


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A new paper node that trades sixty candles of a price that rises and falls."""
    prices = [40000 + 10 * (n if n < 45 else 90 - n * 2) - (400 if n < 31 else 0) for n in range(60)]
    rows = [f"{START + timedelta(minutes=n):%Y-%m-%d %H:%M:%S},{p},{p},{p},{p},1000" for n, p in enumerate(prices)]
    candles = tmp_path / "candles.csv"
    candles.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    data_dir = tmp_path / "node"
    made = agent(
        "init", data_dir, "--paper", "--candles", candles, "--vault-key-file", tmp_path / "key", "--non-interactive"
    )
    assert made.returncode == 0, made.stderr
    return data_dir


def agent(command: str, data_dir: Path, *options: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*NODE_AGENT, command, "--data-dir", str(data_dir), *map(str, options)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        **settings,
    )


@contextmanager
def started(data_dir: Path, *options: str, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """A running node, killed at the end if it still runs."""
    process = subprocess.Popen(
        [*NODE_AGENT, "run", "--data-dir", str(data_dir), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **settings,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def status(data_dir: Path) -> dict[str, Any]:
    shown = agent("status", data_dir, "--json")
    assert shown.returncode == 0, shown.stderr
    facts: dict[str, Any] = json.loads(shown.stdout)
    return facts


def types(data_dir: Path) -> list[str]:
    try:
        with Journal.open_read_only(data_dir / "journal.sqlite3") as journal:
            return [event.type for event in journal.pending_events(limit=-1)]
    except JournalMissing:
        return []


def says(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One clear line, hints, the exit code, and no traceback."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("hint: ")]
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert lines[-1].startswith("node-agent: error: ")
    assert [line for line in lines if line.startswith("node-agent: error: ")] == lines[-1:]
    assert "hint: " in done.stderr
    for word in words:
        assert word in done.stderr


def without_privileges() -> None:
    """Runs in the child: file modes hold for root too."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def unmeasured() -> dict[str, str]:
    """The environment of a process that is too short of disk space to measure its coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_without_a_server_trades_and_ends_in_order(node: Path, number: signal.Signals) -> None:
    with started(node, "--speed", "6000") as process:
        waits_for(lambda: types(node).count("order.filled") >= 2, "an entry and an exit")
        assert status(node)["running"] is True
        process.send_signal(number)
        assert process.wait(timeout=SIGTERM_SECONDS) == 0
    made = types(node)
    assert (made[0], made[-1]) == ("node.started", "node.stopping")
    after = status(node)
    assert after["running"] is False
    assert after["positions"] == {}
    assert after["events"] == {"last_seq": len(made), "acknowledged": 0, "pending": len(made)}
    assert after["mode"] == "paper"
    assert after["trading"] == "active"
    assert after["node_id"] is None
    assert after["limits_digest"]


def test_a_node_goes_on_where_it_was_killed(node: Path) -> None:
    with started(node, "--speed", "6000") as process:
        waits_for(lambda: "order.filled" in types(node), "an entry")
        process.kill()
        process.wait()
    before = status(node)
    with started(node, "--speed", "6000") as process:
        waits_for(lambda: types(node).count("node.started") == 2, "a second start")
        waits_for(lambda: status(node)["positions"] == {} or None, "the exit")
        process.terminate()
        process.wait()
    after = status(node)
    assert after["market_at"] >= before["market_at"]
    made = types(node)
    assert made.count("trade") == made.count("order.filled") == made.count("order.submitting") == 2


def test_status_is_for_eyes_too(node: Path) -> None:
    with started(node, "--speed", "6000") as process:
        waits_for(lambda: "trade" in types(node), "a trade")
        process.terminate()
        process.wait()
    shown = agent("status", node)
    assert shown.returncode == 0
    assert "not registered" in shown.stdout
    assert "BTC/USD" in shown.stdout


def test_a_second_process_on_the_same_directory_is_refused(node: Path) -> None:
    with started(node) as process:
        waits_for(lambda: types(node), "the start")
        says(agent("run", node), 1, "another node-agent", str(process.pid))
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=SIGTERM_SECONDS) == 0


def test_a_full_disk_ends_the_node_and_loses_nothing(node: Path) -> None:
    with started(node, "--speed", "6000", preexec_fn=with_room_for(150_000), env=unmeasured()) as process:
        says(ended(process), 1, "cannot be written", "make room")
    made = types(node)
    assert made[0] == "node.started"
    assert "node.stopping" not in made
    with started(node, "--speed", "6000") as process:
        waits_for(lambda: types(node).count("node.started") == 2, "a second start")
        process.terminate()
        assert process.wait() == 0


def test_a_disk_that_is_full_at_the_first_start_is_said(node: Path) -> None:
    says(
        agent("run", node, preexec_fn=with_room_for(0), env=unmeasured()), 1, "node.lock cannot be written", "make room"
    )


def test_a_node_whose_journal_is_gone_does_not_begin_anew(node: Path) -> None:
    (node / "journal.sqlite3").unlink()
    says(agent("run", node), 1, "there is no journal", "restore it from your backup")
    assert not (node / "journal.sqlite3").exists()


@pytest.mark.parametrize("name", ["config.toml", "policy.toml"])
def test_a_node_that_has_lost_a_file_is_not_told_to_make_it_again_in_the_same_place(node: Path, name: str) -> None:
    (node / name).unlink()
    says(agent("run", node), 2, f"there is no {node / name}", "restore it from your backup")


def test_output_that_cannot_be_written_is_one_line(node: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*NODE_AGENT, "status", "--data-dir", str(node), "--json"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "node-agent: error: cannot write the output: no space left on device\n",
    )


def test_a_directory_that_cannot_be_written_is_refused(node: Path) -> None:
    with started(node) as process:
        waits_for(lambda: types(node), "the start")
        process.terminate()
        process.wait()
    for each in node.iterdir():
        each.chmod(0o400)
    node.chmod(0o500)
    try:
        says(agent("run", node, preexec_fn=without_privileges), 1, "node.lock cannot be opened", "permission denied")
        (node / "node.lock").chmod(0o600)
        says(agent("run", node, preexec_fn=without_privileges), 1, "journal.sqlite3 cannot be written")
    finally:
        node.chmod(0o700)


def test_a_damaged_journal_is_not_traded_on(node: Path) -> None:
    (node / "journal.sqlite3").write_bytes(b"not a journal at all, whatever it is called" * 100)
    says(agent("run", node), 1, "damaged", "do not trade on it")
    says(agent("status", node), 1, "damaged")


def test_a_journal_of_a_newer_version_is_left_alone(node: Path) -> None:
    Journal.open(node / "journal.sqlite3").close()
    connection = sqlite3.connect(node / "journal.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    says(agent("run", node), 1, "version 99", "newer")


def test_a_directory_without_a_node_is_said(tmp_path: Path) -> None:
    says(agent("run", tmp_path / "nowhere"), 2, "config.toml", "init")
    says(agent("status", tmp_path / "nowhere"), 2, "no journal", "init")


@pytest.mark.parametrize("speed", ["nan", "inf", "0", "-1", "fast", "1e300"])
def test_a_speed_that_is_none_is_wrong_usage(node: Path, speed: str) -> None:
    says(agent("run", node, "--speed", speed), 2, "--speed")


def test_a_missing_directory_option_is_wrong_usage() -> None:
    done = subprocess.run(
        [*NODE_AGENT, "run"], check=False, capture_output=True, text=True, cwd=ROOT, env={"PATH": os.environ["PATH"]}
    )
    says(done, 2, "--data-dir")


def test_help_is_quick_to_load() -> None:
    program = """
import sys
before = set(sys.modules)  # what measures the tests may be loaded already
from node_agent.cli import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit:
    heavy = {"httpx", "structlog", "pydantic", "cryptography", "sqlite3", "rich"}
    print(sorted(heavy & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.endswith("[]\n")
    assert "register" in done.stdout


@pytest.mark.parametrize("server", ["away", "mute"])
def test_a_node_trades_and_ends_in_time_whatever_its_server_does(node: Path, server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        authority = f"127.0.0.1:{listener.getsockname()[1]}"
        if server == "away":
            listener.close()
        registered(node, authority)
        with started(node, "--speed", "6000") as process:
            waits_for(lambda: types(node).count("order.filled") >= 2, "an entry and an exit")
            process.terminate()
            assert process.wait(timeout=SIGTERM_SECONDS) == 0
    after = status(node)
    assert after["events"]["pending"] == len(types(node))
    assert after["node_id"] == NODE_ID


def test_a_node_whose_key_is_not_in_its_vault_does_not_run(node: Path) -> None:
    registered(node, "127.0.0.1:9", key=None)
    says(agent("run", node), 1, "no key", "register")


def registered(node: Path, authority: str, key: bytes | None = b"k" * 32) -> None:
    """As an enrolment with that server would leave the directory."""
    key_id = f"{NODE_ID}.1"
    if key is not None:
        Vault.open(node / "vault.json", VaultKey.from_file(node.parent / "key")).put(node_key_name(key_id), key)
    with Journal.open(node / "journal.sqlite3") as journal:
        journal.save_registration(
            Registration(
                server=f"http://{authority}",
                authority=authority,
                insecure_loopback=True,
                node_id=NODE_ID,
                key_id=key_id,
                salt_id="s1",
                salt="A" * 22,
                ticket="0." + "A" * 22,
                registered_at=START,
            )
        )
