"""What our programs do out of a tree without sources, made by the options of build/*.args as the images are."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane import schema
from node_agent.exchanges.catalogue import EXCHANGES
from tests.image.helps import NODE_AGENT, helps
from tests.image.packages import ROOT, sources
from tests.image.trees import Made, compiled_tree
from tests.support import CANDLES, WITHIN, environment, node_agent, until

OF_CCXT: Final = ("binance", "coinbase", "cryptocom", "kraken", "okx", "polymarket")
KEEP: Final = "--keep=ccxt/a*/{}.py"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What the node's image has."""
    folder = sources(tmp_path_factory.mktemp("node"), "node", "node_protocol", "node_agent")
    return made(folder, tmp_path_factory.mktemp("opt"), "node", *map(KEEP.format, OF_CCXT))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What the control plane's image has."""
    ours = ("node_protocol", "verifier", "control_plane")
    folder = sources(tmp_path_factory.mktemp("server"), "control-plane", *ours)
    return made(folder, tmp_path_factory.mktemp("opt"), "control-plane")


def made(source: Path, root: Path, program: str, *options: str) -> Made:
    """A tree as the Dockerfile makes it."""
    return compiled_tree(source, root, f"@{ROOT / 'build' / program}.args", *options)


def run(program: Path, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A launcher, to its end."""
    command = [str(program), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=WITHIN, env=environment(**environ)
    )


def answered(lib: Path, program: str, *arguments: str) -> Any:
    """What a Python program prints, as JSON, that has the tree and the standard library alone."""
    text = f"import json, sys\nsys.path.append({str(lib)!r})\n{program}"
    command = [sys.executable, "-ISB", "-c", text, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_help_reads_as_the_sources_do(node: Made) -> None:
    told = helps("node-agent", NODE_AGENT)
    with_a_screen = {name: text for name, text in told.items() if name != "node-agent demo"}
    assert helps("node-agent", NODE_AGENT, "-ISB", of=node.lib, but=("demo",)) == with_a_screen
    shown = run(node.launcher("node-agent"), "keys", "add", "--help").stdout
    assert shown == node_agent("keys", "add", "--help").stdout != ""


def test_a_node_is_made_trades_and_is_well(node: Made, tmp_path: Path) -> None:
    agent, here = node.launcher("node-agent"), ("--data-dir", tmp_path / "node")
    done = run(agent, "init", *here, "--paper", "--candles", CANDLES, "--vault-key-file", tmp_path / "key")
    assert done.returncode == 0, done.stderr
    assert json.loads(run(agent, "status", *here, "--json").stdout)["running"] is False
    with subprocess.Popen([agent, "run", *map(str, here), "--speed", "100000"], stderr=subprocess.PIPE) as trading:
        until(lambda: run(agent, "health", *here).returncode == 0 or None, "a node that is well")
        assert run(agent, "stop", *here).returncode == 0
        _, said = trading.communicate(timeout=WITHIN)
    assert trading.returncode == 0, said.decode()
    assert b"Traceback" not in said


def test_the_demo_says_that_it_is_not_there(node: Made) -> None:
    done = run(node.launcher("node-agent"), "demo")
    expected = "node-agent: error: `demo` is not in this installation: there is no rich here\n"
    assert (done.returncode, done.stderr) == (1, expected)


@pytest.mark.parametrize("name", EXCHANGES)
def test_each_exchange_comes_alone_out_of_the_tree(name: str, node: Made) -> None:
    program = f"""
from node_agent.exchanges import through_ccxt
from importlib import import_module
ours = import_module("node_agent.exchanges.{name}")
path = getattr(ours, "_CCXT_CLASS", "ccxt.async_support.{name}")
theirs = None if {name not in OF_CCXT} else through_ccxt.exchange_class(path)
print(json.dumps([ours.PROFILE.name, theirs and theirs().describe()["id"], "ccxt" in sys.modules]))
"""
    assert answered(node.lib, program) == [name, name if name in OF_CCXT else None, False]


def test_what_signs_for_a_wallet_is_there(node: Made) -> None:
    program = """
from node_agent.exchanges.through_ccxt import exchange_class
theirs = exchange_class("ccxt.prediction.polymarket")()
key = "0x" + "1" * 64
types = {"Sum": [{"name": "amount", "type": "uint256"}]}
message = theirs.eth_encode_structured_data({"name": "x"}, types, {"amount": 1})
print(json.dumps([theirs.eth_get_address_from_private_key(key), sorted(theirs.sign_message(message, key))]))
"""
    assert answered(node.lib, program) == ["0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a", ["r", "s", "v"]]


@pytest.mark.parametrize(
    ("name", "parts", "option", "so"),
    [
        (
            "okx",
            {"key": "11111111-1111-1111-1111-111111111111", "secret": "A" * 32, "passphrase": "p"},
            (),
            "cannot ask okx: ",
        ),
        (
            "polymarket",
            {"key": "0x" + "1" * 64, "wallet": "0x" + "a" * 40, "kind": "eoa"},
            ("--i-hold-the-wallet",),
            "this is no key for Polymarket: it cannot be tried: ",
        ),
    ],
)
def test_an_exchange_that_was_left_out_is_told_in_one_line(
    name: str, parts: dict[str, str], option: tuple[str, ...], so: str, node: Made, tmp_path: Path
) -> None:
    agent, here = node.launcher("node-agent"), ("--data-dir", tmp_path / "node")
    options = ("--exchange", name, "--symbol", "1/USDC", "--vault-key-file", tmp_path / "key")
    assert run(agent, "init", *here, *options).returncode == 0
    (tmp_path / "parts").write_text(json.dumps(parts))
    lib = shutil.copytree(node.lib, tmp_path / "lib")
    for path in fitting(lib, KEEP.format(name)):
        path.unlink()
    program = f"import sys; sys.path.append({str(lib)!r}); from node_agent.cli import main; main()"
    words = map(str, ("keys", "add", name, *here, "--file", tmp_path / "parts", *option))
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", program, *words], capture_output=True, text=True, check=False, timeout=WITHIN
    )
    expected = f"node-agent: error: {so}the ccxt that is installed here has no {name}"
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, expected)


def fitting(lib: Path, keep: str) -> list[Path]:
    """What of a tree is there for one --keep alone."""
    glob = keep.removeprefix("--keep=").removesuffix(".py") + ".pyc"
    found = [path for path in lib.rglob("*.pyc") if fnmatchcase(path.relative_to(lib).as_posix(), glob)]
    assert found
    return found


def test_the_nodes_tree_keeps_to_its_size(node: Made) -> None:
    files = [path for path in node.root.rglob("*") if path.is_file()]
    ccxt = sum(path.stat().st_size for path in (node.lib / "ccxt").rglob("*") if path.is_file())
    assert ccxt < 4_000_000
    assert sum(path.stat().st_size for path in files) < 60_000_000


def test_migrations_are_applied_out_of_the_tree(server: Made, tmp_path: Path) -> None:
    done = run(server.launcher("control-plane"), "migrate", "--data-dir", tmp_path / "server")
    assert done.returncode == 0, done.stderr
    [database] = (tmp_path / "server").glob("*.sqlite3")
    with sqlite3.connect(database) as connection:
        [form] = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert form == schema.HEAD
    assert {"nodes", "events", "commands"} <= tables
