"""Each row of the protocol's table in section 4 (one identity, one machine) over real HTTP, against the real server.

A machine here is a set of salted components; what stands in for a copy, a backup or a thief has the node's key, and as
much of its state as the row says. `test_copies_and_backups.py` has some of it with real nodes.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from node_protocol.fingerprints import digest
from node_protocol.signatures import nonce_from
from tests.control_plane.support import Enrolment, Node, Reply, ServerProcess, changed, enrolled, json_of, machine

ACCEPTED = 200
CONFLICT = (409, "ticket_conflict", True)
SUPERSEDED = (409, "superseded", True)
SUSPENDED = (403, "suspended", True)
MISMATCH = (403, "fingerprint_mismatch", True)
DUPLICATE = (403, "fingerprint_duplicate", True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all rows: each row has machines of its own."""
    started = ServerProcess(tmp_path_factory.mktemp("table") / "server").start()
    yield started
    started.end()


def enrols(server: ServerProcess, on: dict[str, str], *options: object) -> Reply:
    return Enrolment(server.address, server.token(*options), on).post()


@pytest.fixture
def owner(server: ServerProcess) -> Node:
    """A node that has enrolled and synced from a machine of its own."""
    owner = enrolled(server.address, server.token())
    assert owner.sync().status == ACCEPTED
    return owner


def shown(server: ServerProcess, holder: Node) -> dict[str, Any]:
    facts: dict[str, Any] = json_of("nodes", "show", "--data-dir", server.data_dir, holder.node_id)
    return facts


def found(server: ServerProcess, holder: Node) -> tuple[str, list[str]]:
    """Where the node stands, and the codes of its alerts, the newest first."""
    facts = shown(server, holder)
    return facts["state"], [alert["code"] for alert in facts["alerts"]]


def forked(server: ServerProcess, holder: Node, code: str = "ticket_conflict") -> dict[str, Any]:
    """The evidence of the one alert on a node that a fork has suspended, for whoever holds its state now."""
    facts = shown(server, holder)
    assert facts["state"] == "suspended"
    [alert] = [alert for alert in facts["alerts"] if alert["code"] == code]
    evidence: dict[str, Any] = alert["evidence"]
    assert evidence["suspends"] is True
    assert evidence["address"] == evidence["refused_now"]["address"] == "127.0.0.1"
    for side in ("accepted_last", "refused_now"):
        assert {"session", "request", "fingerprint", "address", "at"} <= evidence[side].keys()
        assert "ticket" not in evidence[side], "who reads alerts must not be able to go on in the node's place"
    return evidence


@pytest.mark.parametrize("how", ["same process goes on", "restart", "new container on the same host", "reboot"])
def test_same_process_goes_on_restart_new_container_on_the_same_host(
    server: ServerProcess, owner: Node, how: str
) -> None:
    if how != "same process goes on":
        owner = owner.copy()
    if how == "new container on the same host":
        # The host's machine-id is not mounted into this one, and it sees less of the host.
        facts = changed(owner.components, "board")
        owner.components = {name: value for name, value in facts.items() if name not in ("machine_id", "memory")}
    elif how == "reboot":
        owner.components = changed(owner.components, "boot")
    assert [owner.sync().status for _ in range(3)] == [ACCEPTED] * 3
    assert found(server, owner) == ("active", [])


def test_hardware_part_changed(server: ServerProcess, owner: Node) -> None:
    before = digest(owner.components)
    owner = owner.copy(components=changed(owner.components, "storage", "disk"))
    assert owner.sync().status == ACCEPTED
    facts = shown(server, owner)
    [alert] = facts["alerts"]
    assert (facts["state"], alert["code"], alert["evidence"]["place"]) == ("active", "fingerprint_drift", "drift")
    assert alert["evidence"]["cause"] is None
    assert alert["evidence"]["accepted_now"]["fingerprint"] == digest(owner.components) != before

    # After five it is the baseline: what would be another machine beside the first one is a changed part beside it.
    assert [owner.sync().status for _ in range(4)] == [ACCEPTED] * 4
    owner = owner.copy(components=changed(owner.components, "machine_id", "cpu"))
    assert owner.sync().status == ACCEPTED


