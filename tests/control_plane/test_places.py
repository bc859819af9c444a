"""Where nodes may live, over real HTTP: how many on one machine, moves that are approved, tickets taken once."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from control_plane import places
from control_plane.database import open_database
from node_protocol.fingerprints import digest
from tests.control_plane.support import (
    ENVIRONMENT,
    Enrolment,
    FrozenServer,
    Node,
    ServerProcess,
    changed,
    control_plane,
    enrolled,
    json_of,
    machine,
)

VOID = "7." + "v" * 22
UNKNOWN = "n_" + "a" * 20


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that lets two nodes live on one machine."""
    started = ServerProcess(tmp_path / "roomy", ["--max-nodes-per-machine", "2"]).start()
    yield started
    started.end()


def shown(server: ServerProcess, node: Node) -> dict[str, Any]:
    facts: dict[str, Any] = json_of("nodes", "show", *server.database, node.node_id)
    return facts


def codes(server: ServerProcess, node: Node) -> list[str]:
    return [alert["code"] for alert in shown(server, node)["alerts"]]


def fails(code: int, server: ServerProcess, *arguments: object) -> str:
    """What a subcommand of `nodes` that fails with this code says."""
    done = control_plane("nodes", *arguments, *server.database)
    assert done.returncode == code, done
    return done.stderr


def suspend(node: Node) -> None:
    assert node.copy(ticket=VOID).sync().refusal == (409, "ticket_conflict", True)


@pytest.mark.parametrize("mark", ["machine_id", "boot"])
def test_a_second_node_on_a_machine_is_refused_and_the_operator_is_told_at_the_first(
    server: ServerProcess, mark: str
) -> None:
    first = enrolled(server.address, server.token())
    beside = machine() | {mark: first.components[mark]}
    second = Enrolment(server.address, server.token(), beside)

    reply = second.post(name="cellar-pi")

    assert reply.refusal == (403, "fingerprint_duplicate", True)
    assert first.node_id not in reply.body.decode()
    assert "attic-pi" not in reply.body.decode()
    for way_out in ("raise the limit", "--replaces", "stays good"):
        assert way_out in reply.json["detail"]
    assert second.post(name="cellar-pi").status == 403
    [alert] = shown(server, first)["alerts"]
    assert (alert["code"], alert["reason"]) == ("fingerprint_duplicate", "another_node_enrols")
    assert alert["evidence"] == {
        "name": "cellar-pi",
        "platform": "linux/amd64",
        "address": "127.0.0.1",
        "token_id": second.signer.key_id.removeprefix("enroll."),
    }
    assert first.sync().status == 200


def test_a_refused_duplicate_has_spent_no_token_and_left_no_node(server: ServerProcess) -> None:
    first = enrolled(server.address, server.token())
    token = server.token()
    assert Enrolment(server.address, token, first.components).post().status == 403
    assert len(json_of("nodes", "list", *server.database)) == 1
    assert enrolled(server.address, token).sync().status == 200


def test_hardware_of_one_make_is_no_one_machine(server: ServerProcess) -> None:
    first = enrolled(server.address, server.token())
    enrolled(server.address, server.token(), changed(first.components, "machine_id", "boot"))
    assert codes(server, first) == []


def test_who_enrols_again_because_the_answer_was_lost_is_no_duplicate_of_itself(server: ServerProcess) -> None:
    enrolment = Enrolment(server.address, server.token())
    first, second = enrolment.post(), enrolment.post()
    assert (first.status, second.status) == (201, 201)
    assert first.json["node_id"] == second.json["node_id"]


def test_of_two_that_race_for_one_machine_exactly_one_is_enrolled(server: ServerProcess) -> None:
    place = machine()
    racers = [Enrolment(server.address, server.token(), place) for _ in range(4)]
    with ThreadPoolExecutor(len(racers)) as pool:
        replies = list(pool.map(lambda racer: racer.post(), racers))
    assert sorted(reply.status for reply in replies) == [201, 403, 403, 403]
    assert {reply.json["code"] for reply in replies if reply.status == 403} == {"fingerprint_duplicate"}
    assert len(json_of("nodes", "list", *server.database)) == 1


