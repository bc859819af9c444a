"""Worlds one after the other, beside an exchange and a server that stay up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.binance.process import BinanceProcess
from tests.control_plane.support import ServerProcess
from tests.torture.world import Outcome, World

KILLS_PER_WORLD: Final = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What one job has to do."""

    folder: Path
    first_seed: int
    kills: int
    fault: str = "none"


def divided(folder: Path, runs: int, seed: int, jobs: int, fault: str) -> list[Plan]:
    """The kills shared out among jobs, so that every world's seed is another."""
    shares = [runs // jobs + (1 if job < runs % jobs else 0) for job in range(jobs)]
    return [
        Plan(folder / f"job-{job}", seed * 1_000_000 + job * 10_000, share, fault)
        for job, share in enumerate(shares)
        if share
    ]


def play(plan: Plan, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Play a job's worlds."""
    outcomes = []
    with both_sides(plan.folder, plan.first_seed) as (exchange, server):
        for number, done in enumerate(range(0, plan.kills, KILLS_PER_WORLD)):
            world = World(plan.folder / str(number), plan.first_seed + number, exchange, server, plan.fault)
            outcome = world.play(min(KILLS_PER_WORLD, plan.kills - done))
            outcomes.append(outcome)
            tell(outcome)
    return outcomes


@contextmanager
def both_sides(folder: Path, seed: int) -> Iterator[tuple[BinanceProcess, ServerProcess]]:
    """An exchange and a server for worlds in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    server = ServerProcess(folder / "server", ("--max-nodes-per-machine", "1000")).start()
    try:
        with BinanceProcess("--interval", "1s", "--seed", str(seed)) as exchange:
            yield exchange, server
    finally:
        server.end()
