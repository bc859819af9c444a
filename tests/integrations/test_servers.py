"""One behaviour, whatever the framework and the server in front: nodes are believed, all else is refused in one way."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.client import ServerRefused
from node_protocol import MAX_BODY
from node_protocol.refusals import STATUS, Code
from node_protocol.signatures import nonce_from, sign_request
from tests.control_plane.support import DEADLINE, Reply, event, exchange, request_bytes
from tests.integrations.support import ROOT, SERVERS, Node, Server, running

SIGNAL = {"symbol": "BTC/USDT", "side": "buy"}
BODY = json.dumps(SIGNAL).encode()


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each of the servers, for all tests."""
    with running(request.param, SERVERS[request.param], tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture
def node(server: Server) -> Node:
    """A node that has not spoken yet."""
    return server.nodes.pop()


def post(node: Node, body: bytes = BODY, path: str = "/signals") -> Reply:
    """The answer to a signed POST, with its signature looked at."""
    return node.signer.send(path, node.signer.sign(path, body), body)


def refused(reply: Reply, code: Code, *, signed: bool) -> None:
    """The answer is the one refusal of this code, as the protocol has it."""
    assert reply.refusal == (STATUS[code], code, signed), reply.body
    assert reply.header("content-type") == "application/problem+json"
    assert reply.header("cache-control") == "no-store, no-transform"
    assert reply.json["status"] == reply.status
    assert reply.json["type"] == f"urn:trading-node:problem:{code}"


def test_a_payload_of_ones_own_is_authenticated_and_its_answer_signed(node: Node) -> None:
    for kept in (1, 2):
        assert node.ask("/signals", SIGNAL) == {"node": node.node_id, "kept": kept}


def test_a_node_syncs_and_its_events_are_acknowledged(node: Node) -> None:
    first = node.sync(events=[event(1), event(2)])
    assert (first["acked_through"], first["commands"]) == (2, [])
    assert node.sync(events=[event(2), event(3)])["acked_through"] == 3


def test_an_answer_is_bound_to_its_request(node: Node) -> None:
    headers, other = node.signer.sign("/signals", BODY), node.signer.sign("/signals", BODY)
    reply = exchange(node.signer.address, request_bytes("/signals", headers, BODY))
    assert reply.status == 200
    assert node.signer.judged(reply, headers).signed
    assert not node.signer.judged(reply, other).signed


def test_a_copy_is_refused_by_the_ticket_it_does_not_have(node: Node) -> None:
    stale = node.speaker.ticket
    for _ in range(3):
        node.sync()
    node.speaker.ticket = stale
    with pytest.raises(ServerRefused) as refusal:
        node.sync(session="x" * 22)
    assert refusal.value.problem.code == "ticket_conflict"
    with pytest.raises(ServerRefused) as refusal:
        node.sync()
    assert refusal.value.problem.code == "suspended"


def test_a_gap_in_the_events_is_refused_and_moves_no_ticket(node: Node) -> None:
    with pytest.raises(ServerRefused) as refusal:
        node.sync(events=[event(2)])
    assert (refusal.value.problem.code, refusal.value.problem.members["last_seq"]) == ("event_gap", 0)
    assert node.sync(events=[event(1)])["acked_through"] == 1


def test_a_replay_is_refused(node: Node) -> None:
    for path, body in (("/signals", BODY), ("/v1/sync", json.dumps(node.speaker.message()).encode())):
        headers = node.signer.sign(path, body)
        assert node.signer.send(path, headers, body).status == 200
        refused(node.signer.send(path, headers, body), Code.REPLAYED, signed=True)


def test_an_old_message_is_refused_and_its_sender_told_the_time(node: Node) -> None:
    reply = node.signer.post("/signals", SIGNAL, created=int(time.time()) - 200)
    refused(reply, Code.STALE, signed=True)
    assert reply.json["server_time"].endswith("Z")


def test_whoever_is_not_known_gets_one_answer(server: Server, node: Node) -> None:
    headers = node.signer.sign("/signals", BODY)
    stranger = [(name, value.replace(node.node_id, "n_" + "a" * 20)) for name, value in headers]
    for lines, body in ((headers, BODY + b" "), (stranger, BODY), (headers[:1], BODY), ([("host", "x")], BODY)):
        reply = exchange(server.address, request_bytes("/signals", lines, body))
        refused(reply, Code.UNAUTHENTICATED, signed=False)
        assert sorted(reply.json) == ["code", "status", "title", "type"]


def test_a_payload_that_is_not_as_it_must_be_is_refused_and_that_is_signed(node: Node) -> None:
    for body in (b"nonsense", b'{"symbol": "BTC/USDT"}'):
        reply = post(node, body)
        assert (reply.status, reply.signed, reply.header("content-type")) == (422, True, "application/problem+json")


def test_a_method_that_is_not_served_is_refused(server: Server, node: Node) -> None:
    host = f"{server.address[0]}:{server.address[1]}"
    signature = sign_request(
        node.signer.key,
        key_id=node.signer.key_id,
        method="PUT",
        authority=host,
        path="/signals",
        body=BODY,
        created=int(time.time()),
        nonce=nonce_from(b"m" * 16),
    )
    headers = [("host", host), *signature]
    reply = exchange(server.address, request_bytes("/signals", headers, BODY, method="PUT"))
    # Flask's decorator stands behind the routes, and its 405 is nobody's: a fault of the line.
    assert (reply.status, node.signer.judged(reply, headers).signed) == (405, "flask" not in server.name)


@pytest.mark.parametrize(
    "target",
    [
        "/signals?a=1",
        "/signals?",
        "/signals#",
        "/%73ignals",
        "/signals%2e",
        "/%2e/signals",
        "//signals",
        "/./signals",
        "/x/../signals",
        "/signals/",
        "/SIGNALS",
        "http://{authority}/signals",
    ],
)
def test_a_target_that_is_not_the_one_that_was_signed_is_not_accepted(server: Server, node: Node, target: str) -> None:
    headers = node.signer.sign("/signals", BODY)
    reply = exchange(server.address, request_bytes(target.replace("{authority}", headers[0][1]), headers, BODY))
    if target in server.loses:
        assert reply.status == 200
        headers = node.signer.sign("/signals", BODY)
    else:
        assert 300 < reply.status < 500
        assert not node.signer.judged(reply, headers).signed
    assert node.signer.send("/signals", headers, BODY).status == 200, "the same, well addressed, is good"


@pytest.mark.parametrize("target", ["/signals?a=1", "/%73ignals", "/v1/sync?a=1", "/v1/%73ync"])
def test_another_spelling_of_a_signed_path_gets_the_one_answer(server: Server, node: Node, target: str) -> None:
    headers = node.signer.sign("/signals", BODY)
    refused(exchange(server.address, request_bytes(target, headers, BODY)), Code.UNAUTHENTICATED, signed=False)


def test_a_repeated_line_is_refused_wherever_it_stands(server: Server, node: Node) -> None:
    for name in ("host", "content-type", "content-digest", "signature-input", "signature"):
        headers = node.signer.sign("/signals", BODY)
        value = dict(headers)[name]
        for repeated in ([(name, value), *headers], [*headers, (name, value)], [*headers, (name.upper(), value)]):
            reply = exchange(server.address, request_bytes("/signals", repeated, BODY))
            if reply.status != 400:  # some servers themselves have no patience with a second host or content type
                refused(reply, Code.UNAUTHENTICATED, signed=False)
        assert node.signer.send("/signals", headers, BODY).status == 200


def test_a_content_coding_is_refused(server: Server, node: Node) -> None:
    for coding in ("gzip", "identity"):
        headers = [*node.signer.sign("/signals", BODY), ("content-encoding", coding)]
        refused(exchange(server.address, request_bytes("/signals", headers, BODY)), Code.UNAUTHENTICATED, signed=False)


def test_another_authority_is_refused(server: Server, node: Node) -> None:
    headers = node.signer.sign("/signals", BODY, authority="elsewhere.example")
    forged = [*headers[1:], ("host", "elsewhere.example"), ("x-forwarded-host", f"127.0.0.1:{server.address[1]}")]
    refused(exchange(server.address, request_bytes("/signals", forged, BODY)), Code.UNAUTHENTICATED, signed=False)


def test_a_body_of_1_mib_is_read_and_one_more_byte_is_not(node: Node) -> None:
    body = BODY.ljust(MAX_BODY)
    assert (post(node, body).status, post(node, body).signed) == (200, True)
    refused(post(node, body + b" "), Code.TOO_LARGE, signed=False)


def test_a_declared_size_over_the_limit_is_refused_before_a_byte_of_it_comes(server: Server) -> None:
    for size in (MAX_BODY + 1, 10**15):
        for path in ("/signals", "/v1/sync"):
            head = request_bytes(path, [("host", "x")], b"").replace(b"length: 0", b"length: %d" % size)
            refused(exchange(server.address, head), Code.TOO_LARGE, signed=False)


def chunked(headers: list[tuple[str, str]], *chunks: bytes) -> bytes:
    """A POST to `/signals` without a Content-Length, and without an end."""
    lines = ["POST /signals HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "transfer-encoding: chunked"]
    parts = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return "\r\n".join((*lines, "", "")).encode() + b"".join(parts)


def test_a_body_in_chunks_is_read(server: Server, node: Node) -> None:
    headers = node.signer.sign("/signals", BODY)
    reply = exchange(server.address, chunked(headers, BODY[:5], BODY[5:]) + b"0\r\n\r\n")
    assert (reply.status, node.signer.judged(reply, headers).signed) == (200, True), reply.body


def test_a_body_in_chunks_is_refused_once_it_is_over_the_limit_though_it_has_no_end(server: Server) -> None:
    pieces = [bytes(0x10000)] * (MAX_BODY // 0x10000 + 1)
    refused(exchange(server.address, chunked([("host", "x")], *pieces)), Code.TOO_LARGE, signed=False)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_body_that_lies_about_its_length_is_not_accepted(server: Server, node: Node, by: int) -> None:
    headers = node.signer.sign("/signals", BODY)
    message = request_bytes("/signals", headers, BODY)
    lying = message.replace(b"length: %d" % len(BODY), b"length: %d" % (len(BODY) + by))
    with socket.create_connection(server.address, timeout=DEADLINE) as line:
        line.sendall(lying)
        line.shutdown(socket.SHUT_WR)
        answer = line.makefile("rb").read()
    assert b" 200 " not in answer
    assert node.signer.send("/signals", headers, BODY).status == 200, "its nonce was not spent"


def test_without_the_store_nothing_is_accepted_and_that_is_signed(server: Server, node: Node) -> None:
    sync = json.dumps(node.speaker.message()).encode()
    with server.without_store():
        for path, body in (("/signals", BODY), ("/v1/sync", sync)):
            refused(post(node, body, path), Code.UNAVAILABLE, signed=True)
    assert node.ask("/signals", SIGNAL)["kept"] == 1
    assert post(node, sync, "/v1/sync").status == 200


def test_the_command_that_makes_a_node_adds_it_to_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    for count in (1, 2):
        command = [sys.executable, "-m", "examples.new_node", str(tmp_path / "nodes.json")]
        subprocess.run(command, cwd=ROOT, check=True, timeout=DEADLINE)
        nodes = json.loads((tmp_path / "nodes.json").read_text())
        assert len({node["key"] for node in nodes}) == count
        assert (tmp_path / "nodes.json").stat().st_mode & 0o077 == 0
