"""The node's signed line to its server: sends the bytes that were signed, believes an answer only once it verifies.

    LineFault        nothing verified came back: no connection, no answer, an unsigned refusal, a signature that is not
                     good. Nothing in it is believed; the request may be made again.
    ServerRefused    a refusal that is signed: the server's own word.

What time the server has is learnt from every answer that verifies, and from nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from node_agent.errors import Explained
from node_protocol import MAX_BODY, strict_json
from node_protocol.refusals import Malformed, Problem, Refused, parse_problem
from node_protocol.signatures import (
    MacKey,
    Scheme,
    SignatureFacts,
    nonce_from,
    normal_authority,
    sign_request,
    signature_of,
    verify_response,
)

_CENTURY: Final = 100 * 366 * 24 * 3600
_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 20.0
"""Until an answer is here whole, on top of what the server was asked to hold it for."""
_LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds: a server that asks for more is asked again all the same."""


class AddressError(Explained):
    """A server's URL that the node will not speak to."""


class LineFault(Exception):
    """Nothing verified came back. `status` is an unverified answer's, if there was one; `late`: its time ran out."""

    def __init__(self, message: str, status: int | None = None, *, late: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.late = late


class ServerRefused(Exception):
    """The server's signed refusal."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None) -> None:
        super().__init__(f"{status} {problem.code}")
        self.status = status
        self.problem = problem
        self.retry_after = retry_after
        """Seconds, where the server named them."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is, and the name that requests to it are signed for."""

    url: str
    """Scheme, host and port, without a path."""
    authority: str

    @classmethod
    def parse(cls, url: str, *, insecure_loopback: bool) -> ServerAddress:
        """The address in a URL: https, or plain http to loopback when that was asked for. Raises AddressError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise AddressError(f"not a server's URL: {error}") from None
        if parts.scheme not in ("https", "http") or not host or parts.username is not None:
            raise AddressError("a server's URL is https:// and a host", "such as https://bots.example")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise AddressError(f"a server's URL ends behind host and port, and {url} goes on", "leave the rest out")
        if parts.scheme == "http" and not _is_loopback(host):
            raise AddressError(f"plain http to {host} is refused: anybody on the way could read it", "use https://")
        if parts.scheme == "http" and not insecure_loopback:
            raise AddressError("plain http is refused", "to a server on this machine: add --insecure-loopback")
        name = f"[{host}]" if ":" in host else host
        authority = f"{name}:{port}" if port is not None else name
        scheme: Scheme = "https" if parts.scheme == "https" else "http"
        normal = normal_authority(authority, scheme)
        return cls(f"{scheme}://{normal}", normal)


class Clock:
    """The wall clock, corrected by what the server's signed answers say."""

    def __init__(self, wall: Callable[[], float], offset: int = 0) -> None:
        self._wall = wall
        self.offset = offset
        """Seconds that the server's clock is ahead of ours."""

    def now(self) -> float:
        """Unix seconds, by the server's clock as far as it is known."""
        return self._wall() + self.offset

    def wall(self) -> float:
        """Unix seconds, by our own clock."""
        return self._wall()

    def learn(self, created: int) -> None:
        """Take in when, by its own clock, the server signed an answer that has just come.

        A time beyond a century from ours is no clock's, and is not taken: the wire has numbers that no date has.
        """
        difference = created - int(self._wall())
        if abs(difference) > _CENTURY:
            return
        if abs(difference - self.offset) > 1:  # whole seconds and the way here make one second of difference
            self.offset = difference


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Under which key a request is signed, and its answer must be."""

    key_id: str
    mac: MacKey
    tag: str


class SignedClient:
    """Signed requests to one server over one pool of connections."""

    def __init__(
        self,
        address: ServerAddress,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address
        self._clock = clock
        self._http = httpx.AsyncClient(
            transport=transport,
            verify=trust or True,
            follow_redirects=False,
            trust_env=False,
            headers={"accept-encoding": "identity", "accept": "application/json, application/problem+json"},
        )

    async def post(self, path: str, body: bytes, key: SigningKey, *, wait: float = 0) -> bytes:
        """The body of the verified answer. `wait` is how many seconds the server may hold it.

        Raises LineFault and ServerRefused.
        """
        headers = sign_request(
            key.mac,
            key_id=key.key_id,
            method="POST",
            authority=self._address.authority,
            path=path,
            body=body,
            created=int(self._clock.now()),
            nonce=nonce_from(secrets.token_bytes(16)),
            tag=key.tag,
        )
        status, answer_headers, answer = await self._exchange("POST", path, headers, body, wait)
        try:
            facts = self._verified(key, status, answer_headers, answer, signature_of(headers))
        except Refused as error:
            why = f"does not verify: {error.reason}" if _has_signature(answer_headers) else "is not signed"
            raise LineFault(f"an answer with status {status} that {why}", status) from None
        self._clock.learn(facts.created)
        if 200 <= status < 300:
            return answer
        try:
            problem = parse_problem(strict_json.loads(answer))
        except Malformed as error:
            raise LineFault(f"a signed refusal that cannot be read: {error}", status) from None
        raise ServerRefused(status, problem, _seconds(answer_headers))

    async def get(self, path: str) -> bytes:
        """The body of an answer that nobody signs. Raises LineFault."""
        status, _, body = await self._exchange("GET", path, [], b"", 0)
        if status != httpx.codes.OK:
            raise LineFault(f"the server answered {path} with status {status}", status)
        return body

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    @staticmethod
    def _verified(
        key: SigningKey, status: int, headers: list[tuple[str, str]], body: bytes, request_signature: bytes
    ) -> SignatureFacts:
        return verify_response(
            key.mac,
            key_id=key.key_id,
            status=status,
            headers=headers,
            body=body,
            request_signature=request_signature,
            tag=key.tag,
        )

    async def _exchange(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes, wait: float
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        # httpx counts each wait by itself; who sends a byte now and then must not have the line for ever.
        timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        request = self._http.build_request(
            method, self._address.url + path, headers=headers, content=body or None, timeout=timeout
        )
        try:
            async with asyncio.timeout(wait + _ANSWER_SECONDS):
                response = await self._http.send(request, stream=True)
                try:
                    received = bytearray()
                    async for chunk in response.aiter_raw():
                        received += chunk
                        if len(received) > MAX_BODY:
                            raise LineFault("an answer of more than 1 MiB", response.status_code)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise LineFault(f"{self._address.url}: no answer in time", late=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise LineFault(f"{self._address.url}: {_why(error)}") from None
        lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]
        return response.status_code, lines, bytes(received)


def _has_signature(headers: list[tuple[str, str]]) -> bool:
    return any(name.lower() == "signature" for name, _ in headers)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__


def _seconds(headers: list[tuple[str, str]]) -> float | None:
    value = next((value for name, value in headers if name.lower() == "retry-after"), "")
    return min(float(value), _LONGEST_RETRY_AFTER) if value.isascii() and value.isdigit() else None
