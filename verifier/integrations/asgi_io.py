"""Between ASGI and the verifier: a request with its raw target and a bounded body in, an answer out.

What is signed is the request target as it was sent. ASGI tells it but for a bare `?`, and some servers lose the
authority of an absolute target; one that can tell it whole, as `control_plane.server` does, puts it under `RAW_TARGET`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from node_protocol import MAX_BODY
from node_protocol.refusals import Code, Refused
from verifier.checks import SignedRequest
from verifier.integrations._answers import problem
from verifier.integrations._paths import see_size, target_unknown
from verifier.verifier import Answer

__all__ = [
    "BODY_SECONDS",
    "RAW_TARGET",
    "App",
    "Disconnected",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "again",
    "gone",
    "problem",
    "raw_target",
    "read",
    "send",
    "told_target",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

RAW_TARGET: Final = "trading_node.raw_target"
"""The ASGI extension under which a server hands over the request target as it was sent."""
BODY_SECONDS: Final = 30
"""How long a client may take to send its body."""


class Disconnected(Exception):
    """The client went away before it had said what it wanted."""


def told_target(scope: Scope) -> str | None:
    """The request target, where a server of ours hands it over."""
    target: str | None = (scope.get("extensions") or {}).get(RAW_TARGET)
    return target


def raw_target(scope: Scope) -> str | None:
    """The request target as it was sent, as far as this server tells it; None where it tells nothing raw."""
    target, path, query = told_target(scope), scope.get("raw_path"), scope.get("query_string")
    if target is not None or path is None:
        return target
    return str((path + b"?" + query if query else path).decode("latin-1"))


async def read(scope: Scope, receive: Receive, target: str | None, *, seconds: float = BODY_SECONDS) -> SignedRequest:
    """The request as it came over the wire; its body has so many seconds to come.

    Raises Refused: `too_large` before more than the limit was taken, `unauthenticated` for a body that does not come,
    `unavailable` without a raw target; and Disconnected.
    """
    if target is None:
        raise target_unknown("raw_path of the ASGI scope")
    # Blanks around a value are not of it (RFC 9110, section 5.5); some parsers in front leave those behind it.
    headers = [(name.decode("latin-1"), value.strip(b" \t").decode("latin-1")) for name, value in scope["headers"]]
    see_size(next((value for name, value in headers if name == "content-length"), None))
    try:
        async with asyncio.timeout(seconds):
            body = await _body(receive)
    except TimeoutError:
        raise Refused(Code.UNAUTHENTICATED, "body_does_not_come") from None
    client = scope.get("client")
    return SignedRequest(scope["method"], target, headers, body, client[0] if client else None)


async def send(answer: Answer, to: Send) -> None:
    """Sends an answer whole."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode("ascii")))
    await to({"type": "http.response.start", "status": answer.status, "headers": headers})
    await to({"type": "http.response.body", "body": answer.body})


async def gone(receive: Receive) -> None:
    """Returns when the client has gone away. The body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that begins with this body, which was read already."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return left.pop() if left else await receive()

    return receive_again


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Refused(Code.TOO_LARGE, "body_over_1_mib")
        if not message.get("more_body", False):
            return bytes(body)