def test_moved_to_another_machine_the_old_one_gone(server: ServerProcess, owner: Node) -> None:
    old = digest(owner.components)
    moved = owner.copy(components=machine())
    assert [moved.sync().refusal for _ in range(4)] == [MISMATCH] * 4
    state, codes = found(server, owner)
    assert (state, codes) == ("active", ["fingerprint_mismatch"])
    evidence = shown(server, owner)["alerts"][0]["evidence"]
    assert (evidence["continuity"], evidence["place"], evidence["cause"]) == ("continues", "elsewhere", None)
    assert evidence["suspends"] is False
    assert (evidence["accepted_last"]["fingerprint"], evidence["refused_now"]["fingerprint"]) == (
        old,
        digest(moved.components),
    )
    assert owner.sync().status == ACCEPTED, "nothing had moved"

    moved.ticket = owner.ticket
    json_of("nodes", "approve-move", "--data-dir", server.data_dir, owner.node_id)
    assert [moved.sync().status for _ in range(2)] == [ACCEPTED] * 2
    state, codes = found(server, owner)
    assert (state, codes[0]) == ("active", "node_moved")
    assert owner.copy().sync().status != ACCEPTED, "it was approved for one machine, not for both"


def test_state_copied_both_run_other_host(server: ServerProcess, owner: Node) -> None:
    copy = owner.copy(components=machine())
    assert copy.sync().refusal == MISMATCH, "while it holds the newest ticket, it looks like a move"
    assert [owner.sync().status for _ in range(2)] == [ACCEPTED] * 2
    assert copy.sync().refusal == CONFLICT
    assert owner.sync().refusal == SUSPENDED
    evidence = forked(server, owner)
    assert (evidence["cause"], evidence["place"]) == ("copy_other_host", "elsewhere")
    assert evidence["accepted_last"]["session"] == owner.session
    assert evidence["refused_now"]["session"] == copy.session


def test_state_copied_both_run_same_host(server: ServerProcess, owner: Node) -> None:
    copy = owner.copy(components=changed(owner.components, "storage"))
    assert [owner.sync().status for _ in range(2)] == [ACCEPTED] * 2
    assert copy.sync().refusal == CONFLICT
    assert owner.sync().refusal == SUSPENDED
    assert forked(server, owner)["cause"] == "copy_same_host"


def test_two_holders_fork_at_their_third_request_at_the_latest(server: ServerProcess, owner: Node) -> None:
    copy = owner.copy()
    replies = [each.sync() for each in (copy, owner, copy, owner)]
    refusals = [reply.refusal for reply in replies if reply.status != ACCEPTED]
    assert CONFLICT in [reply.refusal for reply in replies[:3] if reply.status != ACCEPTED]
    assert refusals[-1] == SUSPENDED
    forked(server, owner)


def test_virtual_machine_cloned_live(server: ServerProcess, owner: Node) -> None:
    clone = replace(owner)
    assert owner.sync().status == ACCEPTED
    assert clone.sync().refusal == SUPERSEDED, "the same session under the same number"
    assert found(server, owner) == ("active", [])
    assert owner.sync().status == ACCEPTED
    assert clone.sync().refusal == SUPERSEDED
    assert clone.sync().refusal == CONFLICT
    assert owner.sync().refusal == SUSPENDED
    evidence = forked(server, owner)
    assert evidence["cause"] == "live_clone"
    assert evidence["accepted_last"]["session"] == evidence["refused_now"]["session"]