def test_a_replacement_lives_where_the_node_lived_that_it_replaces(server: ServerProcess) -> None:
    old = enrolled(server.address, server.token())
    new = enrolled(server.address, server.token("--replaces", old.node_id), old.components)
    assert new.sync().status == 200
    assert old.sync().refusal == (403, "revoked", True)
    assert codes(server, old) == []
    assert shown(server, old)["machine"] is None, "what is revoked is forgotten, and in nobody's way"
    assert Enrolment(server.address, server.token(), old.components).post().refusal[1] == "fingerprint_duplicate"


def test_a_suspended_neighbour_does_not_count(server: ServerProcess) -> None:
    first = enrolled(server.address, server.token())
    first.sync()
    suspend(first)
    assert enrolled(server.address, server.token(), first.components).sync().status == 200


def test_as_many_nodes_as_are_allowed_live_on_one_machine_and_each_is_told_of_the_next(roomy: ServerProcess) -> None:
    place = machine()
    nodes = [enrolled(roomy.address, roomy.token(), changed(place, "storage")) for _ in range(2)]
    assert [node.sync().status for node in nodes] == [200, 200]
    assert Enrolment(roomy.address, roomy.token(), place).post().refusal == (403, "fingerprint_duplicate", True)
    assert [codes(roomy, node) for node in nodes] == [["fingerprint_duplicate"]] * 2


def test_a_limit_that_is_lowered_holds_for_those_that_live_there_already(roomy: ServerProcess) -> None:
    place = machine()
    nodes = [enrolled(roomy.address, roomy.token(), place) for _ in range(2)]
    roomy.end()
    roomy.arguments = ()
    roomy.start()
    assert [node.sync().refusal for node in nodes] == [(403, "fingerprint_duplicate", True)] * 2
    assert {shown(roomy, node)["state"] for node in nodes} == {"active"}
    assert codes(roomy, nodes[0]) == ["fingerprint_duplicate"]


def test_the_limit_is_taken_from_the_environment_too_and_has_bounds(tmp_path: Path) -> None:
    for wrong in ("0", "1001", "many"):
        environ = ENVIRONMENT | {"CONTROL_PLANE_MAX_NODES_PER_MACHINE": wrong}
        done = control_plane("serve", "--data-dir", tmp_path, "--port", 0, environ=environ)
        assert done.returncode == 2
        assert "--max-nodes-per-machine" in done.stderr


