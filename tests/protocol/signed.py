"""A signed request of the tests' own, and what it takes to bend one."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from node_protocol.signatures import SignatureFacts, nonce_from, sign_request, signature_of, verify_request

KEY: Final = bytes(range(32))
KEY_ID: Final = "n_abcdefghijklmnopqr23.1"
AUTHORITY: Final = "bots.example"
NONCE: Final = nonce_from(bytes(range(16)))
CREATED: Final = 1_800_000_000


class Request(NamedTuple):
    """All of one request."""

    method: str = "POST"
    path: str = "/v1/sync"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b'{"protocol":1}'

    def header(self, name: str) -> str:
        """The value of one header."""
        return next(value for each, value in self.headers if each == name)

    def replaced(self, name: str, value: str) -> Request:
        """With another value under one name."""
        return self._replace(headers=tuple((each, value if each == name else before) for each, before in self.headers))

    def without(self, name: str) -> Request:
        """Without one header."""
        return self._replace(headers=tuple(each for each in self.headers if each[0] != name))

    def plus(self, name: str, value: str) -> Request:
        """With a header line more."""
        return self._replace(headers=(*self.headers, (name, value)))

    @property
    def mac(self) -> bytes:
        """The signature's bytes."""
        return signature_of(self.headers)


def signed(key: bytes = KEY, **changes: Any) -> Request:
    """A request that a verifier takes, signed with these changes."""
    request = Request(**{name: changes.pop(name) for name in ("method", "path", "body") if name in changes})
    values: dict[str, Any] = {"key_id": KEY_ID, "authority": AUTHORITY, "created": CREATED, "nonce": NONCE} | changes
    headers = sign_request(key, method=request.method, path=request.path, body=request.body, **values)
    return request._replace(headers=(("host", values["authority"]), *headers))


def verified(request: Request, *, key: bytes = KEY, tag: str = "trading-node") -> SignatureFacts:
    """What our verifier makes of it."""
    return verify_request(
        key,
        key_id=KEY_ID,
        method=request.method,
        authority=AUTHORITY,
        path=request.path,
        headers=request.headers,
        body=request.body,
        tag=tag,
    )
