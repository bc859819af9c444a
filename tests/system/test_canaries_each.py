"""What is secret in each exchange's key is in no byte that goes to it, is said or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.exchanges.catalogue import EXCHANGES, profile_of
from tests import tap
from tests.exchanges.cases import case_of
from tests.live import add_key, node_of
from tests.support import NodeDir, NodeProcess, node_agent, until
from tests.system.test_canaries import found_in, written


@pytest.mark.parametrize("name", EXCHANGES)
def test_no_secret_of_a_key_leaves_or_is_written(name: str, tmp_path: Path) -> None:
    case, said = case_of(name), ""
    with case.start() as exchange, tap.Tap() as between:
        exchange.price(case.price)
        between.port = int(exchange.url.rpartition(":")[2])
        node = node_of(tmp_path, case, between.url)
        add_key(node, case)
        with NodeProcess(node, "--live") as running:
            until(lambda: node.status()["prices"].get(case.symbol), "a price")
            order = ("--symbol", case.symbol, "--side", "buy", "--type", "limit", "--price", case.below)
            buy = ("orders", "place", *order, "--amount", case.amount)
            said += _said(node, *buy)
            exchange.faults(chance={"garbage": 0.3, "5xx_after": 0.3})
            said += _said(node, *buy)
            exchange.faults()
            said += _said(node, "status") + _said(node, "keys", "list")
            said += running.log
    hidden = {each.name: case.key[each.name] for each in profile_of(name).credentials if each.hidden}
    assert len(between.kept) > 1000
    for part, secret in hidden.items():
        lines = [line.encode() for line in secret.splitlines() if len(line) > 11 and "-----" not in line]
        assert lines
        if part != "passphrase":  # that is a header of each request
            assert found_in(between.sent, *lines) == []
        assert found_in(said.encode(), *lines) == []
        assert found_in(written(node.path, "vault.json"), *lines) == []


def _said(node: NodeDir, *words: str) -> str:
    done = node_agent(*words, "--data-dir", node.path)
    return done.stdout + done.stderr
