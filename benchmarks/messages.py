"""The messages of the benchmarks: requests of one node, signed as a node signs them."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, Final

from node_protocol import fingerprints
from node_protocol.signatures import nonce_from, sign_request
from verifier import SignedRequest

AUTHORITY: Final = "bots.example"
KEY: Final = bytes(range(32))
NODE_ID: Final = "n_abcdefghijklmnopqr23"
KEY_ID: Final = f"{NODE_ID}.1"
TICKET: Final = "0." + "t" * 22
"""Good for every sync of a round: an answer that was lost makes a node present the same ticket again."""
MACHINE: Final = dict.fromkeys(fingerprints.WEIGHTS, "h" * 22)
NOW: Final = int(time.time())
BATCH: Final = 500
"""Verifications in one round of one contestant."""


def sync_body(number: int, size: int) -> bytes:
    """A sync of about `size` bytes: events until it is full, and a status that takes the rest."""
    message: dict[str, Any] = {
        "protocol": 1,
        "session": "s" * 22,
        "request": number + 1,
        "ticket": TICKET,
        "fingerprint": {"salt_id": "s1", "digest": fingerprints.digest(MACHINE)},
        "status": {},
        "events": [],
        "done_commands": [],
        "wait": 20,
    }
    events: list[dict[str, Any]] = message["events"]
    while len(json.dumps(message, separators=(",", ":"))) + 330 <= size:
        events.append(
            {
                "seq": len(events) + 1,
                "id": f"ev_{len(events):012}",
                "at": "2026-11-24T09:00:00.000Z",
                "type": "order.filled",
                "data": {
                    "client_order_id": "a" * 32,
                    "exchange": "paper",
                    "symbol": "BTC/USD",
                    "side": "buy",
                    "type": "limit",
                    "amount": "0.01",
                    "filled": "0.01",
                    "price": "40000",
                    "average_price": "39999.5",
                },
            }
        )
    missing = size - len(json.dumps(message, separators=(",", ":"))) - len('"note":""')
    if missing > 0:
        message["status"]["note"] = "x" * missing
    return json.dumps(message, separators=(",", ":")).encode()


def batch(size: int, *, first: int = 0, path: str = "/v1/sync", authority: str = AUTHORITY) -> list[SignedRequest]:
    """Requests as a server sees them, each with a new nonce; syncs of one session from number `first` on."""
    requests = []
    for number in range(first, first + BATCH):
        body = sync_body(number, size)
        headers = sign_request(
            KEY,
            key_id=KEY_ID,
            method="POST",
            authority=authority,
            path=path,
            body=body,
            created=NOW,
            nonce=nonce_from(secrets.token_bytes(16)),
        )
        common = [
            ("host", authority),
            ("accept", "*/*"),
            ("accept-encoding", "identity"),
            ("connection", "keep-alive"),
            ("user-agent", "node-agent"),
            ("content-length", str(len(body))),
        ]
        requests.append(SignedRequest("POST", path, [*common, *headers], body))
    return requests


def one(created: int) -> SignedRequest:
    """A small one, signed at that Unix second."""
    body = b"{}"
    headers = sign_request(
        KEY,
        key_id=KEY_ID,
        method="POST",
        authority=AUTHORITY,
        path="/v1/sync",
        body=body,
        created=created,
        nonce=nonce_from(secrets.token_bytes(16)),
    )
    return SignedRequest("POST", "/v1/sync", [("host", AUTHORITY), *headers], body)
