"""What comes over the line byte by byte: raw targets, repeated lines, sizes, and no bytes that make the server fail."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from node_protocol import MAX_BODY
from tests.control_plane.support import (
    DEADLINE,
    Node,
    Reply,
    ServerProcess,
    enrolled,
    exchange,
    read_reply,
    request_bytes,
)

UNAUTHENTICATED = (401, "unauthenticated", False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for requests that change nothing."""
    started = ServerProcess(tmp_path_factory.mktemp("control_plane") / "server").start()
    yield started
    started.end()


@pytest.fixture(scope="module")
def node(shared: ServerProcess) -> Node:
    """A node of that server."""
    return enrolled(shared.address, shared.token())


def signed(node: Node) -> tuple[list[tuple[str, str]], bytes]:
    """The headers and body of a good sync."""
    body = json.dumps(node.message()).encode()
    return node.signer.sign("/v1/sync", body), body


@pytest.mark.parametrize(
    "target",
    [
        "/v1/sync?",
        "/v1/sync?a=1",
        "/v1/sync#",
        "/v1/%73ync",
        "/v1//sync",
        "//v1/sync",
        "/v1/./sync",
        "/v1/x/../sync",
        "/v1/sync/",
        "/V1/sync",
        "http://127.0.0.1/v1/sync",
        "http://{authority}/v1/sync",
    ],
)
def test_a_target_that_is_not_the_one_that_was_signed_is_unauthenticated(node: Node, target: str) -> None:
    headers, body = signed(node)
    authority = headers[0][1]
    reply = exchange(node.signer.address, request_bytes(target.replace("{authority}", authority), headers, body))
    assert reply.refusal == UNAUTHENTICATED
    good = node.signer.send("/v1/sync", headers, body)
    assert good.status == 200, "the same, well addressed, is good"
    node.ticket = good.json["ticket"]


def test_a_repeated_line_is_refused_wherever_it_stands(node: Node) -> None:
    for name in ("host", "content-type", "content-digest", "signature-input", "signature"):
        headers, body = signed(node)
        value = dict(headers)[name]
        for repeated in ([(name, value), *headers], [*headers, (name, value)], [*headers, (name.upper(), value)]):
            assert exchange(node.signer.address, request_bytes("/v1/sync", repeated, body)).refusal == UNAUTHENTICATED


def test_a_content_coding_is_refused(node: Node) -> None:
    headers, body = signed(node)
    for coding in ("gzip", "identity", ""):
        coded = [*headers, ("content-encoding", coding)]
        assert exchange(node.signer.address, request_bytes("/v1/sync", coded, body)).refusal == UNAUTHENTICATED


def test_blanks_around_a_value_are_not_of_it(node: Node) -> None:
    headers, body = signed(node)
    blank = [(name, f" \t{value} \t") for name, value in headers]
    message = request_bytes("/v1/sync", blank, body).replace(b"\r\n\r\n", b" \r\n\r\n", 1)
    assert f"content-length: {len(body)} \r\n".encode() in message
    reply = node.signer.judged(exchange(node.signer.address, message), headers)
    assert reply.status == 200, reply.body
    node.ticket = reply.json["ticket"]


def test_another_authority_is_unauthenticated(node: Node) -> None:
    headers, body = signed(node)
    for host in ("example.com", "127.0.0.1", "127.0.0.1:1", "localhost"):
        foreign = [("host", host), ("x-forwarded-host", headers[0][1]), *headers[1:]]
        assert exchange(node.signer.address, request_bytes("/v1/sync", foreign, body)).refusal == UNAUTHENTICATED


def test_a_body_of_exactly_1_mib_is_read_and_one_more_byte_is_not(node: Node) -> None:
    body = b" " * MAX_BODY
    assert node.signer.send("/v1/sync", node.signer.sign("/v1/sync", body), body).refusal[:2] == (
        422,
        "invalid_payload",
    )
    body += b" "
    reply = node.signer.send("/v1/sync", node.signer.sign("/v1/sync", body), body)
    assert reply.refusal == (413, "too_large", False)