def test_a_move_is_approved_for_the_machine_that_the_node_was_refused_on(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    moved = node.copy(components=machine())
    assert moved.sync().refusal == (403, "fingerprint_mismatch", True)

    told = json_of("nodes", "approve-move", *server.database, node.node_id)

    [alert] = [each for each in shown(server, node)["alerts"] if each["code"] == "fingerprint_mismatch"]
    assert told == {"node_id": node.node_id, "approved": alert["evidence"]["refused_now"]}
    assert told["approved"]["session"] == moved.session
    assert told["approved"]["address"] == "127.0.0.1"
    facts = shown(server, node)
    assert (facts["machine"], facts["may_move_to"]) == (digest(node.components), digest(moved.components))

    assert node.copy(ticket=moved.ticket, components=machine()).sync().refusal[1] == "fingerprint_mismatch"
    assert moved.sync().status == 200
    assert moved.sync().status == 200
    facts = shown(server, node)
    assert (facts["machine"], facts["may_move_to"]) == (digest(moved.components), None)
    newest = next(each for each in facts["alerts"] if each["code"] == "node_moved")
    assert newest["evidence"]["accepted_now"] == {
        "session": moved.session,
        "request": 2,
        "fingerprint": digest(moved.components),
    }
    assert [each["code"] for each in reversed(facts["alerts"])] == [
        "fingerprint_mismatch",
        "move_approved",
        "fingerprint_mismatch",
        "node_moved",
    ]


def test_of_two_machines_that_ask_the_one_that_is_named_is_approved(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    wanted, other = node.copy(components=machine()), node.copy(components=machine())
    for each in (wanted, other):
        assert each.sync().refusal[1] == "fingerprint_mismatch"
    approve = ("nodes", "approve-move", *server.database, node.node_id)
    said = control_plane(*approve, "--fingerprint", digest(wanted.components)).stdout
    for fact in (digest(wanted.components), wanted.session, "127.0.0.1"):
        assert fact in said
    assert wanted.sync().status == 200
    assert "was not refused on the machine" in fails(1, server, "approve-move", node.node_id, "--fingerprint", "x")


def test_a_machine_that_is_restarted_before_it_was_approved_asks_for_itself_again(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    moved = node.copy(components=machine())
    moved.sync()
    restarted = moved.copy(components=changed(moved.components, "boot"))
    restarted.sync()
    json_of("nodes", "approve-move", *server.database, node.node_id)
    assert restarted.sync().status == 200


def test_the_same_machine_that_asks_again_and_again_is_one_alert(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    moved = node.copy(components=machine())
    for _ in range(3):
        moved.sync()
    for _ in range(25):
        node.copy(components=machine()).sync()
    assert codes(server, node) == ["fingerprint_mismatch"] * 20, "nobody fills the table by making machines up"


def test_what_cannot_be_approved_is_told_with_what_helps(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    told = fails(1, server, "approve-move", node.node_id)
    assert f"{node.node_id} was not refused on another machine" in told
    assert "hint: `control-plane nodes show" in told
    moved = node.copy(components=machine())
    moved.sync()
    json_of("nodes", "approve-move", *server.database, node.node_id)
    moved.sync()
    assert "already" in fails(1, server, "approve-move", node.node_id)
    suspend(moved)
    told = fails(1, server, "approve-move", node.node_id)
    assert f"{node.node_id} is suspended" in told
    assert f"--replaces {node.node_id}" in told
    new = enrolled(server.address, server.token("--replaces", node.node_id), moved.components)
    for word in ("approve-move", "accept-next"):
        assert f"hint: {new.node_id} has taken its place" in fails(1, server, word, node.node_id)
        assert "has enrolled here" in fails(1, server, word, UNKNOWN)


def test_a_node_does_not_move_to_where_another_lives_even_when_it_may_move(server: ServerProcess) -> None:
    node, neighbour = (enrolled(server.address, server.token()) for _ in range(2))
    node.sync()
    moved = node.copy(components=machine() | {"machine_id": neighbour.components["machine_id"]})
    assert moved.sync().refusal[1] == "fingerprint_mismatch"
    json_of("nodes", "approve-move", *server.database, node.node_id)
    assert moved.sync().refusal[1] == "fingerprint_duplicate"
    assert neighbour.sync().status == 200
    assert shown(server, node)["state"] == "active"


def test_an_armed_node_s_next_ticket_is_taken_once_and_on_the_record(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()

    told = json_of("nodes", "accept-next", *server.database, node.node_id, "--for", "2h")

    assert (told["armed"], told["suspended"]) == ([node.node_id], [])
    facts = shown(server, node)
    [alert] = facts["alerts"]
    assert (alert["code"], alert["reason"]) == ("accept_next_armed", "by_the_operator")
    assert alert["evidence"]["until"] == told["until"]
    assert facts["next_ticket_until"][:19] == told["until"][:19]

    restored = node.copy(ticket=VOID)
    assert restored.sync().status == 200
    assert restored.sync().status == 200
    facts = shown(server, node)
    assert [each["code"] for each in facts["alerts"]] == ["ticket_restored", "accept_next_armed"]
    assert facts["alerts"][0]["evidence"]["accepted_now"]["session"] == restored.session
    assert (facts["state"], facts["next_ticket_until"]) == ("active", None)

    assert node.copy(ticket="8." + "v" * 22).sync().refusal[1] == "ticket_conflict", "it was good for one ticket"
    assert shown(server, node)["state"] == "suspended"


def test_each_time_that_the_operator_s_word_is_used_is_on_the_record(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    for counter in (7, 9):
        json_of("nodes", "accept-next", *server.database, node.node_id)
        node = node.copy(ticket=f"{counter}." + "v" * 22)
        assert node.sync().status == 200
    assert codes(server, node) == ["ticket_restored", "accept_next_armed"] * 2

    home, away = node.components, machine()
    for there in (away, home, away):
        node = node.copy(components=there)
        assert node.sync().refusal[1] == "fingerprint_mismatch"
        approve = ("nodes", "approve-move", *server.database, node.node_id)
        json_of(*approve, "--fingerprint", digest(there))
        assert node.sync().status == 200
    assert codes(server, node).count("node_moved") == 3


def test_all_are_armed_but_the_suspended_who_are_told_how_they_come_back(server: ServerProcess) -> None:
    first, second, suspended, old = (enrolled(server.address, server.token()) for _ in range(4))
    suspend(suspended)
    new = enrolled(server.address, server.token("--replaces", old.node_id))
    accept = ("nodes", "accept-next", *server.database, "--all")

    told = json_of(*accept)

    assert told["armed"] == [first.node_id, second.node_id, new.node_id]
    assert told["suspended"] == [suspended.node_id]
    lines = control_plane(*accept).stdout.splitlines()
    assert [line for line in lines if "stays suspended" in line] == [
        f"{suspended.node_id}  stays suspended: `control-plane token create{server.location.option}"
        f" --replaces {suspended.node_id}` lets it enrol anew"
    ]
    assert first.copy(ticket=VOID).sync().status == 200
    assert second.sync().status == 200
    assert suspended.sync().refusal[1] == "suspended"
    assert codes(server, first) == ["ticket_restored", "accept_next_armed", "accept_next_armed"]


def test_an_armed_node_is_a_node_like_any_other_once_the_time_is_over(frozen: FrozenServer) -> None:
    early, late = frozen.node(), frozen.node()
    until = frozen.clock() + timedelta(hours=1)
    with contextlib.closing(open_database(frozen.where)) as database:
        places.arm(database, [early.node_id, late.node_id], until, frozen.clock())
    frozen.clock.now = until
    assert early.copy(ticket=VOID).sync(created=frozen.clock.seconds).status == 200
    frozen.clock.now += timedelta(seconds=1)
    assert late.copy(ticket=VOID).sync(created=frozen.clock.seconds).refusal == (409, "ticket_conflict", True)


def test_arming_takes_one_node_or_all_and_a_time_within_bounds(server: ServerProcess) -> None:
    told = fails(1, server, "accept-next", "--all")
    assert "nothing is armed" in told
    assert "hint: `control-plane nodes list` shows how they stand" in told
    assert "name one node, or say --all" in fails(2, server, "accept-next")
    assert "name one node, or say --all" in fails(2, server, "accept-next", UNKNOWN, "--all")
    assert "name one node, or say --all" in fails(2, server, "accept-next", UNKNOWN, "--node", UNKNOWN)
    for wrong in ("59s", "8d", "soon"):
        assert "--for" in fails(2, server, "accept-next", "--all", "--for", wrong)


def test_a_node_whose_state_is_lost_is_unavailable_and_the_operator_is_told_what_helps(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    server.execute("DELETE FROM verifier_nodes")
    rotation = {"protocol": 1, "ticket": node.ticket, "public_key": "A" * 43}
    for reply in (node.sync(), node.signer.post("/v1/keys", rotation)):
        assert reply.refusal == (503, "unavailable", True)
    assert f"--replaces {node.node_id}" in fails(1, server, "accept-next", node.node_id)


def test_states_that_cannot_be_read_are_told_in_one_line(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    server.execute("ALTER TABLE verifier_nodes RENAME TO elsewhere")
    for word in ("show", "accept-next", "approve-move"):
        told = fails(1, server, word, node.node_id)
        assert told.startswith(f"control-plane: error: the database {server.location.name} does not answer: ")
        assert "Traceback" not in told


def test_the_help_says_when_and_what_it_costs() -> None:
    for word, taught in (("approve-move", "ask the owner"), ("accept-next", "restored from a backup")):
        said = re.sub(r"\s+", " ", control_plane("nodes", word, "--help").stdout)
        assert taught in said
