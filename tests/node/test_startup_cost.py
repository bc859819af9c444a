"""What a command does not load: the quick ones nothing heavy, `run` no exchange before it knows which."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support import NodeDir, NodeProcess, environment, node_agent, until

HEAVY: Final = {
    "aiohttp",
    "asyncio",
    "ccxt",
    "cryptography",
    "httpx",
    "node_agent.journal",
    "node_protocol.messages",
    "pydantic",
    "rich",
    "sqlite3",
    "ssl",
    "structlog",
}
MOST_MEGABYTES: Final = 30

# What it held is asked of /proc, in its own words: the system's other count begins with what its parent held.
PROGRAM: Final = """
import sys
from pathlib import Path
from node_agent.cli import main
try:
    main()
except SystemExit as end:
    most = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    print(end.code, int(most) // 1024, *sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeDir]:
    """A node that is well."""
    node = NodeDir.made(tmp_path_factory.mktemp("quick"), "--strategy", "none")
    with NodeProcess(node):
        until(lambda: node_agent("health", "--data-dir", node.path).returncode == 0 or None, "a node that is well")
        yield node


def unmeasured(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A Python program to its end, without what measures the tests."""
    environ = {name: value for name, value in environment().items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environ)


@pytest.mark.parametrize("command", ["--version", "--help", "health"])
def test_a_quick_command_loads_nothing_heavy_and_is_small(running: NodeDir, command: str) -> None:
    of_the_node = ("--data-dir", running.path) if command == "health" else ()
    code, megabytes, *modules = unmeasured(PROGRAM, command, *of_the_node).stderr.split()
    assert code == "0"
    assert HEAVY & set(modules) == set()
    assert int(megabytes) < MOST_MEGABYTES


def test_run_loads_no_exchange_before_it_knows_which() -> None:
    modules = unmeasured("import sys, node_agent.cli.run\nprint(*sys.modules)").stdout.split()
    assert "node_agent.runner" in modules
    assert [name for name in modules if name.split(".")[0] in {"aiohttp", "ccxt"}] == []
