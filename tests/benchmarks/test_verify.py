"""The benchmark runs with all that it compares, and what it says of memory holds; speed is no test's matter."""

from __future__ import annotations

import json
import subprocess
import sys

from node_protocol import REPLAY_WINDOW


def test_it_prints_ratios_beside_the_floor_and_every_peer_and_nothing_grows() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.verify", "--seconds", "0", "--json"],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    report = json.loads(done.stdout)
    assert set(report["sizes"]) == {"256", "1024", "16384"}
    for rows in report["sizes"].values():
        assert [row["name"] for row in rows[:3]] == ["floor", "verifier: authenticate", "verifier: a whole sync"]
        assert len(rows) == 11
        assert all(row["times_the_floor"] > 0 and "NOT INSTALLED" not in row["checks"] for row in rows)
    assert [row["messages"] for row in report["growth"]] == [1_000, 10_000, 100_000]
    kept = [row["kept"] for row in report["growth"]]
    assert max(kept) <= 2 * REPLAY_WINDOW + 1  # a message a second
    assert [row["store"] for row in report["stores"]] == ["memory", "sqlite", "postgresql", "redis", "valkey"]
    assert {row["store"]: row.get("round_trips") for row in report["stores"]} == {
        "memory": None,
        "sqlite": None,
        "postgresql": 2,
        "redis": 1,
        "valkey": 1,
    }
    assert [row["server"] for row in report["servers"]] == ["asgi", "starlette", "fastapi"]
    for row in report["servers"]:
        assert all(row[what]["per_second"] > 0 for what in ("echo", "authenticate", "whole sync, one connection"))
