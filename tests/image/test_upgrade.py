"""Another version on the same volume: a newer one goes on with what is open, an older one refuses a newer journal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

import pytest

from node_agent.journal_schema import VERSION
from node_protocol.version import __version__
from tests.image.conftest import Home
from tests.image.engine import ROOT, Container, build, tried

MADE_OF: Final = ("Dockerfile", ".dockerignore", "compile_bytecode.py")
FOLDERS: Final = ("build", "node_protocol", "verifier", "node_agent", "control_plane")
LATER: Final = "99.0.0"


@pytest.fixture(scope="module")
def later_image(node_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The node of a later version, whose journal has one more form."""
    checkout = tmp_path_factory.mktemp("later")
    for name in MADE_OF:
        shutil.copy(ROOT / name, checkout)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    edit(checkout / "node_protocol/version.py", f'"{__version__}"', f'"{LATER}"')
    schema = checkout / "node_agent/journal_schema.py"
    edit(
        schema,
        '\n)\n"""Each brings',
        '\n    "CREATE TABLE of_later (name TEXT PRIMARY KEY) WITHOUT ROWID;",\n)\n"""Each brings',
    )
    return build("node", "trading-node/node:later", "--build-arg", f"VERSION={LATER}", context=checkout)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), "utf-8")


def open_orders(node: Container) -> list[str]:
    """Client order ids of what is open, as the node that runs tells."""
    status = json.loads(node.execute("node-agent", "status", "--json").stdout)
    return [order["client_order_id"] for order in status["open_orders"]]


@pytest.mark.timeout(900)
def test_open_orders_are_found_again_by_a_later_version_and_an_older_one_leaves_its_journal_alone(
    home: Home, later_image: str
) -> None:
    with home.made("--strategy", "none").container("run") as node:
        node.start()
        node.until_health("healthy")
        limit = ("--type", "limit", "--price", "20000", "--amount", "0.01", "--json")
        placed = node.execute("node-agent", "orders", "place", "--symbol", "BTC/USD", "--side", "buy", *limit)
        assert placed.returncode == 0, placed.stderr
        before = open_orders(node)
        assert len(before) == 1
        assert node.stop() == 0

    with home.container("run", image=later_image) as later:
        later.start()
        later.until_health("healthy")
        assert json.loads(home.run("status", "--json", image=later_image))["running"] is True
        assert open_orders(later) == before
        assert later.stop() == 0

    older = tried("run", "--rm", *home.options, home.image, "run")
    assert older.returncode == 1
    assert older.stderr == (
        f"node-agent: error: the journal /data/journal.sqlite3 is of version {VERSION + 1}, "
        f"and this program knows {VERSION}\n"
        "hint: run the newer node-agent that wrote it\n"
    )

    with home.container("run", image=later_image) as later:
        later.start()
        later.until_health("healthy")
        assert open_orders(later) == before
        cancelled = later.execute("node-agent", "orders", "cancel", before[0])
        assert cancelled.returncode == 0, cancelled.stderr
        assert open_orders(later) == []
