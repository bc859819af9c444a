"""`python -m tests.torture`: kills nodes as often as asked, says how far it is, and whether all books agree."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.torture.mortal import FAULTS
from tests.torture.run import divided, play
from tests.torture.world import Outcome


def main() -> int:
    """Exit code 0 when every book agrees, 1 when one does not."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="how many lives are ended by SIGKILL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="worlds at a time")
    parser.add_argument("--fault", choices=FAULTS, default="none", help="a promise to break on purpose")
    options = parser.parse_args()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        plans = divided(Path(folder), options.runs, options.seed, options.jobs, options.fault)
        work = [
            pool.submit(play, plan, lambda outcome: _told(outcomes, outcome, options.runs, began)) for plan in plans
        ]
        for done in as_completed(work):
            done.result()
    return _summed_up(outcomes, time.monotonic() - began)


def _told(outcomes: list[Outcome], outcome: Outcome, runs: int, began: float) -> None:
    outcomes.append(outcome)
    kills = sum(each.kills for each in outcomes)
    verdict = "agree" if not outcome.wrong else "DIFFER"
    print(
        f"{kills:5} of {runs} kills, {time.monotonic() - began:5.0f} s: world {outcome.seed}: {outcome.orders} orders,"
        f" {outcome.fills} fills, {outcome.events} events {verdict}",
        flush=True,
    )
    for each in outcome.wrong:
        print(f"      {each}", flush=True)


def _summed_up(outcomes: list[Outcome], seconds: float) -> int:
    steps: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for each in outcomes:
        steps.update(each.steps)
        faults.update(each.faults)
    wrong = [each for each in outcomes if each.wrong]
    print(f"\nkills at: {', '.join(f'{step} {count}' for step, count in sorted(steps.items()))}")
    print(f"gone wrong at the exchange: {', '.join(f'{what} {count}' for what, count in sorted(faults.items()))}")
    print(
        f"{sum(each.kills for each in outcomes)} kills in {seconds:.0f} s, {len(outcomes)} worlds:"
        f" {sum(each.orders for each in outcomes)} orders, {sum(each.fills for each in outcomes)} fills,"
        f" {sum(each.events for each in outcomes)} events; {len(wrong)} worlds whose books differ"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
