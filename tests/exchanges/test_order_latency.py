"""The benchmark runs with all that it compares, on orders that a whole node placed; speed is no test's matter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_it_prints_a_command_beside_all_that_it_stands_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.order_latency",
        "--orders",
        "3",
        "--json",
        "--directory",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    report = json.loads(done.stdout)
    assert set(report["rows"]) == {"a command", "our adapter alone", "ccxt", "ccxt, its limiter on", "one fsync"}
    assert all(0 < row["p50"] <= row["p99"] for row in report["rows"].values())
    assert report["rows"]["ccxt"]["times_ccxt"] == 1
    assert report["met"] == (report["rows"]["a command"]["p50"] <= report["aim"])