def test_a_declared_size_over_the_limit_is_refused_before_a_byte_of_it_comes(node: Node) -> None:
    for size in (MAX_BODY + 1, 10**15):
        head = request_bytes("/v1/sync", [("host", "x")], b"").replace(
            b"content-length: 0", b"content-length: %d" % size
        )
        assert exchange(node.signer.address, head).refusal == (413, "too_large", False)


def test_a_body_in_chunks_is_refused_once_it_is_over_the_limit_though_it_has_no_end(node: Node) -> None:
    head = b"POST /v1/sync HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with socket.create_connection(node.signer.address, timeout=DEADLINE) as line:
        line.sendall(head)
        for _ in range(MAX_BODY // 0x10000 + 1):
            line.sendall(chunk)
        assert read_reply(line).refusal == (413, "too_large", False)


def test_a_head_without_an_end_is_refused(node: Node) -> None:
    with socket.create_connection(node.signer.address, timeout=DEADLINE) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(b"POST /v1/sync HTTP/1.1\r\nx: " + b"a" * 2**20)
        with contextlib.suppress(ConnectionError):
            assert read_reply(line).status == 400


def test_what_is_no_http_gets_problem_details(node: Node) -> None:
    reply = exchange(node.signer.address, b"this is no http\r\n\r\n")
    assert (reply.status, reply.header("content-type")) == (400, "application/problem+json")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/enroll/salt/", 404),
        ("POST", "/healthz", 405),
        ("POST", "/v1/enroll/salt", 405),
    ],
)
def test_what_is_not_there_gets_problem_details(shared: ServerProcess, method: str, path: str, status: int) -> None:
    reply = exchange(shared.address, request_bytes(path, [("host", "x")], b"", method=method))
    assert (reply.status, reply.json["status"], reply.header("content-type")) == (
        status,
        status,
        "application/problem+json",
    )


def test_health_and_readiness(shared: ServerProcess) -> None:
    for path, word in (("/healthz", "ok"), ("/readyz", "ready")):
        reply = exchange(shared.address, request_bytes(path, [("host", "x")], b"", method="GET"))
        assert (reply.status, reply.json) == (200, {"status": word})


def test_every_signed_answer_forbids_storing_and_transforming(node: Node) -> None:
    for reply in (node.sync(), node.sync(surprise=1)):
        assert reply.header("cache-control") == "no-store, no-transform"


_TOKENS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=':\r\n"(),/;<=>?@[\\]{}'), min_size=1
)
_VALUES = st.text(st.characters(min_codepoint=0, max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
_NAMES = st.sampled_from(["Signature", "signature-input", "content-digest", "content-type", "host", "content-encoding"])


def _acceptable(reply: Reply) -> None:
    assert 400 <= reply.status < 500
    assert reply.header("content-type") == "application/problem+json"
    assert reply.json["status"] == reply.status
    assert b"Traceback" not in reply.body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/v1/sync", "/v1/enroll", "/v1/keys"]),
    headers=st.lists(st.tuples(_NAMES | _TOKENS, _VALUES), max_size=8),
    body=st.binary(max_size=300),
)
@example(path="/v1/sync", headers=[("signature", "node=:" + "A" * 100_000 + ":")], body=b"")
def test_no_headers_and_no_body_make_a_signed_route_fail(
    shared: ServerProcess, path: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    reserved = ("content-length", "transfer-encoding", "connection", "expect", "upgrade")
    kept = [(name, value) for name, value in headers if name.lower() not in reserved]
    _acceptable(exchange(shared.address, request_bytes(path, kept, body)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300)
    | st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=10)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_signed_body_makes_a_signed_route_fail(node: Node, body: bytes) -> None:
    for path in ("/v1/sync", "/v1/keys"):
        reply = node.signer.send(path, node.signer.sign(path, body), body)
        assert reply.refusal == (422, "invalid_payload", True)
        _acceptable(reply)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=40))
def test_no_target_makes_the_server_fail(shared: ServerProcess, target: str) -> None:
    reply = exchange(shared.address, request_bytes(target, [("host", "x"), ("connection", "close")], b"{}"))
    _acceptable(reply)
