"""Syncs over real HTTP: what is acknowledged is stored, what is refused moves nothing, and nothing is held too long."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from node_protocol.signatures import nonce_from
from tests.control_plane.support import (
    FrozenServer,
    Node,
    ServerProcess,
    changed,
    control_plane,
    enrolled,
    event,
    eventually,
    exchange,
    json_of,
    read_reply,
    request_bytes,
)


@pytest.fixture
def node(server: ServerProcess) -> Node:
    return enrolled(server.address, server.token())


def stored(server: ServerProcess, node: Node, *options: object) -> list[dict[str, Any]]:

    done = control_plane("events", "tail", *server.database, "--node", node.node_id, "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def place(server: ServerProcess, node: Node, *options: object) -> str:
    arguments = ("--symbol", "BTC/USD", "--side", "buy", "--type", "limit", "--amount", "0.010", "--price", "40000")
    told = json_of("orders", "place", *server.database, "--node", node.node_id, *arguments, *options)
    command_id: str = told["command_id"]
    return command_id


def test_events_are_stored_once_and_told_as_they_were_sent(server: ServerProcess, node: Node) -> None:
    first = node.sync(events=[event(1, price="40000.10", n=1), event(2)])
    again = node.sync(events=[event(2), event(3)])
    assert (first.json["acked_through"], again.json["acked_through"]) == (2, 3)

    found = stored(server, node)
    assert [each["seq"] for each in found] == [1, 2, 3]
    assert found[0]["data"] == {"text": "note 1", "price": "40000.10", "n": 1}
    assert {"id", "at", "type", "node_id", "received_at"} < found[0].keys()
    assert [each["seq"] for each in stored(server, node, "--from-seq", 3)] == [3]


def test_a_gap_is_refused_with_the_last_number_and_moves_nothing(server: ServerProcess, node: Node) -> None:
    node.sync(events=[event(1)])
    for events in ([event(3)], [event(2), event(4)], [event(3), event(2)]):
        reply = node.sync(events=events)
        assert reply.refusal == (409, "event_gap", True)
        assert reply.json["last_seq"] == 1
    assert [each["seq"] for each in stored(server, node)] == [1]
    assert node.sync(events=[event(2)]).json["acked_through"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        event(1, extra=1),
        event(1) | {"id": "ev_other"},
        event(1) | {"type": "node.started"},
        event(1) | {"at": "2026-11-24T09:00:00.001Z"},
    ],
)
def test_another_event_under_a_stored_number_is_a_conflict(
    server: ServerProcess, node: Node, changed: dict[str, Any]
) -> None:
    node.sync(events=[event(1)])
    assert node.sync(events=[changed, event(2)]).refusal == (409, "event_conflict", True)
    assert [each["data"] for each in stored(server, node)] == [event(1)["data"]]
    assert node.sync(events=[event(1), event(2)]).json["acked_through"] == 2


def test_one_sync_cannot_bring_two_events_under_one_number(server: ServerProcess, node: Node) -> None:
    assert node.sync(events=[event(1), event(1, extra=1)]).refusal == (409, "event_conflict", True)
    assert stored(server, node) == []


def test_a_captured_sync_is_replayed_and_still_so_after_a_restart(server: ServerProcess, node: Node) -> None:

    body = json.dumps(node.message(events=[event(1)])).encode()
    headers = node.signer.sign("/v1/sync", body)
    assert node.signer.send("/v1/sync", headers, body).status == 200
    assert node.signer.send("/v1/sync", headers, body).refusal == (409, "replayed", True)
    server.end(signal.SIGKILL)
    server.start()
    assert node.signer.send("/v1/sync", headers, body).refusal == (409, "replayed", True)


def test_of_racing_copies_of_one_sync_one_is_accepted(node: Node) -> None:

    body = json.dumps(node.message(events=[event(1)])).encode()
    headers = node.signer.sign("/v1/sync", body)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: node.signer.send("/v1/sync", headers, body), range(16)))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 15


def test_a_sync_is_fresh_for_exactly_120_seconds_both_ways(frozen: FrozenServer) -> None:
    node = frozen.node()
    for offset in (-120, 0, 120):
        assert node.sync(created=frozen.clock.seconds + offset).status == 200
    for offset in (-121, 121):
        reply = node.sync(created=frozen.clock.seconds + offset)
        assert reply.refusal == (401, "stale", True)
        assert reply.json["server_time"] == "2026-11-24T09:00:00.000Z"
    assert node.sync(created=frozen.clock.seconds).status == 200


def test_an_answer_that_was_lost_is_retried(node: Node) -> None:
    ticket = node.ticket
    node.sync(events=[event(1)])
    node.ticket = ticket
    assert node.sync(events=[event(1)]).json["acked_through"] == 1
    assert node.sync().status == 200


def test_two_holders_of_one_state_are_suspended_and_the_operator_is_told(server: ServerProcess, node: Node) -> None:
    node.sync()
    copy = node.copy()
    replies = [node.sync(), copy.sync(), node.sync(), copy.sync()]
    assert [reply.refusal for reply in replies if reply.status != 200][:2] == [
        (409, "ticket_conflict", True),
        (403, "suspended", True),
    ]

    shown = json_of("nodes", "show", *server.database, node.node_id)
    assert shown["state"] == "suspended"
    [alert] = shown["alerts"]
    assert alert["code"] == "ticket_conflict"
    assert alert["evidence"]["suspends"] is True
    assert {alert["evidence"]["accepted_last"]["session"], alert["evidence"]["refused_now"]["session"]} == {
        node.session,
        copy.session,
    }
    refused = control_plane("orders", "cancel", *server.database, "--node", node.node_id, "--client-order-id", "x")
    assert refused.returncode == 1
    assert "suspended" in refused.stderr


def test_the_third_packet_in_a_row_that_is_late_for_no_reason_is_a_fork(server: ServerProcess, node: Node) -> None:
    node.sync()
    twin = node.copy(session=node.session)
    refusals = [twin.sync(request=1).refusal for _ in range(4)]
    late = (409, "superseded", True)
    assert refusals == [late, late, (409, "ticket_conflict", True), (403, "suspended", True)]
    [alert] = json_of("nodes", "show", *server.database, node.node_id)["alerts"]
    assert (alert["reason"], alert["evidence"]["cause"]) == ("superseded_too_often", "live_clone")


def test_a_salt_of_another_server_is_refused(node: Node) -> None:
    node.salt_id = "another"
    assert node.sync().refusal == (422, "invalid_payload", True)


def test_a_held_sync_is_woken_by_an_order(server: ServerProcess, node: Node) -> None:
    line, headers = node.hold(25)
    with line:
        command_id = place(server, node)
        reply = node.signer.judged(read_reply(line), headers)
    assert reply.signed
    [command] = reply.json["commands"]
    assert command["id"] == command_id
    assert command["type"] == "order.place"
    assert command["data"] == {
        "exchange": "paper",
        "symbol": "BTC/USD",
        "side": "buy",
        "type": "limit",
        "amount": "0.01",
        "price": "40000",
    }


def test_a_command_comes_again_until_it_is_done(server: ServerProcess, node: Node) -> None:
    first, second = place(server, node), place(server, node)
    assert [each["id"] for each in node.sync().json["commands"]] == [first, second]
    assert [each["id"] for each in node.sync(done_commands=[first]).json["commands"]] == [second]
    assert [each["id"] for each in node.sync(done_commands=[first, "cmd_unknown"]).json["commands"]] == [second]
    assert node.sync(done_commands=[second]).json["commands"] == []
    listed = json_of("orders", "list", *server.database, "--node", node.node_id)
    assert [each["state"] for each in listed["commands"]] == ["done", "done"]


def test_what_became_of_a_command_is_told_by_its_node(server: ServerProcess, node: Node) -> None:
    limited, late, odd, foreign, carried_out = (place(server, node) for _ in range(5))
    told = [
        ("intent.refused", {"command_id": limited, "rule": "max_order_notional", "detail": "at most\n100"}),
        ("command.refused", {"command_id": limited, "rule": "max_order_notional"}),
        ("command.expired", {"command_id": late, "rule": "expired"}),
        ("command.refused", {"command_id": odd, "rule": ["\x1b[2J"], "detail": {"command_id": foreign}}),
        ("command.refused", {"command_id": [foreign], "rule": "x"}),
        ("intent.refused", {"strategy": "s", "rule": "paused"}),
        ("node.note", {"command_id": carried_out, "text": "as asked"}),
    ]
    events = [event(seq) | {"type": kind, "data": data} for seq, (kind, data) in enumerate(told, 1)]
    node.sync(events=events, done_commands=[limited, late, odd, carried_out])
    other = enrolled(server.address, server.token())
    about_it = {"type": "command.refused", "data": {"command_id": foreign, "rule": "x"}}
    other.sync(events=[event(1) | about_it], done_commands=[foreign])

    arguments = ("orders", "list", *server.database, "--node", node.node_id)
    assert [(each["state"], each["rule"], each["detail"]) for each in json_of(*arguments)["commands"]] == [
        ("refused", "max_order_notional", "at most?100"),
        ("expired", "expired", None),
        ("refused", None, None),
        ("sent", None, None),
        ("done", None, None),
    ]
    lines = control_plane(*arguments).stdout.splitlines()
    assert [line.partition("}")[2] for line in lines] == ["  max_order_notional: at most?100", "  expired", "", "", ""]


def test_a_node_cannot_end_the_commands_of_another(server: ServerProcess, node: Node) -> None:
    command_id = place(server, node)
    other = enrolled(server.address, server.token())
    assert other.sync(done_commands=[command_id]).json["commands"] == []
    assert [each["id"] for each in node.sync().json["commands"]] == [command_id]


def test_a_command_that_has_expired_still_comes_until_the_node_has_told_so(server: ServerProcess, node: Node) -> None:
    late, kept = place(server, node, "--expires", "1s"), place(server, node)

    def expired() -> bool:
        listed = json_of("orders", "list", *server.database, "--node", node.node_id)
        return [each["state"] for each in listed["commands"]] == ["expired", "waiting"]

    eventually(expired)
    assert [each["id"] for each in node.sync().json["commands"]] == [late, kept]
    told = event(1) | {"type": "command.expired", "data": {"command_id": late, "rule": "expired"}}
    assert [each["id"] for each in node.sync(done_commands=[late], events=[told]).json["commands"]] == [kept]


def test_a_held_sync_that_was_overtaken_brings_nothing(server: ServerProcess, node: Node) -> None:
    line, headers = node.hold(25)
    with line:
        eventually(lambda: _last_sync_at(server, node) is not None)
        node.sync()  # the answer that is held is given up, as by a node that has something to say
        command_id = place(server, node)
        assert node.signer.judged(read_reply(line), headers).refusal == (409, "superseded", True)
    assert [each["id"] for each in node.sync().json["commands"]] == [command_id]


def test_a_node_that_is_suspended_while_it_is_held_is_told_so(server: ServerProcess, node: Node) -> None:
    line, headers = node.hold(25)
    with line:
        line.settimeout(20)
        eventually(lambda: _last_sync_at(server, node) is not None)
        assert node.copy(ticket="7." + "x" * 22).sync().refusal[1] == "ticket_conflict"
        assert node.signer.judged(read_reply(line), headers).refusal == (403, "suspended", True)


def test_a_changed_part_of_the_machine_is_recorded_for_the_operator(server: ServerProcess, node: Node) -> None:
    node.components = changed(node.components, "storage", "disk")
    assert node.sync().status == 200
    [alert] = json_of("nodes", "show", *server.database, node.node_id)["alerts"]
    assert (alert["code"], alert["evidence"]["place"]) == ("fingerprint_drift", "drift")


def test_a_sync_with_news_is_answered_at_once_and_one_without_is_held(node: Node) -> None:
    line, _ = node.hold(25, events=[event(1)])
    with line:
        line.settimeout(10)
        answered = read_reply(line)
    assert answered.json["acked_through"] == 1
    node.ticket = answered.json["ticket"]

    line, _ = node.hold(25)
    with line:
        line.settimeout(0.5)
        with pytest.raises(TimeoutError):
            line.recv(1)


def test_a_held_sync_ends_with_its_wait(node: Node) -> None:
    assert node.sync(wait=1).status == 200


def test_a_client_that_goes_away_while_it_is_held_loses_nothing(server: ServerProcess, node: Node) -> None:
    ticket = node.ticket
    for _ in range(3):
        line, _headers = node.hold(25)
        line.close()
    command_id = place(server, node)
    node.ticket = ticket

    def brought() -> bool:
        reply = node.sync(events=[event(1)])
        return [each["id"] for each in reply.json["commands"]] == [command_id]

    eventually(brought)
    assert [each["seq"] for each in stored(server, node)] == [1]


def test_sigterm_answers_held_syncs_and_ends_well(server: ServerProcess, node: Node) -> None:
    line, headers = node.hold(25)
    with line:
        eventually(lambda: _last_sync(server, node) is not None)
        code = server.end()
        reply = node.signer.judged(read_reply(line), headers)
    assert code == 0
    assert (reply.status, reply.signed) == (200, True)


def _last_sync(server: ServerProcess, node: Node) -> str | None:
    moment: str | None = json_of("nodes", "show", *server.database, node.node_id)["last_sync_at"]
    return moment


def test_a_server_that_is_killed_in_mid_flight_loses_no_acknowledged_event(server: ServerProcess, node: Node) -> None:
    acknowledged, stop, trouble = [0], threading.Event(), []

    def report() -> None:
        while not stop.is_set():
            first = acknowledged[0] + 1
            try:
                reply = node.sync(events=[event(seq) for seq in range(first, first + 5)])
            except OSError:
                continue
            if reply.status == 200:
                acknowledged[0] = reply.json["acked_through"]
            elif reply.json["code"] != "unavailable":
                trouble.append(reply.body)
                return

    thread = threading.Thread(target=report)
    thread.start()
    try:
        for _ in range(4):
            before = acknowledged[0]
            eventually(lambda before=before: acknowledged[0] > before + 20 or bool(trouble))  # type: ignore[misc]
            server.end(signal.SIGKILL)
            server.start()
    finally:
        stop.set()
        thread.join()
    assert not trouble
    numbers = [each["seq"] for each in stored(server, node)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= acknowledged[0]


def test_orders_are_listed_as_their_events_tell_them(server: ServerProcess, node: Node) -> None:
    order = {
        "client_order_id": "o1",
        "exchange": "paper",
        "symbol": "BTC/USD",
        "side": "buy",
        "type": "limit",
        "amount": "0.01",
    }
    node.sync(
        events=[
            event(1) | {"type": "order.open", "data": {**order, "filled": "0"}},
            event(2) | {"type": "trade", "data": {"client_order_id": "o1", "price": "1"}},
            event(3) | {"type": "order.filled", "data": {**order, "filled": "0.01"}},
        ]
    )
    listed = json_of("orders", "list", *server.database, "--node", node.node_id)
    assert listed["orders"] == [{**order, "filled": "0.01", "state": "filled", "seq": 3}]


def test_refusals_before_the_signature_are_not_signed_and_all_alike(server: ServerProcess, node: Node) -> None:

    body = json.dumps(node.message()).encode()
    headers = node.signer.sign("/v1/sync", body)
    unsigned = [each for each in headers if each[0] != "signature"]
    replies = [
        node.signer.send("/v1/sync", headers, body.replace(b'"good"', b'"gold"')),
        exchange(server.address, request_bytes("/v1/sync", unsigned, body)),
        exchange(server.address, request_bytes("/v1/keys", headers, body)),
        exchange(server.address, request_bytes("/v1/sync", headers, body, method="PUT")),
    ]
    assert {(reply.status, reply.body, reply.signed) for reply in replies} == {(401, replies[0].body, False)}
    assert node.signer.send("/v1/sync", headers, body).status == 200


def test_a_body_of_another_form_is_told_where_and_signed(node: Node) -> None:
    reply = node.sync(surprise=1)
    assert reply.refusal == (422, "invalid_payload", True)
    assert reply.json["errors"][0]["at"] == "surprise"
    for body in (b"", b"{}", b'{"a":1,"a":2}', b"NaN", b"[" * 10_000, b"\xff", b'{"protocol":1} {}'):
        headers = node.signer.sign("/v1/sync", body, nonce=nonce_from(secrets.token_bytes(16)))
        assert node.signer.send("/v1/sync", headers, body).refusal == (422, "invalid_payload", True)
    assert node.sync().status == 200


def test_a_database_that_is_gone_is_unavailable_and_never_acceptance(server: ServerProcess, node: Node) -> None:

    server.execute("ALTER TABLE node_keys RENAME TO elsewhere")
    reply = node.sync(events=[event(1)])
    assert reply.refusal == (503, "unavailable", False)
    assert reply.header("retry-after") == "5"


def _last_sync_at(server: ServerProcess, node: Node) -> str | None:
    found: str | None = json_of("nodes", "show", *server.database, node.node_id)["last_sync_at"]
    return found