@pytest.mark.parametrize("part", ["boot", ""], ids=["rebooted", "not rebooted"])
def test_restored_from_an_old_backup_or_snapshot(server: ServerProcess, owner: Node, part: str) -> None:
    backup = owner.copy()
    assert [owner.sync().status for _ in range(2)] == [ACCEPTED] * 2
    restored = backup.copy(components=changed(owner.components, part))
    assert restored.sync().refusal == CONFLICT
    assert restored.sync().refusal == SUSPENDED
    evidence = forked(server, owner)
    assert evidence["cause"] == "rollback"
    assert evidence["refused_now"]["ticket_counter"] < evidence["accepted_last"]["ticket_counter"]


@pytest.mark.parametrize("where", ["the owner's machine", "another machine"])
@pytest.mark.parametrize("counter", [1, 7])
def test_key_stolen_state_not(server: ServerProcess, owner: Node, where: str, counter: int) -> None:
    thief = owner.copy(ticket=f"{counter}.{nonce_from(secrets.token_bytes(16))}")
    if where == "another machine":
        thief.components = machine()
    assert thief.sync().refusal == CONFLICT
    assert owner.sync().refusal == SUSPENDED
    evidence = forked(server, owner)
    assert evidence["cause"] == "stolen_key"
    assert evidence["place"] == ("elsewhere" if where == "another machine" else "same")


@pytest.mark.parametrize("ticket", ["issued", "from", "void"])
def test_fingerprint_changes_within_a_session(server: ServerProcess, owner: Node, ticket: str) -> None:
    first = owner.ticket
    for _ in range({"issued": 0, "from": 1, "void": 2}[ticket]):
        assert owner.sync().status == ACCEPTED
    owner.ticket = first
    owner.components = machine()
    assert owner.sync().refusal == MISMATCH
    assert owner.sync().refusal == SUSPENDED
    evidence = forked(server, owner, "fingerprint_mismatch")
    assert (evidence["cause"], evidence["place"]) == ("live_clone", "elsewhere")


@pytest.mark.parametrize("mark", ["machine_id", "boot"])
def test_another_node_enrols_on_the_same_machine(server: ServerProcess, owner: Node, mark: str) -> None:
    before = json_of("nodes", "list", "--data-dir", server.data_dir)
    same = {**machine(), mark: owner.components[mark]}
    refused = enrols(server, same)
    assert refused.refusal == DUPLICATE
    assert owner.node_id not in refused.json["detail"]
    facts = shown(server, owner)
    [alert] = facts["alerts"]
    assert (facts["state"], alert["code"]) == ("active", "fingerprint_duplicate")
    assert alert["evidence"]["name"] == "attic-pi"
    assert alert["evidence"].get("cause") is None
    assert owner.sync().status == ACCEPTED
    assert len(json_of("nodes", "list", "--data-dir", server.data_dir)) == len(before)

    replacement = enrols(server, same, "--replaces", owner.node_id)
    assert replacement.status == 201
    assert found(server, owner)[0] == "revoked"


def test_equal_models_of_hardware_are_not_one_machine(server: ServerProcess, owner: Node) -> None:
    twin = changed(owner.components, "machine_id", "boot", "storage")
    assert enrols(server, twin).status == 201
    assert found(server, owner) == ("active", [])


def test_answer_lost_node_retries(server: ServerProcess, owner: Node) -> None:
    for _ in range(3):
        ticket = owner.ticket
        assert owner.sync().status == ACCEPTED
        owner.ticket = ticket
        assert owner.sync().status == ACCEPTED
    restarted = owner.copy()
    restarted.ticket = ticket
    assert restarted.sync().status == ACCEPTED, "the process may have died before it had the answer"
    assert found(server, owner) == ("active", [])


def test_request_delayed_in_the_network(server: ServerProcess, owner: Node) -> None:
    delayed = replace(owner)
    owner.request += 1
    earlier = int(time.time()) - 1
    assert owner.sync().status == ACCEPTED
    assert [delayed.sync(created=earlier, request=2).refusal for _ in range(5)] == [SUPERSEDED] * 5
    assert owner.sync().status == ACCEPTED
    assert found(server, owner) == ("active", [])
