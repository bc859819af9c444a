"""What a node takes until it is ready, in time and memory, beside what others take to be loaded, all in one run.

Ours is `node-agent run --live` with one exchange, which speaks Binance's wire format on loopback: from the start of the
process to the log line `node.started`, which is written when the exchange has judged the key, told its markets, fills
and open orders, and the journal has it durably; a moment later `health` must confirm it. Beside it stand others that
are loaded and have not yet asked anybody for anything: the whole of ccxt, and freqtrade in an environment of its own.
`freqtrade --version` loads no bot; `import freqtrade.freqtradebot` does. A second table has the commands that must be
quick.

Each is a fresh process, round for round in turn, with its bytecode written before, as an installation leaves it. The
memory of one that ends is the most that it held; the node's is what it holds once it is ready, and the most until then.
Aims are held against the median. Needs Linux, which tells in /proc how much a process holds.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import Any, Final

from node_agent.control_line import ask
from tests.binance.process import BinanceProcess
from tests.live import live_node
from tests.support import NodeDir, environment

NODE_AGENT: Final = str(Path(sysconfig.get_path("scripts")) / "node-agent")
FREQTRADE: Final = Path(".venv/freqtrade-{}.{}/bin/python".format(*sys.version_info))
PATIENCE: Final = 60.0

OURS, CCXT, BOT = "node-agent run", "import ccxt.async_support", "import freqtrade.freqtradebot"
FREQTRADE_VERSION: Final = "freqtrade --version"
FLOOR: Final = "python -c pass"
QUICK: Final = ("node-agent --version", "node-agent --help", "node-agent health")
READY_SECONDS, READY_MEGABYTES = 1.0, 90.0
QUICK_SECONDS, QUICK_MEGABYTES = 0.15, 30.0

# A process counts what its parent held when it was made as its own most; so the parent of what is measured is small.
_PARENT: Final = """
import os, sys, time
nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
began = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=nowhere)
_, status, used = os.wait4(child, 0)
print(time.perf_counter() - began, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))
"""


@dataclass
class Row:
    """What one contestant took, a value a round; without a command it is not installed here."""

    name: str
    command: list[str] | None = None
    seconds: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    """Megabytes (2**20 bytes) once it is ready; for one that ends there is none."""
    peak: list[float] = field(default_factory=list)
    """The most until then, or until its end."""

    def run(self, environ: dict[str, str], *, counts: bool) -> None:
        """One round, to its end."""
        if self.command is None:
            return
        parent = [sys.executable, "-I", "-S", "-c", _PARENT, *self.command]
        done = subprocess.run(parent, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=True)  # noqa: S603
        seconds, peak, code = map(float, done.stdout.split())
        if code:
            raise SystemExit(f"footprint: error: exit code {code:.0f} of {' '.join(self.command)}")
        if counts:
            self.seconds.append(seconds)
            self.peak.append(peak)


def measure(rounds: int, directory: Path, freqtrade: Path) -> list[Row]:
    """All of it, after one round that does not count: it writes the bytecode."""
    with BinanceProcess() as exchange:
        node = live_node(directory, exchange, "--strategy", "none")
        ours = Row(OURS, [NODE_AGENT, "run", "--live", "--data-dir", str(node.path)])
        health = Row(QUICK[2], [NODE_AGENT, "health", "--data-dir", str(node.path)])
        others = [
            Row(CCXT, [sys.executable, "-c", CCXT]),
            *_freqtrade(freqtrade),
            Row(FLOOR, [sys.executable, "-c", "pass"]),
            *(Row(name, [NODE_AGENT, name.split()[1]]) for name in QUICK[:2]),
        ]
        environ = _environment(directory)
        for number in range(rounds + 1):
            _run_node(ours, health, node, environ, counts=number > 0)
            for row in others:
                row.run(environ, counts=number > 0)
    return [ours, *others, health]


def _freqtrade(python: Path) -> list[Row]:
    if not python.exists():
        return [Row(FREQTRADE_VERSION), Row(BOT)]
    command = str(python.absolute().with_name("freqtrade"))
    return [Row(FREQTRADE_VERSION, [command, "--version"]), Row(BOT, [str(python.absolute()), "-c", BOT])]


def _environment(directory: Path) -> dict[str, str]:
    """Nobody's settings for Python but a place for bytecode of this run's own."""
    clean = {name: value for name, value in environment().items() if not name.startswith(("PYTHON", "COVERAGE_"))}
    return clean | {"PYTHONPYCACHEPREFIX": str(directory / "bytecode")}


def _run_node(ours: Row, health: Row, node: NodeDir, environ: dict[str, str], *, counts: bool) -> None:
    """One start, what the node then is, what it costs to ask it how it is, and its end in order."""
    assert ours.command is not None  # noqa: S101
    began = perf_counter()
    process = subprocess.Popen(ours.command, env=environ, stderr=subprocess.PIPE, text=True)  # noqa: S603
    impatience = Timer(PATIENCE, process.kill)
    impatience.start()
    try:
        _see_it_start(process)
        seconds = perf_counter() - began
        *_, answer = ask(node.path, {"request": "health"}, within=PATIENCE)
        assert answer["started"], answer  # noqa: S101
        resident, peak = _held(process.pid)
        health.run(environ, counts=counts)
    finally:
        process.terminate()
        process.communicate()
        impatience.cancel()
    if counts:
        ours.seconds.append(seconds)
        ours.resident.append(resident)
        ours.peak.append(peak)


def _see_it_start(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None  # noqa: S101
    said = []
    for line in process.stderr:
        said.append(line)
        if "node.started" in line:
            return
    raise SystemExit("footprint: error: the node did not start\n" + "".join(said))


def _held(process: int) -> tuple[float, float]:
    """Megabytes that a process holds now, and the most that it has held."""
    told = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", Path(f"/proc/{process}/status").read_text()))
    return int(told["VmRSS"]) / 1024, int(told["VmHWM"]) / 1024


def report_of(rows: list[Row]) -> dict[str, Any]:
    """Median and worst of each, as multiples of the first of its table too; and the aims."""
    told = {row.name: _told(row) for row in rows}
    aims = [
        _aim(f"ready in {READY_SECONDS:g} s", told[OURS]["seconds"], READY_SECONDS),
        _aim(f"at most {READY_MEGABYTES:g} MB resident once ready", told[OURS]["resident"], READY_MEGABYTES),
        *(_aim(f"smaller than {name}", told[OURS]["peak"], _median(told[name])) for name in (CCXT, BOT)),
    ]
    for name in QUICK:
        aims.append(_aim(f"{name}: {QUICK_SECONDS:g} s", told[name]["seconds"], QUICK_SECONDS))
        aims.append(_aim(f"{name}: {QUICK_MEGABYTES:g} MB", told[name]["peak"], QUICK_MEGABYTES))
    return {
        "rounds": len(rows[0].seconds),
        "ready": _beside(told, (OURS, CCXT, FREQTRADE_VERSION, BOT)),
        "commands": _beside(told, (FLOOR, *QUICK)),
        "aims": aims,
    }


def _told(row: Row) -> dict[str, Any]:
    values = {"seconds": (row.seconds, 3), "resident": (row.resident, 1), "peak": (row.peak, 1)}
    return {
        what: {"median": round(statistics.median(taken), digits), "worst": round(max(taken), digits)}
        for what, (taken, digits) in values.items()
        if taken
    }


def _median(told: dict[str, Any]) -> float | None:
    return told["peak"]["median"] if told else None


def _aim(aim: str, value: dict[str, float], most: float | None) -> dict[str, Any]:
    """`met` is None where there is nothing to hold it against."""
    return {
        "aim": aim,
        "value": value["median"],
        "most": most,
        "met": None if most is None else value["median"] <= most,
    }


def _beside(told: dict[str, dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    first, *_ = names
    rows = []
    for name in names:
        row = {"name": name, "installed": bool(told[name]), **told[name]}
        for what in ("seconds", "peak"):
            if row["installed"]:
                row[f"times_{what}"] = round(told[name][what]["median"] / told[first][what]["median"], 2)
        rows.append(row)
    return rows


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="fresh processes of each (default 9)")
    parser.add_argument("--freqtrade", type=Path, default=FREQTRADE, help="a Python that has freqtrade (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = report_of(measure(given.rounds, Path(directory), given.freqtrade))
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report, given.freqtrade)


def show(report: dict[str, Any], freqtrade: Path) -> None:
    """Print it for people."""
    columns = f"{'s':>8}{'worst':>9}{'x':>7}{'MB':>10}{'most':>9}{'worst':>9}{'x':>7}"
    print(f"{report['rounds']} fresh processes of each".ljust(36) + columns)
    for table in ("ready", "commands"):
        for row in report[table]:
            print(
                f"  {row['name']:<32}" + (_figures(row) if row["installed"] else f"     not installed: no {freqtrade}")
            )
        print()
    for aim in report["aims"]:
        verdict = {True: "met", False: "MISSED", None: "not known"}[aim["met"]]
        print(f"  {aim['aim']:<52}{aim['value']:>9}  {verdict}")


def _figures(row: dict[str, Any]) -> str:
    seconds, peak = row["seconds"], row["peak"]
    resident = row["resident"]["median"] if "resident" in row else "-"
    time = f"{seconds['median']:>10.3f}{seconds['worst']:>9.3f}{row['times_seconds']:>7.2f}"
    return time + f"{resident:>10}{peak['median']:>9.1f}{peak['worst']:>9.1f}{row['times_peak']:>7.2f}"


if __name__ == "__main__":
    main()
