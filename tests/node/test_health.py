"""`node-agent health` on real processes: 0 for a node whose loop takes events, else 1 and what is wrong, in time."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from node_agent.control_line import SOCKET_FILE
from node_agent.lock import DirectoryLock
from tests.binance.process import BinanceProcess
from tests.live import live_node
from tests.support import NodeDir, NodeProcess, node_agent, told, until


@pytest.fixture
def node(tmp_path: Path) -> NodeDir:
    return NodeDir.made(tmp_path, "--strategy", "none")


def health(node: NodeDir, *options: str) -> subprocess.CompletedProcess[str]:
    return node_agent("health", "--data-dir", node.path, *options)


def ailing(node: NodeDir, *options: str) -> str:
    """What is said to be wrong."""
    return told(health(node, *options), 1)


def gets_well(node: NodeDir) -> None:
    until(lambda: health(node).returncode == 0 or None, "a node that is well")


def test_a_node_is_well_while_its_process_moves_and_only_then(node: NodeDir) -> None:
    assert ailing(node) == f"no node runs on {node.path}"
    with NodeProcess(node) as running:
        gets_well(node)
        running.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert "does not answer" in ailing(node, "--timeout", "1")
        assert time.monotonic() - began < 10
        running.process.send_signal(signal.SIGCONT)
        gets_well(node)
        running.process.kill()
        running.process.wait()
        assert ailing(node) == f"no node runs on {node.path}"


def test_a_program_is_told_what_a_node_is_like_that_is_well_and_what_is_wrong_with_one_that_is_not(
    node: NodeDir,
) -> None:
    with NodeProcess(node):
        gets_well(node)
        done = health(node, "--json")
        facts = json.loads(done.stdout)
        assert (done.returncode, done.stderr) == (0, "")
        assert (facts["well"], facts["problem"], facts["started"]) == (True, None, True)
        assert (facts["trading"], facts["health"], facts["open_orders"]) == ("active", "good", 0)
        assert "done" not in facts
    done = health(node, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"well": False, "problem": f"no node runs on {node.path}"}


def test_a_pause_is_no_illness_and_is_told(node: NodeDir) -> None:
    with NodeProcess(node):
        gets_well(node)
        assert node_agent("pause", "--data-dir", node.path).returncode == 0
        done = health(node)
        assert (done.returncode, done.stdout) == (0, "well; trading: reducing\n")


def test_a_node_that_waits_for_its_exchange_is_not_well_until_it_has_started(tmp_path: Path) -> None:
    with BinanceProcess() as exchange:
        node = live_node(tmp_path, exchange, "--strategy", "none")
        exchange.faults({"what": "5xx_before", "path": "/api/v3/exchangeInfo", "times": 1000})
        with NodeProcess(node, "--live"):
            until(lambda: "not started yet" in health(node).stderr or None, "a node that listens")
            facts = json.loads(health(node, "--json").stdout)
            assert (facts["well"], facts["started"]) == (False, False)
            exchange.faults()
            gets_well(node)


def test_a_process_that_holds_the_directory_and_does_not_listen_is_told_from_none(node: NodeDir) -> None:
    with DirectoryLock(node.path):
        assert "does not listen" in ailing(node)


def test_what_a_node_says_in_place_of_how_it_is_is_handed_on(node: NodeDir) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(node.path / SOCKET_FILE))
        busy.listen()
        answering = threading.Thread(target=refuse_one, args=(busy,))
        answering.start()
        assert ailing(node) == "too many others"
        answering.join()


def refuse_one(listener: socket.socket) -> None:
    line, _ = listener.accept()
    with line:
        line.recv(4096)
        line.sendall(b'{"error":"too many others","done":true}\n')


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_that_is_none_is_wrong_usage(node: NodeDir, timeout: str) -> None:
    assert "--timeout" in told(health(node, "--timeout", timeout), 2)


def test_a_directory_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert told(node_agent("health", "--data-dir", nowhere), 2) == f"there is no directory {nowhere}"
    assert "--data-dir" in told(node_agent("health"), 2)
