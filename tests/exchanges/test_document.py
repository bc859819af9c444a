"""docs/exchanges.md is true to the data: its tables say of each exchange what profiles, traits and lists say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from node_agent.exchanges import allowlist
from node_agent.exchanges.catalogue import EXCHANGES, open_exchange, profile_of
from node_agent.exchanges.profile import KeyCheck
from tests.exchanges.cases import case_of

TEXT = (Path(__file__).parent.parent.parent / "docs/exchanges.md").read_text("utf-8")
CHECKS = {
    KeyCheck.ASKED: "asking it",
    KeyCheck.ATTESTED: "your word, by name",
    KeyCheck.CUSTODY: "nothing: it **is** the wallet",
}


def rows(first: str) -> dict[str, list[str]]:
    """Rows of the table whose head begins so, by their first cell."""
    table = TEXT[TEXT.index(f"| {first} |") :].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.parametrize("name", EXCHANGES)
def test_how_a_key_is_known_to_be_harmless_is_told_as_it_is(name: str) -> None:
    profile = profile_of(name)
    row = rows("exchange | id")[profile.title]
    assert row[0] == f"`{name}`"
    assert row[2] == CHECKS[profile.key_check]
    assert f"**{profile.title}" in TEXT


@pytest.mark.asyncio
@pytest.mark.parametrize("name", EXCHANGES)
async def test_how_an_order_is_known_again_is_told_as_it_is(name: str) -> None:
    exchange: Any = open_exchange(name, case_of(name).opening("http://127.0.0.1:9"))
    conduct = exchange.conduct
    await exchange.close()
    goes_as, _, again, after, takes = rows("exchange | our id goes as")[name]
    assert ("UUID" in goes_as) is (conduct.id_form == "uuid")
    assert (again == "a new order") is not conduct.ids_unique_for_ever
    assert after == f"{conduct.settles_within.total_seconds():g} s"
    types, _, lifetimes = takes.partition("; ")
    assert set(types.split(", ")) == set(conduct.order_types)
    assert set(lifetimes.split(", ")) == set(conduct.times_in_force)
    traits = getattr(exchange, "_traits", None)
    if traits is not None and traits.new_id:
        assert f"`{traits.new_id}`" in goes_as


def test_how_many_endpoints_are_open_is_told_as_it_is() -> None:
    told = {title: int(row[2]) for title, row in rows("| endpoints").items()}
    for name in EXCHANGES:
        title = profile_of(name).title
        if title in told:
            assert told[title] == len(allowlist.read(name).allowed)
    assert len(told) == len(EXCHANGES) - 1


def test_the_measure_for_one_more_is_below_a_hundred_lines() -> None:
    source = (Path(__file__).parent.parent.parent / "node_agent/exchanges/okx.py").read_text("utf-8")
    lines = re.search(r"(?ms)^class .*?(?=^\S)", source[source.index("\nclass ") + 1 :])
    assert lines is not None
    length = len(lines.group().rstrip().splitlines())
    assert f"a class of {length} lines" in TEXT
    assert length < 100
