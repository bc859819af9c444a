"""`SignedPaths` as ASGI has it: what is no signed request passes or is closed, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from node_protocol.refusals import Code, Misuse, Refused
from node_protocol.signatures import signature_of, verify_response
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import AsyncVerifier, NodeKey, SignedRequest, Verifier
from verifier.integrations import asgi_io
from verifier.integrations.asgi import NotSigned, SignedPaths, sender_in, sync_in
from verifier.integrations.asgi_io import RAW_TARGET, App, Message, Receive, Scope, Send
from verifier.stores import MemoryStore

NODE = Node()
JSON = [(b"content-type", b"application/json")]


def verifier() -> AsyncVerifier:
    """A verifier that knows one node."""
    store = MemoryStore()
    NODE.ticket = "0." + "t" * 22
    NODE.enrol(store)

    async def find(key_id: str) -> NodeKey | None:
        return NODE.key if key_id == NODE.key_id else None

    return AsyncVerifier(keys=find, store=store, authorities=[AUTHORITY], now=lambda: NOW)


def scope_of(request: SignedRequest, **changes: Any) -> Scope:
    """The scope in which a server hands a request over."""
    headers = [(name.encode(), value.encode()) for name, value in request.headers]
    path = request.path.partition("?")[0]
    return {
        "type": "http",
        "method": request.method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("192.0.2.1", 1),
        **changes,
    }


class Line:
    """What comes from a client, and what went to it."""

    def __init__(self, *coming: Message) -> None:
        self._coming = list(coming)
        self.sent: list[Message] = []
        self.answered = asyncio.Event()

    async def receive(self) -> Message:
        if self._coming:
            return self._coming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nothing ends this wait")

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.answered.set()

    @property
    def status(self) -> int:
        """The answer's."""
        return int(self.sent[0]["status"])

    @property
    def value(self) -> Any:
        """The answer's body."""
        return json.loads(self.sent[1]["body"])

    def is_signed_for(self, request: SignedRequest) -> bool:
        """Whether the answer verifies as the one to this request."""
        try:
            verify_response(
                NODE.secret,
                key_id=NODE.key_id,
                status=self.status,
                headers=[(name.decode(), value.decode()) for name, value in self.sent[0]["headers"]],
                body=self.sent[1]["body"],
                request_signature=signature_of(request.headers),
            )
        except Refused:
            return False
        return True


