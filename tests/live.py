"""Nodes that trade at an exchange on loopback, and have its key."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from node_agent.assembly import INTERVALS
from node_agent.exchange_keys import ExchangeKey, keep
from node_agent.exchanges.catalogue import profile_of
from node_agent.exchanges.profile import KeyCheck
from node_agent.vault import Vault, VaultKey
from tests.binance.process import BinanceProcess
from tests.exchanges.cases import Case
from tests.support import NodeDir, node_agent

SYMBOL = "BTC/USDT"


def live_node(parent: Path, exchange: BinanceProcess, *options: str) -> NodeDir:
    """A node of `exchange`, with wide limits and requests that are good for a second."""
    node = NodeDir.made(parent, "--symbol", SYMBOL, *options)
    path = node.path / "config.toml"
    text = path.read_text().replace('mode = "paper"', 'mode = "live"').replace('name = "paper"', 'name = "binance"')
    at = f'interval = "1s"\nrecv_window = 1\nurl = "{exchange.url}"\n'
    text = text.replace(f'symbol = "{SYMBOL}"\n', f'symbol = "{SYMBOL}"\n{at}')
    path.write_text(re.sub(r"(?ms)^\[paper\].*?(?=^\[strategy\])", "", text))
    change_policy(
        node, ('exchanges = ["paper"]', 'exchanges = ["binance"]'), ('"5000"', '"50000"'), ('"500"', '"50000"')
    )
    vault = Vault.open(node.path / "vault.json", VaultKey.from_file(node.key_file))
    parts = {"key": SecretStr(exchange.key), "secret": SecretStr(exchange.secret)}
    keep(vault, ExchangeKey("binance", parts, datetime.now(UTC)))
    return node


def change_policy(node: NodeDir, *changes: tuple[str, str]) -> None:
    """The owner edits `policy.toml`, and saves it as editors do: whole, in place of the old one."""
    path = node.path / "policy.toml"
    text = path.read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def node_of(parent: Path, case: Case, url: str, *options: str) -> NodeDir:
    """A node of one of the conformance suite's exchanges, made by the words that an owner types, without a key."""
    node = NodeDir(parent / "node", parent / "vault.key")
    words = ("--exchange", case.name, "--symbol", case.symbol, "--strategy", "none", "--non-interactive", *options)
    done = node_agent("init", "--data-dir", node.path, "--vault-key-file", node.key_file, *words)
    assert done.returncode == 0, done.stderr
    path = node.path / "config.toml"
    interval = next(name for name, length in INTERVALS.items() if length == case.interval)
    text = path.read_text().replace('interval = "1m"', f'interval = "{interval}"\nurl = "{url}"')
    path.write_text(text)
    change_policy(node, ('"1000"', '"50000"'), ('"5000"', '"50000"'), ('"500"', '"50000"'))
    return node


def add_key(node: NodeDir, case: Case) -> None:
    """Put the exchange's key in, as its owner does."""
    path = node.path.parent / "key.json"
    path.write_text(json.dumps(dict(case.key)))
    said = {
        KeyCheck.ASKED: (),
        KeyCheck.ATTESTED: ("--attest", "Ada Lovelace"),
        KeyCheck.CUSTODY: ("--i-hold-the-wallet",),
    }
    words = said[profile_of(case.name).key_check]
    done = node_agent("keys", "add", case.name, "--data-dir", node.path, "--file", path, *words)
    path.unlink()
    assert done.returncode == 0, done.stderr
