"""The benchmark of time and memory runs with all that it compares; whether an aim is met is no test's matter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import footprint
from benchmarks.footprint import BOT, CCXT, FLOOR, FREQTRADE_VERSION, OURS, QUICK, Row


def test_it_prints_a_node_beside_others_and_what_each_of_three_commands_costs(tmp_path: Path) -> None:
    nowhere = tmp_path / "python"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.footprint", "--rounds", "1", "--json", "--freqtrade", str(nowhere)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["name"] for row in report["ready"]] == [OURS, CCXT, FREQTRADE_VERSION, BOT]
    assert [row["installed"] for row in report["ready"]] == [True, True, False, False]
    assert [row["name"] for row in report["commands"]] == [FLOOR, *QUICK]
    for row in report["ready"][:2] + report["commands"]:
        assert 0 < row["seconds"]["median"] <= row["seconds"]["worst"]
        assert 1 < row["peak"]["median"] <= row["peak"]["worst"] < 1000
    node = report["ready"][0]
    assert (node["times_seconds"], node["times_peak"]) == (1, 1)
    assert node["resident"]["median"] <= node["peak"]["median"]
    assert len(report["aims"]) == 10
    assert [aim["aim"] for aim in report["aims"] if aim["met"] is None] == [f"smaller than {BOT}"]


def test_an_aim_is_held_against_the_median_and_a_miss_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def row(name: str, peak: float) -> Row:
        return Row(name, ["it"], [0.1, 0.1, 9.0], [], [peak] * 3)

    ours = Row(OURS, ["it"], [0.5, 0.9, 3.0], [91.0] * 3, [95.0] * 3)
    others = [
        row(CCXT, 100.0),
        Row(FREQTRADE_VERSION),
        row(BOT, 94.0),
        row(FLOOR, 8.0),
        *(row(each, 30.0) for each in QUICK),
    ]
    report = footprint.report_of([ours, *others])
    met = {aim["aim"]: aim["met"] for aim in report["aims"]}
    assert met["ready in 1 s"] is True
    assert met["at most 90 MB resident once ready"] is False
    assert (met[f"smaller than {CCXT}"], met[f"smaller than {BOT}"]) == (True, False)
    assert met["node-agent health: 30 MB"] is True
    footprint.show(report, Path("/no/python"))
    shown = capsys.readouterr().out
    assert shown.count("MISSED") == 2
    assert "freqtrade --version" in shown
    assert "not installed: no /no/python" in shown
