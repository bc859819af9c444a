"""Real nodes whose state is copied, moved, or put back from a backup, and a server that is put back from one."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from node_agent import fingerprint, uplink
from node_agent.client import Clock, ServerAddress, SignedClient
from node_agent.config import VAULT_FILE, load, vault_key
from node_agent.core import events
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.uplink import Uplink
from node_agent.vault import Vault
from node_protocol.encoding import b64url_decode
from tests.control_plane.support import ServerProcess, json_of
from tests.support import NodeDir, NodeProcess, until
from tests.system.test_node_and_server import events as stored_events


def shown(server: ServerProcess, node: NodeDir) -> dict[str, Any]:
    facts: dict[str, Any] = json_of("nodes", "show", "--data-dir", server.data_dir, node.status()["node_id"])
    return facts


def codes(server: ServerProcess, node: NodeDir) -> list[str]:
    """Of its alerts, the newest first."""
    return [alert["code"] for alert in shown(server, node)["alerts"]]


def suspension(server: ServerProcess, node: NodeDir) -> dict[str, Any]:
    """The evidence of the fork that suspends the node in the end."""

    def look() -> dict[str, Any] | None:
        facts = shown(server, node)
        forks = [alert["evidence"] for alert in facts["alerts"] if alert["evidence"].get("suspends")]
        return forks[0] if facts["state"] == "suspended" and forks else None

    return until(look, "the node to be suspended")


def lives_a_while(server: ServerProcess, node: NodeDir) -> None:
    """Starts the node, and stops it once it has said so."""
    before = len(stored_events(server, node.status()["node_id"]))
    with NodeProcess(node) as process:
        until(
            lambda: len(stored_events(server, node.status()["node_id"])) > before or None,
            "the node to report",
        )
        assert process.stop()[0] == 0, process.log


def put_back(backup: Path, place: Path) -> None:
    """Restores the contents of a directory, as backup programs do: the directory itself stays the same one."""
    for each in place.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()
    shutil.copytree(backup, place, dirs_exist_ok=True)


def says_what_to_do(*holders: NodeDir) -> None:
    """Waits until one of them takes no new risk and tells its owner why."""

    def look() -> bool | None:
        told = [each.status()["pauses"] for each in holders]
        return any("register --replace" in pause["reason"] for pauses in told for pause in pauses) or None

    until(look, "a holder to take no new risk, and to say what its owner can do")


def test_a_data_directory_that_is_copied_suspends_the_node_once_both_run(
    server: ServerProcess, node: NodeDir, tmp_path: Path
) -> None:
    lives_a_while(server, node)
    copy = NodeDir(tmp_path / "copy", node.key_file)
    shutil.copytree(node.path, copy.path)
    with NodeProcess(node), NodeProcess(copy):
        evidence = suspension(server, node)
        says_what_to_do(node, copy)
    assert evidence["cause"] == "copy_same_host"
    assert evidence["accepted_last"]["fingerprint"] != evidence["refused_now"]["fingerprint"]


def test_a_node_that_is_put_back_from_an_old_backup_is_suspended(
    server: ServerProcess, node: NodeDir, tmp_path: Path
) -> None:
    lives_a_while(server, node)
    shutil.copytree(node.path, tmp_path / "backup")
    lives_a_while(server, node)
    put_back(tmp_path / "backup", node.path)
    with NodeProcess(node):
        evidence = suspension(server, node)
        says_what_to_do(node)
    assert evidence["cause"] == "rollback"


@pytest.fixture
def restored(server: ServerProcess, node: NodeDir, tmp_path: Path) -> ServerProcess:
    """A server that is down, whose database is of before the node's last life."""
    lives_a_while(server, node)
    server.end()
    shutil.copytree(server.data_dir, tmp_path / "backup")
    server.start()
    lives_a_while(server, node)
    server.end()
    put_back(tmp_path / "backup", server.data_dir)
    return server


