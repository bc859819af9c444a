"""A key that can take money out is refused on each exchange that tells, before anything about orders is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from node_agent.exchanges.catalogue import EXCHANGES, profile_of
from node_agent.exchanges.profile import KeyCheck
from tests.exchanges.cases import case_of
from tests.live import add_key, node_of
from tests.support import node_agent, told

ASKED = [name for name in EXCHANGES if profile_of(name).key_check is KeyCheck.ASKED]
ABOUT_ORDERS = re.compile(r"order|trade|fill|Trades", re.IGNORECASE)


@pytest.mark.parametrize("name", ASKED)
def test_it_is_refused_with_its_permissions_name_and_the_place_to_switch_it_off(name: str, tmp_path: Path) -> None:
    case, profile = case_of(name), profile_of(name)
    with case.start() as exchange:
        node = node_of(tmp_path, case, exchange.url)
        add_key(node, case)
        assert case.too_powerful is not None
        exchange.permissions(**case.too_powerful)
        path = tmp_path / "key.json"
        path.write_text(json.dumps(dict(case.key)))
        for words in (("keys", "add", name, "--file", path), ("keys", "test", name), ("run", "--live")):
            done = node_agent(*words, "--data-dir", node.path)
            said = told(done, 1)
            assert "could take money out" in said
            assert any(each in said for each in profile.rules.forbidden)  # type: ignore[union-attr]
            assert profile.switch_off in done.stderr
        assert not [each for each in exchange.books()["requests"] if ABOUT_ORDERS.search(each.partition(" ")[2])]
        assert exchange.placed() == []


def test_the_three_that_are_promised_are_among_those_that_are_asked() -> None:
    assert {"binance", "coinbase", "kraken"} <= set(ASKED)
