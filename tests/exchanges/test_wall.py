"""The wall: of all endpoints that ccxt knows, those on a short list can be reached, and none that takes money out.

`wall.json` says once more what may come out, by a second hand: a line that is added to an allowlist alone fails here.
Print the counts: python -m tests.exchanges.wall
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from node_agent.exchanges import allowlist
from node_agent.exchanges.catalogue import open_exchange
from node_agent.exchanges.guard import Guard
from tests.exchanges.cases import case_of
from tests.exchanges.wall import MOVES, OF_CCXT, ccxt_client, dangerous, open_ways, pushed

EXPECTED: dict[str, list[str]] = json.loads((Path(__file__).parent / "wall.json").read_text())

TERMS: dict[str, Any] = json.loads((Path(__file__).parent / "terms.json").read_text())

DOORS = {"request", "fetch2", "fetch", "implicit", "unified"}


# Some of ccxt's streams leave a coroutine behind when they are refused.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.asyncio
@pytest.mark.parametrize("name", OF_CCXT)
async def test_what_is_on_the_list_comes_out_by_every_door_and_nothing_else_by_any(name: str) -> None:
    found, streams = await pushed(name)
    assert sorted(open_ways(name, found)) == EXPECTED[name]
    assert set(found.pushed) == set(found.out) == DOORS
    assert found.pushed["fetch2"] == found.ways > 30
    assert [way for way in open_ways(name, found) if dangerous(way)] == []
    has = ccxt_client(name).has
    moves = {each for each in MOVES if has.get(re.sub("_(.)", lambda found: found[1].upper(), each)) is True}
    assert moves <= found.asked["unified"]
    assert all(len(found.asked[door]) == found.ways for door in ("request", "fetch2", "fetch"))
    assert streams.pushed["WebSocket"] > 3
    assert not streams.out


@pytest.mark.asyncio
async def test_a_line_planted_in_an_allowlist_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = ("timestamp", "recvWindow", "signature")
    planted = {
        "binance": ("https://api.binance.com/sapi/v1/capital/withdraw/apply", "sapi capital/withdraw/apply", signed),
        "kraken": ("https://api.kraken.com/0/private/Withdraw", "private Withdraw", ("nonce",)),
        "coinbase": (
            "https://api.coinbase.com/v2/accounts/{id}/transactions",
            "v2.private accounts/{account_id}/transactions",
            (),
        ),
    }
    read = allowlist.read
    for name, (url, call, body) in planted.items():
        line = allowlist.Endpoint(why="planted", method="POST", url=url, call=call, body=body, only={}, form={})

        def with_it(exchange: str, line: allowlist.Endpoint = line) -> allowlist.Allowlist:
            whole = read(exchange)
            return whole.model_copy(update={"allowed": (*whole.allowed, line)})

        monkeypatch.setattr(allowlist, "read", with_it)
        found, _ = await pushed(name)
        ways = open_ways(name, found)
        assert sorted(ways) != EXPECTED[name], name
        assert [way for way in ways if dangerous(way)] == [f"POST {url}"]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_second_hand_and_the_allowlist_say_the_same(name: str) -> None:
    listed = sorted({f"{each.method} {each.url}" for each in allowlist.read(name).allowed})
    assert listed == EXPECTED[name]
    assert case_of(name).name == name


def test_every_endpoint_says_why_and_only_few_act() -> None:
    for name in EXPECTED:
        allowed = allowlist.read(name).allowed
        acting: list[Any] = [each for each in allowed if each.acts]
        assert 2 <= len(acting) <= 3, name
        assert all(each.why for each in allowed)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.asyncio
@pytest.mark.parametrize("name", OF_CCXT)
async def test_the_guard_of_names_is_enough_without_the_guard_of_addresses(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "request", lambda *_: None)
    found, _ = await pushed(name)
    listed = {f"{each.method} {each.call}" for each in allowlist.read(name).allowed}
    assert found.through["fetch2"] <= listed
    assert found.through["request"] <= listed


def terms(listed: allowlist.Allowlist) -> dict[str, Any]:
    """What may go along with each request of a list, beside why: what stands empty is left out."""
    each = [one.model_dump(mode="json", exclude={"why", "call"}, exclude_defaults=True) for one in listed.allowed]
    named = [{name: value for name, value in one.items() if value} for one in each]
    addresses = [f"{one.pop('method')} {one.pop('url')}" for one in named]
    assert len(set(addresses)) == len(addresses), "one address twice: the guard goes by the first"
    return {"headers": list(listed.headers), "body": listed.body, **dict(zip(addresses, named, strict=True))}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_second_hand_says_what_may_go_along_too(name: str) -> None:
    """A parameter, a value or a header more, or one that may be missing, opens as much as a line."""
    assert terms(allowlist.read(name)) == TERMS[name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_second_line_for_an_address_is_found(name: str, where: str) -> None:
    whole = allowlist.read(name)
    order = next(each for each in whole.allowed if each.acts and each.method == "POST")
    wide = order.model_copy(update={"body": (*order.body, "leverage"), "only": {}, "must": ()})
    allowed = (wide, *whole.allowed) if where == "first" else (*whole.allowed, wide)
    with pytest.raises(AssertionError):
        terms(whole.model_copy(update={"allowed": allowed}))


@pytest.mark.asyncio
@pytest.mark.parametrize("name", OF_CCXT)
async def test_what_acts_on_the_list_is_what_is_never_sent_twice(name: str) -> None:
    exchange: Any = open_exchange(name, case_of(name).opening("http://127.0.0.1:9"))
    traits = exchange._traits
    await exchange.close()
    for each in allowlist.read(name).allowed:
        path = (each.call or "").rpartition(" ")[2]
        assert traits.acting(each.method, path) is each.acts, each.url
