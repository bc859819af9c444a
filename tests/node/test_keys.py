"""`node-agent keys`: how a key comes into the vault, what is asked of it before, and how it is shown."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from node_agent.exchange_keys import kept
from node_agent.vault import Vault, VaultKey
from tests.binance.process import KEY, SECRET, BinanceProcess
from tests.coinbase.case import CASE as COINBASE
from tests.live import live_node, node_of
from tests.polymarket.case import CASE as POLYMARKET
from tests.support import NodeDir, NodeProcess, node_agent, until
from tests.venue.process import VenueProcess

ORDERS = ("/api/v3/order", "/api/v3/openOrders", "/api/v3/allOrders", "/api/v3/myTrades")


@pytest.fixture(scope="module")
def process() -> Iterator[BinanceProcess]:
    with BinanceProcess() as started:
        yield started


@pytest.fixture
def exchange(process: BinanceProcess) -> BinanceProcess:
    process.reset()
    process.permissions(enableWithdrawals=False, enableInternalTransfer=False, permitsUniversalTransfer=False)
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


def test_a_pasted_block_is_taken_whole_and_nothing_of_what_was_pasted_goes_to_the_shell(tmp_path: Path) -> None:
    with VenueProcess.of("coinbase", COINBASE.key, *COINBASE.options) as coinbase:
        node = node_of(tmp_path, COINBASE, coinbase.url)
        command = f"{sys.executable} -m node_agent keys add coinbase --data-dir {node.path}"
        for secret, word in ((COINBASE.key["secret"], "is in the vault"), ("no\nkey\nof\ntheirs\n", "is none")):
            ours, theirs = pty.openpty()
            shell = ["sh", "-c", f"{command}; echo left:; timeout 2 cat"]
            with subprocess.Popen(shell, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as running:
                os.close(theirs)
                _until(ours, "API key name")
                os.write(ours, f"{COINBASE.key['key']}\n".encode())
                _until(ours, "private key")
                for line in secret.splitlines(keepends=True):
                    time.sleep(0.05)
                    os.write(ours, line.encode())
                assert word in _until(ours, "left:")
                left = b""
                with suppress(OSError):  # the end of the shell
                    while select.select([ours], [], [], 3)[0]:
                        left += os.read(ours, 4096)
                running.wait(30)
            os.close(ours)
            assert not any(line in left.decode() for line in secret.split()), left


def _until(terminal: int, words: str) -> str:
    shown = ""
    while words not in shown:
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 4096).decode()
    return shown


def test_no_argument_takes_a_key(node: NodeDir) -> None:
    for words in (("binance", KEY), (KEY,), (KEY, "binance")):
        done = keys(node, "add", *words)
        assert done.returncode == 2
        assert KEY not in done.stdout + done.stderr
    assert none_kept(node)
    assert "--key" not in keys(node, "add", "--help").stdout


@pytest.mark.parametrize("permission", ["enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer"])
def test_a_key_that_can_take_money_out_is_refused_before_anything_about_orders_is_asked(
    node: NodeDir, exchange: BinanceProcess, file: Path, permission: str
) -> None:
    exchange.permissions(**{permission: True})
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 1
    assert permission in done.stderr
    assert "binance.com, API Management" in done.stderr
    assert none_kept(node)
    assert not [name for name in exchange.books()["requests"] if name.split()[1] in ORDERS]


def test_a_permission_that_nobody_knows_refuses_the_key(node: NodeDir, exchange: BinanceProcess, file: Path) -> None:
    exchange.permissions(enableTeleportation=False)
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
        ("[" * 60000, "is not JSON"),
        ('{"a":' * 10000, "is not JSON"),
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


def test_a_file_may_have_more_in_it_and_a_mark_before_it(node: NodeDir, file: Path) -> None:
    file.write_text("\ufeff" + json.dumps({"key": KEY, "secret": SECRET, "version": 1, "scopes": ["trade"]}))
    done = keys(node, "add", "binance", "--file", str(file))
    assert done.returncode == 0, done.stderr
    file.chmod(0o644)
    assert "others on this machine may read it" in keys(node, "add", "binance", "--file", str(file)).stdout


def test_a_secret_that_is_given_for_a_files_name_is_not_shown(node: NodeDir) -> None:
    done = keys(node, "add", "binance", "--environment", NODE_EXCHANGE_KEY=KEY, NODE_EXCHANGE_SECRET_FILE=SECRET)
    assert done.returncode == 2
    assert "NODE_EXCHANGE_SECRET_FILE names no file" in done.stderr
    assert SECRET not in done.stderr


def test_a_files_name_of_a_key_goes_before_a_later_one(tmp_path: Path) -> None:
    told = {**COINBASE.key}
    with VenueProcess.of("coinbase", COINBASE.key, *COINBASE.options) as coinbase:
        node = node_of(tmp_path, COINBASE, coinbase.url)
        path = tmp_path / "cdp.json"
        path.write_text(json.dumps({"id": "x", "name": told["key"], "privateKey": told["secret"]}))
        done = keys(node, "add", "coinbase", "--file", str(path))
        assert done.returncode == 0, done.stderr


def test_a_key_that_looks_right_and_signs_nothing_is_told_before_anybody_is_asked(node: NodeDir, file: Path) -> None:
    whole = COINBASE.key["secret"]
    for exchange_name, parts, words in (
        ("coinbase", {**COINBASE.key, "secret": whole.replace(whole[60:80], "A" * 20)}, ()),
        ("coinbase", {**COINBASE.key, "secret": whole[:120] + "\n-----END EC PRIVATE KEY-----\n"}, ()),
        ("polymarket", {"key": "0" * 64, "wallet": "0x" + "1" * 40, "kind": "eoa"}, ("--i-hold-the-wallet",)),
    ):
        file.write_text(json.dumps(parts))
        done = keys(node, "add", exchange_name, "--file", str(file), *words)
        assert done.returncode == 2, done.stderr
        assert "nothing can be signed with it" in done.stderr


def test_a_wallet_that_is_not_the_keys_own_address_is_no_eoa(node: NodeDir, file: Path) -> None:
    file.write_text(json.dumps({**POLYMARKET.key, "kind": "eoa"}))
    done = keys(node, "add", "polymarket", "--file", str(file), "--i-hold-the-wallet")
    assert done.returncode == 2
    assert "the private key's own address, 0xf39fd6e5" in done.stderr
    assert POLYMARKET.key["key"] not in done.stderr
    assert "no key is in the vault" in keys(node, "list").stdout


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


@pytest.mark.parametrize(
    "name",
    [
        "\u200b\u200d",
        "Ada\x1b[31m",
        "Ada\nkraken  000000000000; Kraken is asked",
        "Ada \u202eecalevoL",
        "A" * 101,
        "-",
        "--x",
    ],
)
def test_a_word_under_which_no_name_can_be_shown_is_none(node: NodeDir, file: Path, name: str) -> None:
    file.write_text(json.dumps({"key": "k" * 22, "secret": "cxakp_" + "s" * 22}))
    done = keys(node, "add", "cryptocom", "--file", str(file), f"--attest={name}")
    assert done.returncode == 2
    assert "takes your name" in done.stderr


@pytest.mark.parametrize(
    ("exchange_name", "word"),
    [("binance", "--attest=Ada"), ("binance", "--i-hold-the-wallet"), ("polymarket", "--attest=Ada")],
)
def test_a_word_that_changes_nothing_is_not_taken_in_silence(node: NodeDir, exchange_name: str, word: str) -> None:
    done = keys(node, "add", exchange_name, word)
    assert done.returncode == 2
    assert word.partition("=")[0] in done.stderr
    assert "leave" in done.stderr


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
    exchange.permissions(enableWithdrawals=True)
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
    exchange.permissions(enableWithdrawals=True)
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


def test_status_says_of_the_key_what_was_last_said_of_it(node: NodeDir, exchange: BinanceProcess, file: Path) -> None:
    def shown() -> str:
        lines = node_agent("status", "--data-dir", node.path).stdout.splitlines()
        return next((line for line in lines if line.startswith("key ")), "")

    assert keys(node, "add", "binance", "--file", str(file)).returncode == 0
    assert "that it cannot withdraw" in shown()  # before the first start, too
    exchange.permissions(enableWithdrawals=True)
    assert node_agent("run", "--live", "--data-dir", node.path).returncode == 1
    assert "cannot withdraw" not in shown()
    assert "enableWithdrawals" in shown()
    assert keys(node, "remove", "binance").returncode == 0
    assert shown() == ""


def test_whoever_refuses_a_key_or_takes_it_out_says_what_is_left_open(
    node: NodeDir, exchange: BinanceProcess, file: Path
) -> None:
    assert keys(node, "add", "binance", "--file", str(file)).returncode == 0
    with NodeProcess(node, "--live") as running:
        until(lambda: node.status()["prices"] or None, "a price")
        rests = ("--symbol", "BTC/USDT", "--side", "buy", "--type", "limit", "--amount", "0.01", "--price", "30000")
        done = node_agent("orders", "place", *rests, "--data-dir", node.path)
        assert done.returncode == 0, done.stderr
        running.stop()
    exchange.permissions(enableWithdrawals=True)
    done = node_agent("run", "--live", "--data-dir", node.path)
    assert "still open at the exchange: 1 order" in done.stderr
    assert "1 order" in keys(node, "remove", "binance").stdout