def test_a_server_that_is_put_back_from_a_backup_takes_its_nodes_for_copies(
    restored: ServerProcess, node: NodeDir
) -> None:
    restored.start()
    with NodeProcess(node):
        suspension(restored, node)
        says_what_to_do(node)


def test_a_server_that_is_put_back_and_armed_goes_on_and_gets_again_what_it_lost(
    restored: ServerProcess, node: NodeDir
) -> None:
    node_id = node.status()["node_id"]
    armed = json_of("nodes", "accept-next", "--data-dir", restored.data_dir, "--all")
    assert armed["armed"] == [node_id]
    restored.start()
    assert len(stored_events(restored, node_id)) < node.status()["events"]["last_seq"]
    with NodeProcess(node) as process:
        until(lambda: "ticket_restored" in codes(restored, node) or None, "the node to go on")
        until(lambda: node.status()["events"]["pending"] == 0 or None, "the server to have all reports")
        assert process.stop()[0] == 0, process.log
    numbers = [each["seq"] for each in stored_events(restored, node_id)]
    assert numbers == list(range(1, node.status()["events"]["last_seq"] + 1))
    assert shown(restored, node)["state"] == "active"
    assert codes(restored, node) == ["ticket_restored", "accept_next_armed"]


class Mind:
    """Stands in for the node's loop: keeps what the uplink tells it."""

    def __init__(self) -> None:
        self.heard: list[events.CoreEvent] = []

    async def until(self, kind: type[events.CoreEvent]) -> Any:
        """The first event of this kind that has not been taken yet."""
        async with asyncio.timeout(60):
            while True:
                while self.heard:
                    event = self.heard.pop(0)
                    if isinstance(event, kind):
                        return event
                await asyncio.sleep(0.02)


@pytest.fixture
def moved(server: ServerProcess, node: NodeDir) -> Iterator[Callable[[Mind], Uplink]]:
    """Makes uplinks of the node as it is on another machine."""
    with ExitStack() as stack:
        vault = Vault.open(node.path / VAULT_FILE, vault_key(load(node.path, os.environ), os.environ))
        journal = stack.enter_context(Journal.open(node.path / JOURNAL_FILE, create=False))
        registration = journal.registration()
        assert registration is not None

        def machine() -> Mapping[str, str]:
            elsewhere = {name: f"another {name}" for name in ("machine_id", "storage", "disk", "cpu", "boot")}
            return fingerprint.salted(elsewhere, b64url_decode(registration.salt, length=32))

        def make(mind: Mind) -> Uplink:
            clock = Clock(time.time)
            address = ServerAddress.parse(registration.server, insecure_loopback=True)
            return Uplink(
                journal=journal,
                vault=vault,
                client=SignedClient(address, clock),
                clock=clock,
                fingerprint=machine,
                status=dict,
                deliver=mind.heard.append,
            )

        yield make


@pytest.mark.asyncio
async def test_a_node_that_has_moved_goes_on_by_itself_once_that_is_approved(
    server: ServerProcess, node: NodeDir, moved: Callable[[Mind], Uplink], monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(lives_a_while, server, node)
    monkeypatch.setattr(uplink, "_LONGEST_DELAY", 0.2)
    mind = Mind()
    line = moved(mind)
    running = asyncio.create_task(line.run())
    try:
        refused = await mind.until(events.Suspended)
        assert refused.reason.startswith("fingerprint_mismatch: ")
        assert "approve-move" in refused.reason
        node_id = node.status()["node_id"]
        await asyncio.to_thread(json_of, "nodes", "approve-move", "--data-dir", server.data_dir, node_id)
        await mind.until(events.ServerSeen)
    finally:
        running.cancel()
        await asyncio.wait((running,))
        await line.close(final_sync=False)
    facts = await asyncio.to_thread(shown, server, node)
    assert facts["state"] == "active"
    assert [alert["code"] for alert in facts["alerts"]] == ["node_moved", "move_approved", "fingerprint_mismatch"]
