"""What a receiver says when it does not accept: the codes, the typed error, the problem details (RFC 9457).

NodeProtocolError
├── Misuse       we erred: asked to sign or build what the protocol does not allow
├── Malformed    a text is not of the one legal form (a parser's finding, before it has a code)
└── Refused      the other side erred: carries a code for the wire and a finer reason for logs alone
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Code(StrEnum):
    """Codes of a refusal, as in the `code` member of its problem details."""

    UNAUTHENTICATED = "unauthenticated"
    STALE = "stale"
    REPLAYED = "replayed"
    TICKET_CONFLICT = "ticket_conflict"
    SUPERSEDED = "superseded"
    SUSPENDED = "suspended"
    FINGERPRINT_MISMATCH = "fingerprint_mismatch"
    FINGERPRINT_DUPLICATE = "fingerprint_duplicate"
    REVOKED = "revoked"
    INVALID_PAYLOAD = "invalid_payload"
    EVENT_GAP = "event_gap"
    EVENT_CONFLICT = "event_conflict"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


STATUS: Final[Mapping[Code, int]] = {
    Code.UNAUTHENTICATED: 401,
    Code.STALE: 401,
    Code.REPLAYED: 409,
    Code.TICKET_CONFLICT: 409,
    Code.SUPERSEDED: 409,
    Code.SUSPENDED: 403,
    Code.FINGERPRINT_MISMATCH: 403,
    Code.FINGERPRINT_DUPLICATE: 403,
    Code.REVOKED: 403,
    Code.INVALID_PAYLOAD: 422,
    Code.EVENT_GAP: 409,
    Code.EVENT_CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.RATE_LIMITED: 429,
    Code.UNAVAILABLE: 503,
}
"""The HTTP status of each code."""

_TITLES: Final[Mapping[Code, str]] = {
    Code.UNAUTHENTICATED: "The request is not authenticated",
    Code.STALE: "The request was not made within the last two minutes",
    Code.REPLAYED: "The request was seen before",
    Code.TICKET_CONFLICT: "The node's state was continued by somebody else",
    Code.SUPERSEDED: "A later request of this process was accepted already",
    Code.SUSPENDED: "The node is suspended",
    Code.FINGERPRINT_MISMATCH: "The node is on another machine",
    Code.FINGERPRINT_DUPLICATE: "Another node lives on this machine",
    Code.REVOKED: "The node or its key was revoked",
    Code.INVALID_PAYLOAD: "The message is not of the protocol's form",
    Code.EVENT_GAP: "Events are missing before these",
    Code.EVENT_CONFLICT: "Another event is stored under this number",
    Code.TOO_LARGE: "The body is too large",
    Code.RATE_LIMITED: "Too many requests",
    Code.UNAVAILABLE: "The request cannot be judged now",
}

PROBLEM_CONTENT_TYPE: Final = "application/problem+json"
_PROBLEM_TYPE: Final = "urn:trading-node:problem:"


class NodeProtocolError(Exception):
    """Whatever this package raises."""


class Misuse(NodeProtocolError, ValueError):
    """Our own side asked for a message that the protocol does not allow."""


class Malformed(NodeProtocolError, ValueError):
    """A text has not the one legal form."""


class Refused(NodeProtocolError):
    """A message is not accepted.

    `code` goes over the wire, and `detail` and `extra` with it, so they must give nothing away; `reason` is for logs
    and metrics alone. `signed` says that the signature was good, so that the refusal is itself to be signed.
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        *,
        detail: str | None = None,
        extra: Mapping[str, Any] | None = None,
        signed: bool = False,
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.detail = detail
        self.extra: Mapping[str, Any] = extra or {}
        self.signed = signed

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return STATUS[self.code]

    @property
    def where(self) -> str:
        """Where a message is wrong, and how, in one line; the reason when that is not told."""
        return in_one_line(self.extra.get("errors", ())) or self.reason

    def problem(self) -> dict[str, Any]:
        """The members of the problem details that go over the wire."""
        members: dict[str, Any] = {
            "type": _PROBLEM_TYPE + self.code,
            "title": _TITLES[self.code],
            "status": self.status,
            "code": str(self.code),
        }
        if self.detail is not None:
            members["detail"] = self.detail
        return members | dict(self.extra)


def in_one_line(errors: Iterable[Mapping[str, str]]) -> str:
    """The `errors` of an `invalid_payload` for reading: where, and what; nothing for none."""
    return "; ".join(": ".join(filter(None, (each["at"], each["error"]))) for each in errors)


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal as it was received. Trust it as far as its signature was good, and no further."""

    code: str
    """One of `Code`, or another side's word."""
    detail: str | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    """All members, `code` and `detail` included."""


def parse_problem(value: object) -> Problem:
    """The problem details in a decoded JSON value. Raises Malformed when there is no `code` in it."""
    if not isinstance(value, dict) or not isinstance(value.get("code"), str):
        raise Malformed("not problem details with a code")
    detail = value.get("detail")
    return Problem(value["code"], detail if isinstance(detail, str) else None, value)
