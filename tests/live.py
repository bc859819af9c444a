"""A node that trades at the loopback exchange: made as a paper node, then given its exchange and its key."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from node_agent.exchange_keys import ExchangeKey, keep
from node_agent.vault import Vault, VaultKey
from tests.binance.process import BinanceProcess
from tests.support import NodeDir

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
