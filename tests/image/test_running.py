"""The node's image run as docs/running.md has it: a volume that is new, a user who is nobody, health, and its end."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Final

import pytest

from node_protocol.version import __version__
from tests.image.conftest import HARDENED, KEY_FILE, NODE_USER, Home, refused
from tests.image.engine import CANDLES, PYTHON, ROOT, Container, docker, eventually, tried
from tests.support import node_agent

WRITES: Final = """
import sys
for path in sys.argv[1:]:
    try:
        open(path + "/x", "w")
    except OSError as error:
        print(path, error.strerror)
    else:
        print(path, "written")
"""


def test_a_new_volume_belongs_to_the_node_s_user_at_the_first_start(home: Home) -> None:
    home.made()
    owners = "import os; print(os.getuid(), *(each.stat().st_uid for each in os.scandir('/data')))"
    found = home.run("-IBSc", owners, options=PYTHON).split()
    assert len(found) > 3
    assert set(found) == {str(NODE_USER)}


def test_a_node_becomes_healthy_answers_its_owner_and_stops_within_five_seconds(home: Home) -> None:
    with home.made().container("run") as node:
        node.start()
        node.until_health("healthy")
        status = json.loads(node.execute("node-agent", "status", "--json").stdout)
        assert status["running"] is True
        assert node.execute("node-agent", "health").stdout == "well; trading: active\n"
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 5
        assert json.loads(home.run("status", "--json"))["running"] is False


def test_a_node_whose_loop_hangs_becomes_unhealthy(home: Home, tmp_path: Path) -> None:
    failpoint = tmp_path / "hanging.py"
    failpoint.write_bytes((Path(__file__).parent / "hanging.py").read_bytes())
    failpoint.chmod(0o644)
    often = ("--health-interval", "1s", "--health-retries", "2", "--health-timeout", "2s")
    planted = ("--volume", f"{failpoint}:/hanging.py:ro", *PYTHON, *often)
    with home.made().container("-IBS", "/hanging.py", "run", options=planted) as node:
        node.start()
        node.until_health("healthy")
        assert node.execute("/usr/local/bin/python", "-IBSc", "open('/data/hang', 'w')").returncode == 0
        node.until_health("unhealthy")
        assert node.running


def test_the_health_check_is_ours_asks_no_shell_and_is_quick(node_image: str, home: Home) -> None:
    [facts] = json.loads(docker("image", "inspect", node_image))
    assert facts["Config"]["Healthcheck"]["Test"] == ["CMD", "node-agent", "health"]
    loaded = (
        "import sys; sys.path.append('/opt/trading-node/lib'); sys.argv = ['node-agent', 'health'];"
        "from node_agent.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, sorted({each.partition('.')[0] for each in sys.modules}))"
    )
    with home.made().container("run") as node:
        node.start()
        node.until_health("healthy")
        said = node.execute("/usr/local/bin/python", "-IBSc", loaded).stdout.splitlines()[-1]
        assert said.startswith("0 ")
        assert not re.search(r"'(ccxt|aiohttp|asyncio|pydantic|cryptography)'", said)


@pytest.mark.parametrize("program", ["node", "control-plane"])
def test_it_does_not_start_as_root_and_says_so(program: str, node_image: str, control_plane_image: str) -> None:
    image = node_image if program == "node" else control_plane_image
    said = refused(("--user", "0", image, "--help"))
    assert "it does not run as root here" in said
    assert "leave --user out" in said
    told = ("--user", "0", "--env", "TRADING_NODE_ROOT=allow", image, "--help")
    assert docker("run", "--rm", *told).startswith("Usage: ")


def test_nothing_opens_the_vault_by_default(node_image: str, home: Home) -> None:
    bare = (*HARDENED, "--volume", f"{home.volume}:/data", node_image)
    init = ("init", "--paper", "--candles", CANDLES, "--non-interactive")
    assert "--vault-key-file is missing" in refused((*bare, *init))
    said = refused((*bare, *init, "--vault-key-file", KEY_FILE))
    assert f"there is no vault key {KEY_FILE}, and none can be made there: read-only file system" in said


def test_a_node_without_a_configuration_says_how_to_make_one(home: Home) -> None:
    said = refused((*home.options, home.image))
    assert said == (
        "node-agent: error: there is no /data/config.toml\nhint: make a node with `node-agent init --data-dir /data`\n"
    )


def test_what_the_demo_needs_and_the_image_does_not_have_is_told(home: Home) -> None:
    done = tried("run", "--rm", *home.options, home.image, "demo", "--quiet")
    assert done.returncode == 1
    assert done.stderr == "node-agent: error: `demo` is not in this installation: there is no rich here\n"


def test_a_node_cannot_write_anywhere_but_its_volume_and_tmp(home: Home) -> None:
    said = home.run("-IBSc", WRITES, "/data", "/tmp", "/opt/trading-node/lib", "/etc", "/", "/usr/lib", options=PYTHON)
    assert [line for line in said.splitlines() if line.endswith("written")] == ["/data written", "/tmp written"]


def test_the_documented_run_line_is_the_one_that_is_tested() -> None:
    text = (ROOT / "docs/running.md").read_text("utf-8")
    [line] = re.findall(r"(?m)^docker run -d (?:.*\\\n)*.*$", text)
    words = line.replace("\\\n", " ").split()
    assert [word for word in HARDENED if word not in words] == []
    for mount in ("trading-node:/data", "/etc/machine-id:/etc/machine-id:ro"):
        assert mount in words


@pytest.mark.parametrize("program", ["node", "control-plane"])
def test_each_file_of_ours_is_in_it(program: str, node_image: str, control_plane_image: str) -> None:
    image, ours = {
        "node": (node_image, ("node_protocol", "node_agent")),
        "control-plane": (control_plane_image, ("node_protocol", "verifier", "control_plane")),
    }[program]
    read = "print(open('/opt/trading-node/manifest.sha256').read())"
    there = set(re.findall(r"  lib/(.+)", docker("run", "--rm", *PYTHON, image, "-IBSc", read)))
    paths = [path for name in ours for path in (ROOT / name).rglob("*") if path.is_file()]
    wanted = {
        str(path.relative_to(ROOT)).replace(".py", ".pyc") if path.suffix == ".py" else str(path.relative_to(ROOT))
        for path in paths
        if path.name != "py.typed" and "__pycache__" not in path.parts
    }
    assert {path for path in there if path.startswith(tuple(f"{name}/" for name in ours))} == wanted


def test_the_labels_name_the_version_that_is_in_it(node_image: str, control_plane_image: str) -> None:
    for image in (node_image, control_plane_image):
        [facts] = json.loads(docker("image", "inspect", image))
        assert facts["Config"]["Labels"]["org.opencontainers.image.version"] == __version__
        assert facts["Config"]["Labels"]["org.opencontainers.image.base.name"] == "python:3.13-slim-trixie"
        assert docker("run", "--rm", image, "--version").split()[-1] == __version__


def test_a_container_says_nothing_of_its_secrets_and_has_no_rights(home: Home) -> None:
    with home.made().container("run") as node:
        node.start()
        eventually(lambda: node.running, "the node")
        asked = "print(open('/proc/self/status').read())"
        said = node.execute("/usr/local/bin/python", "-IBSc", asked).stdout
        assert re.search(r"CapEff:\s+0{16}\n", said)
        assert re.search(r"CapBnd:\s+0{16}\n", said)
        assert re.search(r"NoNewPrivs:\s+1\n", said)
        key = home.key_file.read_text()
        assert key not in json.dumps(node.facts())
        assert key not in node.log()


def test_each_exchange_that_a_node_can_trade_on_is_there_and_no_other(node_image: str) -> None:
    loads = (
        "import sys; sys.path.append('/opt/trading-node/lib')\n"
        "from node_agent.exchanges.through_ccxt import exchange_class\n"
        "for each in sys.argv[1:]:\n"
        "    try: print(exchange_class(each).__name__)\n"
        "    except ValueError as error: print(error)\n"
    )
    wanted = [f"ccxt.async_support.{name}" for name in ("binance", "coinbase", "cryptocom", "kraken", "okx")]
    others = ("ccxt.prediction.polymarket", "ccxt.async_support.bybit")
    said = docker("run", "--rm", *PYTHON, node_image, "-IBSc", loads, *wanted, *others)
    assert said.splitlines() == [
        *(name.rpartition(".")[2] for name in wanted),
        "polymarket",
        "the ccxt that is installed here has no bybit",
    ]


def test_each_command_has_the_help_that_its_source_has(node_image: str) -> None:
    with Container(node_image, ("-IBSc", "import time; time.sleep(600)"), PYTHON) as idle:
        idle.start()
        names = re.findall(r"(?m)^  ([a-z]+)  ", node_agent("--help").stdout.partition("Commands:")[2])
        for words in ([], *([name] for name in names if name != "demo")):
            inside = idle.execute("node-agent", *words, "--help").stdout
            assert inside == node_agent(*words, "--help").stdout, words
            assert len(inside.splitlines()) > 5, words
