"""`node-agent keys`: how a key comes into the vault, what is asked of it before, and how it is shown."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.exchange_keys import kept
from node_agent.vault import Vault, VaultKey
from tests.binance.process import KEY, SECRET, BinanceProcess
from tests.live import live_node
from tests.support import NodeDir, NodeProcess, node_agent, until

ORDERS = ("/api/v3/order", "/api/v3/openOrders", "/api/v3/allOrders", "/api/v3/myTrades")


@pytest.fixture(scope="module")
def process() -> Iterator[BinanceProcess]:
    with BinanceProcess() as started:
        yield started


@pytest.fixture
def exchange(process: BinanceProcess) -> BinanceProcess:
    process.reset()
    process.restrictions(enableWithdrawals=False, enableInternalTransfer=False, permitsUniversalTransfer=False)
    return process


@pytest.fixture
def node(tmp_path: Path, exchange: BinanceProcess) -> NodeDir:
    """A live node whose vault has no key yet."""
    node = live_node(tmp_path, exchange)
    assert keys(node, "remove", "binance").returncode == 0
    return node


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"key": KEY, "secret": SECRET}))
    return path


def keys(node: NodeDir, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return node_agent("keys", *words, "--data-dir", node.path, **environment)


def vault(node: NodeDir) -> Vault:
    return Vault.open(node.path / "vault.json", VaultKey.from_file(node.key_file))


def none_kept(node: NodeDir) -> bool:
    return kept(vault(node), "binance") is None


def test_a_key_from_a_file_is_kept_and_shown_by_a_digest_alone(node: NodeDir, file: Path) -> None:
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 0, done.stderr
    listed = keys(node, "list")
    told = json.loads(keys(node, "list", "--json").stdout)
    assert told[0]["exchange"] == "binance"
    assert told[0]["digest"] in listed.stdout
    assert told[0]["digest"] in done.stdout
    for text in (done.stdout, done.stderr, listed.stdout, (node.path / "vault.json").read_text()):
        assert KEY not in text
        assert SECRET not in text


def test_a_key_comes_from_the_environment_or_from_files_that_it_names(node: NodeDir, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    done = keys(
        node,
        "add",
        "binance",
        "--environment",
        NODE_EXCHANGE_KEY=KEY,
        NODE_EXCHANGE_SECRET_FILE=str(tmp_path / "secret"),
    )
    assert done.returncode == 0, done.stderr
    key = kept(vault(node), "binance")
    assert key is not None
    assert {name: part.get_secret_value() for name, part in key.parts.items()} == {"key": KEY, "secret": SECRET}


def test_a_prompt_takes_the_key_and_does_not_show_the_secret(node: NodeDir) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "node_agent", "keys", "add", "binance", "--data-dir", str(node.path)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as running:
        os.close(theirs)
        shown = _until(ours, "API key")
        os.write(ours, f"{KEY}\n".encode())
        shown += _until(ours, "secret key")
        os.write(ours, f"{SECRET}\n".encode())
        shown += _until(ours, "is in the vault")
        assert running.wait(30) == 0
    os.close(ours)
    assert SECRET not in shown
    assert not none_kept(node)


def _until(terminal: int, words: str) -> str:
    shown = ""
    while words not in shown:
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 4096).decode()
    return shown


def test_no_argument_takes_a_key(node: NodeDir) -> None:
    done = keys(node, "add", "binance", KEY)
    assert done.returncode == 2
    assert none_kept(node)
    assert "--key" not in keys(node, "add", "--help").stdout


@pytest.mark.parametrize("permission", ["enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer"])
def test_a_key_that_can_take_money_out_is_refused_before_anything_about_orders_is_asked(
    node: NodeDir, exchange: BinanceProcess, file: Path, permission: str
) -> None:
    exchange.restrictions(**{permission: True})
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 1
    assert permission in done.stderr
    assert "binance.com, API Management" in done.stderr
    assert none_kept(node)
    assert not [name for name in exchange.books()["requests"] if name.split()[1] in ORDERS]


def test_a_permission_that_nobody_knows_refuses_the_key(node: NodeDir, exchange: BinanceProcess, file: Path) -> None:
    exchange.restrictions(enableTeleportation=False)
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 1
    assert "enableTeleportation" in done.stderr
    assert none_kept(node)


def test_what_cannot_be_asked_is_not_taken(node: NodeDir, exchange: BinanceProcess, file: Path) -> None:
    exchange.faults({"what": "5xx_before", "path": "/sapi/v1/account/apiRestrictions", "times": 9})
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 4
    assert "does not say what this key may do" in done.stderr
    assert none_kept(node)


def test_a_key_that_the_exchange_does_not_know_is_not_taken(node: NodeDir, file: Path) -> None:
    file.write_text(json.dumps({"key": KEY, "secret": "x" * 64}))
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 1
    assert "does not take this key" in done.stderr
    assert none_kept(node)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "is not JSON"),
        ('["key"]', "is not JSON with the parts"),
        ('{"key": 1}', "is not JSON with the parts"),
        ('{"key": "short", "secret": "x"}', "64 letters and digits"),
        (json.dumps({"key": KEY}), "its secret key is missing"),
        (json.dumps({"key": KEY, "secret": SECRET + "!"}), "64 letters and digits"),
    ],
)
def test_what_is_no_key_is_told_without_repeating_it(node: NodeDir, file: Path, content: str, said: str) -> None:
    file.write_text(content)
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 2
    assert said in done.stderr
    assert KEY not in done.stderr
    assert SECRET not in done.stderr


def test_where_there_is_nobody_to_ask_the_ways_to_give_a_key_are_named(node: NodeDir) -> None:
    done = keys(node, "add", "binance")
    assert done.returncode == 2
    assert "--file or --environment" in done.stderr


@pytest.mark.parametrize("exchange_name", ["cryptocom", "robinhood"])
def test_where_the_exchange_cannot_be_asked_its_owner_has_to_say_so(node: NodeDir, exchange_name: str) -> None:
    done = keys(node, "add", exchange_name)
    assert done.returncode == 2
    assert "--attest" in done.stderr


def test_a_key_that_is_custody_is_called_that_and_taken_only_by_that_word(node: NodeDir) -> None:
    done = keys(node, "add", "polymarket")
    assert done.returncode == 2
    assert "can take all that is in the wallet" in done.stderr
    assert "--i-hold-the-wallet" in done.stderr


def test_the_owners_word_is_kept_with_name_and_time(node: NodeDir, file: Path) -> None:
    file.write_text(json.dumps({"key": "k" * 22, "secret": "cxakp_" + "s" * 22}))
    done = keys(node, "add", "cryptocom", "--file", str(file), "--attest", "Ada Lovelace")
    assert done.returncode == 0, done.stderr
    assert "attested by Ada Lovelace at 2" in keys(node, "list").stdout


def test_a_key_that_is_removed_is_gone(node: NodeDir, file: Path) -> None:
    assert keys(node, "add", "binance", "--file", str(file)).returncode == 0
    assert keys(node, "remove", "binance").returncode == 0
    assert none_kept(node)
    assert keys(node, "remove", "binance").returncode == 1
    assert "no key is in the vault" in keys(node, "list").stdout


def test_a_kept_key_is_tried_without_an_order(node: NodeDir, exchange: BinanceProcess, file: Path) -> None:
    assert keys(node, "test", "binance").returncode == 1
    assert keys(node, "add", "binance", "--file", str(file)).returncode == 0
    done = keys(node, "test", "binance")
    assert done.returncode == 0, done.stderr
    assert "USDT 100000" in done.stdout
    assert not [name for name in exchange.books()["requests"] if name.split()[1] in ORDERS]
    exchange.restrictions(enableWithdrawals=True)
    assert keys(node, "test", "binance").returncode == 1


def test_the_vault_is_not_changed_under_a_running_node(node: NodeDir, file: Path) -> None:
    assert keys(node, "add", "binance", "--file", str(file)).returncode == 0
    with NodeProcess(node, "--live") as running:
        until(lambda: "node.started" in running.log or None, "a start")
        for words in (("add", "binance", "--file", str(file)), ("remove", "binance")):
            done = keys(node, *words)
            assert done.returncode == 1
            assert "is running" in done.stderr
        assert keys(node, "list").returncode == 0


def test_a_start_refuses_a_key_that_can_take_money_out_before_anything_about_orders_is_asked(
    node: NodeDir, exchange: BinanceProcess, file: Path
) -> None:
    assert keys(node, "add", "binance", "--file", str(file)).returncode == 0
    exchange.restrictions(enableWithdrawals=True)
    done = node_agent("run", "--live", "--data-dir", node.path)
    assert done.returncode == 1
    assert "enableWithdrawals" in done.stderr
    assert not [name for name in exchange.books()["requests"] if name.split()[1] in ORDERS]


def test_status_shows_the_key_and_how_it_is_known_to_be_harmless(node: NodeDir, file: Path) -> None:
    assert keys(node, "add", "binance", "--file", str(file)).returncode == 0
    with NodeProcess(node, "--live") as running:
        until(lambda: "node.started" in running.log or None, "a start")
    told = node_agent("status", "--data-dir", node.path).stdout
    assert "the exchange said at 2" in told
    assert "restrict the key to the address" in told
