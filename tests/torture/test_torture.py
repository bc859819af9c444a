"""A hundred kills of real nodes, and planted faults that the comparison must find. `make torture` does thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.run import Plan, both_sides, play
from tests.torture.world import Death, Outcome, World

KILLS = 25


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_a_node_that_is_killed_at_any_moment_trades_every_intent_once(tmp_path: Path, seed: int) -> None:
    told: list[Outcome] = []
    play(Plan(tmp_path, seed * 1000, KILLS), told.append)
    assert sum(outcome.kills for outcome in told) == KILLS
    assert [outcome.wrong for outcome in told] == [[] for _ in told]
    assert sum(outcome.orders for outcome in told) >= 3, "hardly anything was traded"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("send-before-fsync", ("times at the exchange", "not in the journal")),
        ("id-not-derived", ("not the id of its decision",)),
    ],
)
def test_a_broken_promise_is_found(tmp_path: Path, fault: str, found: tuple[str, ...]) -> None:
    death = Death("POST /api/v3/order after", 1, within=15)
    with both_sides(tmp_path, seed=7) as (exchange, server):
        outcome = World(tmp_path / "world", 7, exchange, server, fault).play_at(death, death, death)
    assert any(words in each for each in outcome.wrong for words in found), outcome.wrong
