"""What a thief on the line, or one with half of what it takes, would try: each with the answer that it must get."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from node_agent.demo.relay import Captured
from node_protocol import REPLAY_WINDOW
from node_protocol.signatures import nonce_from, sign_request

_TIMEOUT: Final = 10.0
_SIGNED_HEADERS: Final = frozenset(("content-type", "content-digest", "cache-control", "signature-input", "signature"))


@dataclass(frozen=True, slots=True)
class Attack:
    """One attempt and how it ended."""

    tried: str
    expected: str
    answered: str

    @property
    def repelled(self) -> bool:
        """Whether the answer was the one that it must be."""
        return self.answered == self.expected


@dataclass(frozen=True, slots=True)
class Line:
    """Where the server is, and the names that the requests of the demo's node have."""

    address: str
    """`host:port` of the server itself."""
    authority: str
    """The name that the node's requests are signed for."""
    key_id: str
    node_key: bytes = field(repr=False)


def on_the_line(line: Line, captured: Captured) -> Iterable[Attack]:
    """The attacks of who sees the traffic, and of who has a key too, one after the other."""
    yield Attack("a captured report, sent again", "409 replayed", _send(line, captured.headers, captured.body))

    changed = bytearray(captured.body)
    changed[len(changed) // 2] ^= 0x01
    answer = _send(line, captured.headers, bytes(changed))
    yield Attack("the report, changed by one bit", "401 unauthenticated", answer)

    old = int(time.time()) - REPLAY_WINDOW - 1
    answer = _send(line, _resigned(line, captured, line.node_key, old), captured.body)
    yield Attack("a report signed rightly, 121 s ago", "401 stale", answer)

    answer = _send(line, _resigned(line, captured, secrets.token_bytes(32), int(time.time())), captured.body)
    yield Attack("a report signed with another key", "401 unauthenticated", answer)


def _resigned(line: Line, captured: Captured, key: bytes, created: int) -> list[tuple[str, str]]:
    signed = sign_request(
        key,
        key_id=line.key_id,
        method=captured.method,
        authority=line.authority,
        path=captured.path,
        body=captured.body,
        created=created,
        nonce=nonce_from(secrets.token_bytes(16)),
    )
    return [("host", line.authority), *signed]


def _send(line: Line, headers: Iterable[tuple[str, str]], body: bytes) -> str:
    """The answer's status and code to a sync with exactly these headers."""
    connection = http.client.HTTPConnection(line.address, timeout=_TIMEOUT)
    try:
        connection.putrequest("POST", "/v1/sync", skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            if name.lower() in _SIGNED_HEADERS or name.lower() == "host":
                connection.putheader(name, value)
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    try:
        return f"{response.status} {json.loads(text).get('code', '')}".strip()
    except ValueError:
        return str(response.status)
