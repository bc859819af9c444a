"""Between ASGI and the verifier: a request with its raw target and a bounded body in, an answer out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from node_protocol import MAX_BODY, strict_json
from node_protocol.refusals import PROBLEM_CONTENT_TYPE, Code, Refused
from verifier import Answer, SignedRequest

RAW_TARGET: Final = "trading_node.raw_target"
"""The ASGI extension under which `control_plane.server` hands over the request target as it was sent."""
BODY_SECONDS: Final = 30
"""How long a client may take to send its body."""

_NO_STORE: Final = ("cache-control", "no-store, no-transform")


class Disconnected(Exception):
    """The client went away before it had said what it wanted."""


async def read(scope: Scope, receive: Receive) -> SignedRequest:
    """The request as it came over the wire.

    Raises Refused: `too_large` before more than the limit was taken, `unauthenticated` for a body that does not come,
    `unavailable` when the server in front does not tell the raw target; and Disconnected.
    """
    target: str | None = scope.get("extensions", {}).get(RAW_TARGET)
    if target is None:
        raise Refused(Code.UNAVAILABLE, "raw_target_unknown")
    # Blanks around a value are not of it (RFC 9110, section 5.5); the parser in front leaves those behind it.
    headers = [(name.decode("latin-1"), value.strip(b" \t").decode("latin-1")) for name, value in scope["headers"]]
    declared = next((value for name, value in headers if name == "content-length"), "0")
    if not declared.isascii() or not declared.isdigit() or len(declared.lstrip("0")) > 7 or int(declared) > MAX_BODY:
        raise Refused(Code.TOO_LARGE, "declared_over_1_mib")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _body(receive)
    except TimeoutError:
        raise Refused(Code.UNAUTHENTICATED, "body_does_not_come") from None
    client = scope.get("client")
    return SignedRequest(scope["method"], target, headers, body, client[0] if client else None)


async def send(answer: Answer, send: Send) -> None:
    """Sends an answer whole."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode("ascii")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def gone(receive: Receive) -> None:
    """Returns when the client has gone away. The body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def problem(status: int, detail: str | None = None) -> Answer:
    """An unsigned answer for what has no code of the protocol: no such path, no such method, our own fault."""
    members: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail is not None:
        members["detail"] = detail
    return Answer(status, [("content-type", PROBLEM_CONTENT_TYPE), _NO_STORE], strict_json.dumps(members))


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Refused(Code.TOO_LARGE, "body_over_1_mib")
        if not message.get("more_body", False):
            return bytes(body)
