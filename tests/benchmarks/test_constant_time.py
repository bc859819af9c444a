"""The measurement of constant time runs and says what it found; what it finds in a moment is no test's matter."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest

from benchmarks import constant_time


def test_it_measures_ours_and_a_planted_fault_for_each_pair_and_names_the_threshold() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.constant_time", "--seconds", "0.1", "--samples", "1000", "--json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["good"] else 1)
    assert report["threshold"] == 4.5
    measured = [(each["pair"], each["code"]) for each in report["findings"]]
    assert measured == [("mac", "ours"), ("mac", "planted"), ("key", "ours"), ("key", "planted")]
    for each in report["findings"]:
        assert each["samples"] >= 1000
        assert isinstance(each["t"], float)
        assert isinstance(each["differs"], bool)


@pytest.mark.parametrize(
    ("pair", "nanoseconds", "differs"),
    [("mac", 0, False), ("mac", 10, True), ("key", 0, False), ("key", 10, False), ("key", -100, True)],
)
def test_a_difference_counts_from_the_first_nanosecond_for_a_mac_and_from_thirty_for_a_key(
    monkeypatch: pytest.MonkeyPatch, pair: str, nanoseconds: int, differs: bool
) -> None:
    chance = Random(1)
    times = tuple([int(chance.gauss(20_000 + more, 50)) for _ in range(20_000)] for more in (0, nanoseconds))
    monkeypatch.setattr(constant_time, "timed", lambda *_: times)
    assert constant_time.look(pair, "ours", 1, 1.0).differs is differs