def body_of(request: SignedRequest) -> Message:
    """The message that brings the whole body."""
    return {"type": "http.request", "body": request.body}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was handed."""
    await send({"type": "http.response.start", "status": 200, "headers": JSON})
    await send({"type": "http.response.body", "body": (await receive())["body"]})


def asked(app: App, scope: Scope, line: Line) -> Line:
    """The line, once the app is done with it."""
    asyncio.run(asyncio.wait_for(signed(app)(scope, line.receive, line.send), 10))
    return line


def signed(app: App) -> SignedPaths:
    """The app with its signed paths."""
    return SignedPaths(app, verifier(), authenticate=["/signals", "/nodes/"], verify=["/v1/sync", "/nodes/sync"])


@pytest.mark.parametrize("path", ["/signals", "/nodes/", "/nodes/deep/down", "/nodes/sync", "/v1/sync"])
def test_a_signed_path_is_for_nodes_alone(path: str) -> None:
    syncs = path.endswith("sync")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert sender_in(scope).key.node_id == NODE.node_id
        if syncs:
            assert sync_in(scope).ticket
        await echo(scope, receive, send)

    request = NODE.signed(None if syncs else b'{"a":1}', path=path)
    line = asked(app, scope_of(request), Line(body_of(request)))
    assert (line.status, line.value, line.is_signed_for(request)) == (200, json.loads(request.body), True)
    unsigned = scope_of(request, headers=JSON)
    assert asked(app, unsigned, Line(body_of(request))).value["code"] == "unauthenticated"


@pytest.mark.parametrize("path", ["/", "/signals/", "/signal", "/nodes", "/v1/sync/more"])
def test_other_paths_pass_as_they_are(path: str) -> None:
    line = asked(echo, scope_of(NODE.signed(b"{}"), path=path), Line({"type": "http.request", "body": b"<p>"}))
    assert line.sent == [
        {"type": "http.response.start", "status": 200, "headers": JSON},
        {"type": "http.response.body", "body": b"<p>"},
    ]


def test_a_websocket_to_a_signed_path_is_closed_and_to_another_it_passes() -> None:
    reached: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        reached.append(scope["type"] + scope.get("path", ""))

    line = asked(app, {"type": "websocket", "path": "/signals"}, Line())
    assert ([message["type"] for message in line.sent], reached) == (["websocket.close"], [])
    asked(app, {"type": "websocket", "path": "/chat"}, Line())
    asked(app, {"type": "lifespan"}, Line())
    assert reached == ["websocket/chat", "lifespan"]


def test_without_the_raw_target_nothing_is_accepted_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    request = NODE.signed(b"{}", path="/signals")
    line = asked(echo, scope_of(request, raw_path=None), Line(body_of(request)))
    assert (line.status, line.value["code"]) == (503, "unavailable")
    assert "does not tell the raw target" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"query_string": b"a=1"},
        {"raw_path": b"/%73ignals"},
        {"extensions": {RAW_TARGET: "/signals?"}},
        {"extensions": {RAW_TARGET: f"https://{AUTHORITY}/signals"}},
    ],
)
def test_a_target_is_what_was_sent_and_not_what_was_made_of_it(changes: dict[str, Any]) -> None:
    request = NODE.signed(b"{}", path="/signals")
    line = asked(echo, scope_of(request, **changes), Line(body_of(request)))
    assert (line.status, line.value["code"]) == (401, "unauthenticated")
    told = {"raw_path": b"/elsewhere", "extensions": {RAW_TARGET: "/signals"}}
    assert asked(echo, scope_of(request, **told), Line(body_of(request))).status == 200


def test_a_body_has_its_time_and_no_more() -> None:
    request = NODE.signed(b"{}", path="/signals")
    line = Line({"type": "http.request", "body": b"{", "more_body": True})
    with pytest.raises(Refused) as refused:
        asyncio.run(asyncio.wait_for(asgi_io.read(scope_of(request), line.receive, "/signals", seconds=0.05), 10))
    assert (refused.value.code, refused.value.reason) == (Code.UNAUTHENTICATED, "body_does_not_come")


def test_who_leaves_in_the_middle_of_a_body_gets_nothing_and_reaches_nobody() -> None:
    request = NODE.signed(b"{}", path="/signals")
    line = Line({"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"})
    assert asked(echo, scope_of(request), line).sent == []


def test_a_handler_that_waits_is_told_when_its_client_goes_away() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asgi_io.gone(receive)
        await echo(_scope, _nothing, send)

    async def _nothing() -> Message:
        return {"type": "http.request", "body": b"{}"}

    request = NODE.signed(b"{}", path="/signals")
    assert asked(app, scope_of(request), Line(body_of(request), {"type": "http.disconnect"})).status == 200


def test_an_answer_does_not_wait_for_what_its_handler_does_after_it() -> None:
    async def go() -> None:
        line = Line(body_of(request))

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await echo(scope, receive, send)
            await line.answered.wait()
            raise Refused(Code.UNAVAILABLE, "too_late_to_tell_anybody")

        with pytest.raises(Refused, match="too_late"):
            await asyncio.wait_for(signed(app)(scope_of(request), line.receive, line.send), 10)
        assert (len(line.sent), line.is_signed_for(request)) == (2, True)

    request = NODE.signed(b"{}", path="/signals")
    asyncio.run(go())


async def _says_nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    pass


async def _stops_half_way(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": JSON})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})


async def _swallows_what_send_raises(_scope: Scope, _receive: Receive, send: Send) -> None:
    with contextlib.suppress(NotSigned):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})


async def _streams_a_page(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await asyncio.Event().wait()


@pytest.mark.parametrize("app", [_streams_a_page, _says_nothing, _stops_half_way, _swallows_what_send_raises])
def test_an_answer_that_does_not_come_is_a_fault_and_nothing_is_sent(
    app: Callable[[Scope, Receive, Send], Awaitable[None]],
) -> None:
    request = NODE.signed(b"{}", path="/signals")
    line = Line(body_of(request))
    with pytest.raises(NotSigned):
        asked(app, scope_of(request), line)
    assert line.sent == []


def test_the_server_is_not_told_to_send_a_file_past_the_signature() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["extensions"])
        await echo(scope, receive, send)

    request = NODE.signed(b"{}", path="/signals")
    scope = scope_of(request, extensions={"http.response.pathsend": {}, "tls": {"version": 772}})
    asked(app, scope, Line(body_of(request)))
    assert seen == [{"tls": {"version": 772}}]


def test_what_cannot_check_anything_is_told_at_once() -> None:
    threaded: Any = Verifier(keys=lambda _: None, store=MemoryStore(), authorities=[AUTHORITY])
    with pytest.raises(Misuse, match="AsyncVerifier"):
        SignedPaths(echo, threaded, authenticate=["/signals"])
    for paths in ("/signals", "/", ["signals"]):
        with pytest.raises(Misuse, match="not a list of paths"):
            SignedPaths(echo, verifier(), authenticate=paths)
