"""What goes out for a handler's answer, whatever the framework.

    JSON                      the same bytes, signed: `application/json` below 400, problem details from there on
    another answer of 4xx     problem details that tell the status alone, signed
    another answer of 5xx     the same, unsigned
    all else                  NotSigned is raised: a page, a redirect, no body, a coded one, more than 1 MiB

What a handler raises is not caught, save `Refused`. So all that is a fault of the server's own ends unsigned, mostly as
a 500, and a node takes it for a fault of the line: it changes nothing, and asks again later.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from node_protocol import MAX_BODY, strict_json
from node_protocol.refusals import PROBLEM_CONTENT_TYPE, Misuse
from node_protocol.signatures import JSON_CONTENT_TYPE
from verifier.checks import Authenticated
from verifier.verifier import Answer, AsyncVerifier, Verifier

Signer: TypeAlias = Verifier | AsyncVerifier
Lines: TypeAlias = Iterable[tuple[str, str]]

_NO_STORE: Final = ("cache-control", "no-store, no-transform")
_NOT_KEPT: Final = frozenset(
    ("cache-control", "connection", "etag", "signature", "signature-input", "transfer-encoding")
)
"""A handler's headers that are ours to write, or not true of our answer; those that begin with `content-` too."""
_WITHOUT_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)


class NotSigned(Misuse):
    """A handler of a signed path answered what no node would take. Whoever asked gets an unsigned 500."""


def phrase(status: int) -> str:
    """The words that go with a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def problem(status: int, detail: str | None = None) -> Answer:
    """An unsigned answer for what has no code of the protocol: no such path, no such method, our own fault."""
    members: dict[str, Any] = {"type": "about:blank", "title": phrase(status), "status": status}
    if detail is not None:
        members["detail"] = detail
    return Answer(status, [("content-type", PROBLEM_CONTENT_TYPE), _NO_STORE], strict_json.dumps(members))


def stand_in(signer: Signer, sender: Authenticated, status: int, headers: Lines) -> Answer | None:
    """What goes out instead of an answer with this head; None for JSON, which goes out itself. Raises NotSigned."""
    lines = [(name.lower(), value) for name, value in headers]
    types = [value.partition(";")[0].strip().lower() for name, value in lines if name == "content-type"]
    coded = any(name == "content-encoding" for name, _ in lines)
    if types in ([JSON_CONTENT_TYPE], [PROBLEM_CONTENT_TYPE]) and status not in _WITHOUT_BODY and not coded:
        return None
    if status < 400:
        what = ", ".join(types) or "no content type"
        raise NotSigned(f"a handler of a signed path answered {status} with {what}: a node takes JSON, uncoded, alone")
    plain = problem(status)
    return _with(lines, plain if status >= 500 else signer.sign(sender, status, plain.body))


def signed(signer: Signer, sender: Authenticated, status: int, headers: Lines, body: bytes | bytearray) -> Answer:
    """What goes out for an answer with this head and this body. Raises NotSigned."""
    lines = list(headers)
    see_length(len(body))
    return stand_in(signer, sender, status, lines) or signed_json(signer, sender, status, lines, body)


def signed_json(signer: Signer, sender: Authenticated, status: int, headers: Lines, body: bytes | bytearray) -> Answer:
    """The same for an answer whose head has no `stand_in`, and whose length is seen."""
    return _with(headers, signer.sign(sender, status, bytes(body)))


def see_length(size: int) -> None:
    """Whether a node takes an answer of so many bytes. Raises NotSigned."""
    if size > MAX_BODY:
        raise NotSigned("a handler of a signed path answered more than 1 MiB: a node takes no more")


def _with(headers: Lines, answer: Answer) -> Answer:
    """The answer with the handler's own headers, such as `retry-after`; no signature covers those."""
    kept = [(name, value) for name, value in headers if _is_kept(name.lower())]
    return Answer(answer.status, [*answer.headers, *kept], answer.body)


def _is_kept(name: str) -> bool:
    return name not in _NOT_KEPT and not name.startswith("content-")
