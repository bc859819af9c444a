"""A node of the tests' own: signs syncs that a verifier takes, and keeps the ticket as a node does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from node_protocol import fingerprints
from node_protocol.signatures import nonce_from, sign_request
from verifier import NodeKey, SignedRequest, enrolled
from verifier.stores import Store

AUTHORITY: Final = "bots.example"
NOW: Final = 1_800_000_000
FIRST_TICKET: Final = "0." + "t" * 22
HOME: Final[Mapping[str, str]] = dict.fromkeys(fingerprints.WEIGHTS, "h" * 22)


def other_machine(*same: str) -> dict[str, str]:
    """A machine that is HOME in these components alone."""
    return {name: "h" * 22 if name in same else "o" * 22 for name in fingerprints.WEIGHTS}


def nonce() -> str:
    return nonce_from(secrets.token_bytes(16))


@dataclass
class Node:
    """Holds a node's key and newest ticket."""

    node_id: str = "n_" + "a" * 20
    secret: bytes = b"k" * 32
    ticket: str = FIRST_TICKET
    session: str = "s" * 22
    request: int = 0
    machine: Mapping[str, str] = field(default_factory=lambda: dict(HOME))

    @property
    def key_id(self) -> str:
        return f"{self.node_id}.1"

    @property
    def key(self) -> NodeKey:
        return NodeKey.of(self.key_id, self.secret)

    def enrol(self, store: Store) -> None:
        """Make the node known to a store."""
        store.save(self.node_id, enrolled(self.ticket, self.machine))

    def message(self, **changes: Any) -> dict[str, Any]:
        """The next sync, as JSON has it."""
        self.request += 1
        return {
            "protocol": 1,
            "session": self.session,
            "request": self.request,
            "ticket": self.ticket,
            "fingerprint": {
                "salt_id": "s1",
                "digest": fingerprints.digest(self.machine),
                "components": dict(self.machine),
            },
            "status": {},
            "events": [],
            "done_commands": [],
            "wait": 0,
            **changes,
        }

    def signed(self, body: bytes | None = None, *, created: int = NOW, **changes: Any) -> SignedRequest:
        """A signed request with this body, or with the next sync."""
        given = {name: changes.pop(name) for name in ("path", "authority", "tag", "nonce") if name in changes}
        values: dict[str, Any] = {"path": "/v1/sync", "authority": AUTHORITY, "nonce": nonce()} | given
        body = json.dumps(self.message(**changes)).encode() if body is None else body
        headers = sign_request(self.secret, key_id=self.key_id, method="POST", body=body, created=created, **values)
        return SignedRequest("POST", values["path"], [("host", values["authority"]), *headers], body)
