"""One request whose form is good, judged by itself: signature and freshness. Pure: key and clock are parameters.

The order is fixed, and each refusal says whether the signature was good by then, for then it is itself to be signed:

    key, signature and digest          `unauthenticated`, unsigned, one answer for all
    freshness                          `stale`, signed, with the server's time

A message from a clock that is ahead is stale too, but will be fresh one day: up to a day ahead it is told so only when
its nonce was spent (`Authenticated.late`). What needs memory (nonce, ticket, fingerprint) is `verifier.verifier`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from node_protocol import REPLAY_WINDOW, refusals
from node_protocol.encoding import format_time
from node_protocol.handshake import parse_key_id
from node_protocol.refusals import Code
from node_protocol.signatures import MacKey, SignatureFacts, Unverified
from verifier.clones import Decision

_MOST_AHEAD: Final = 24 * 3600
"""Seconds that a message may be ahead and still cost its nonce."""


class SignedRequest(NamedTuple):
    """A request as it came over the wire, before anything was made of it."""

    method: str
    path: str
    """The raw request target, query and escapes included: never one that was parsed and put together again."""
    headers: Sequence[tuple[str, str]]
    """Every line, in order, repeated ones too."""
    body: bytes
    peer: str | None = None
    """The address it came from, for evidence alone."""


@dataclass(frozen=True, slots=True)
class NodeKey:
    """One version of a node's key, as the server's key source gives it."""

    node_id: str
    key_id: str
    mac: MacKey
    revoked: bool = False

    @classmethod
    def of(cls, key_id: str, key: bytes) -> NodeKey:
        """The key under a node's key id, `n_….1`. Raises Malformed or Misuse for what is none."""
        return cls(parse_key_id(key_id).node_id, key_id, MacKey(key))


# Not frozen, as `SignatureFacts` is not: one is made for each message.
@dataclass(slots=True)
class Authenticated:
    """A sender whose signature was good."""

    key: NodeKey
    facts: SignatureFacts
    at: int
    """When that was seen, by the server's clock in Unix seconds."""
    late: refusals.Refused | None = None
    """The refusal that it has earned by a clock that is ahead; None for a message that is fresh."""


class Refused(refusals.Refused):
    """A request that is not accepted: `code` for the wire, `reason` for logs, and who is to get a signed answer."""

    def __init__(
        self, cause: refusals.Refused, sender: Authenticated | None = None, decision: Decision | None = None
    ) -> None:
        super().__init__(cause.code, cause.reason, detail=cause.detail, extra=cause.extra, signed=sender is not None)
        self.sender = sender
        """The authenticated sender; None when the signature was not good, and then the refusal goes out unsigned."""
        self.decision = decision
        """What was decided about the node's state, with its evidence; None when it did not come to that."""

    @property
    def key(self) -> NodeKey | None:
        """The sender's key."""
        return self.sender.key if self.sender else None

    @property
    def facts(self) -> SignatureFacts | None:
        """What the sender's signature says."""
        return self.sender.facts if self.sender else None


def authenticate(unverified: Unverified, key: NodeKey | None, body: bytes, now: int) -> Authenticated:
    """The sender, once signature and digest are seen to be good. None is an unknown key, and costs the same.

    It is not accepted yet: its nonce is to be spent, and where there is a `late`, that is then its refusal. `now` is
    the server's clock in Unix seconds. Raises Refused (`unauthenticated`, `stale`).
    """
    try:
        facts = unverified.check(key.mac if key else None, body)
    except refusals.Refused as error:
        raise Refused(error) from None
    if key is None or key.key_id != facts.key_id:
        raise Refused(refusals.Refused(Code.UNAUTHENTICATED, "unknown_key"))
    if fresh(facts.created, now):
        return Authenticated(key, facts, now)
    late = stale(now)
    sender = Authenticated(key, facts, now, late)
    if 0 < facts.created - now <= _MOST_AHEAD:
        return sender
    raise Refused(late, sender)


def fresh(created: int, now: int) -> bool:
    """Whether a message made at `created` may be taken at `now`, both in Unix seconds: 120 s apart is, 121 s is not."""
    return abs(now - created) <= REPLAY_WINDOW


def stale(now: int) -> refusals.Refused:
    """The refusal of a message out of the window; the node learns from it what time it is."""
    server_time = format_time(datetime.fromtimestamp(now, UTC))
    return refusals.Refused(Code.STALE, "created_outside_window", extra={"server_time": server_time})
