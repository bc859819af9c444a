"""The line to Robinhood: signs, sends, and names every failure; on httpx, for ccxt does not know this exchange.

The guard is asked for each request when it is signed and final, and again by `_Gate`, through which everything passes
that this client sends, whoever asks it to. Whatever goes wrong leaves as an error of the port, without a key or a
signature in its words. A read whose connection was lost, or whose time was refused, is repeated once; an order or a
cancel never.

Robinhood tells its time in the `Date` of its answers alone: whole seconds. What each of them allows for is narrowed by
the next, until one contradicts. It has no codes for what it refuses, so a refusal is read by its status, by whether it
came in Robinhood's own form, and by the field that it names.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node_agent.exchanges import allowlist
from node_agent.exchanges.failures import ClockOff, LineLost, refusal, unknown
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.limiter import Limit
from node_agent.exchanges.line import MOST_ANSWERED
from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    OutcomeUnknown,
    RateLimited,
)
from node_agent.exchanges.profile import Opening
from node_agent.exchanges.robinhood_reading import loads
from node_agent.exchanges.traits import Meaning, Pace
from node_agent.exchanges.turns import Turns, time_of
from node_protocol import strict_json
from node_protocol.version import __version__

_NAME: Final = "robinhood"
_ORIGIN: Final = "https://trading.robinhood.com"
_STAMP_SECONDS: Final = 30
"""How long Robinhood takes a request for good."""
_PAUSE_SECONDS: Final = 15.0
"""How long nothing goes when Robinhood says that it was too much, but not until when; it gives 25 more meanwhile."""
_NO_TIME: Final = 1 << 32
"""Seconds since 1970, in the year 2106."""
_MOST_WORDS: Final = 200
_SEED_BYTES: Final = 32
_FORMS: Final = ("validation_error", "client_error", "server_error")
_NOT_A_UUID: Final = "valid uuid"
_MEANINGS: Final = {
    **dict.fromkeys((400, 405, 406, 415), Meaning.REFUSED),
    403: Meaning.KEY,
    404: Meaning.NO_SUCH_ORDER,
}
"""Of refusals in Robinhood's own form, by status."""
_ILLEGIBLE: Final = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError)

T = TypeVar("T")

_let_go: ContextVar[tuple[str, str] | None] = ContextVar("let_go", default=None)
"""Method and address of the request that the guard has last let go."""


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no success."""

    status: int
    own: bool
    """Whether it is in the form that Robinhood gives its refusals, and not from whatever stands before it."""
    field: str
    words: str
    strayed: bool
    """Whether our time on the request was further from Robinhood's than it takes."""


class RobinhoodLine:
    """One account's. Must be made inside a running event loop."""

    def __init__(self, opening: Opening, *, limits: tuple[Limit, ...], pace: Pace) -> None:
        """Raises ValueError for a stand-in that is not on this machine, or a secret that is no Ed25519 key."""
        self._origin = opening.url or _ORIGIN
        self._guard = Guard(allowlist.read(_NAME), origin=opening.url)
        self._key, secret = (opening.credentials[name].get_secret_value() for name in ("key", "secret"))
        self._secrets = (self._key, secret)
        self._signer = signer_of(secret)
        self._pace = pace
        self._turns = Turns(_NAME, limits, patience=pace.patience, banned_until=opening.banned_until)
        self._offset = Offset()
        self._client = httpx.AsyncClient(
            transport=_Gate(self._guard),
            headers={"user-agent": f"trading-node/{__version__}"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(pace.timeout, connect=pace.timeout / 2),
            event_hooks={"response": [_bound]},
            follow_redirects=False,
            trust_env=False,
        )

    @property
    def offset(self) -> float | None:
        """Seconds that our clock is ahead of Robinhood's, as its answers tell; None before the first."""
        return self._offset.middle

    @property
    def rate_limits(self) -> Mapping[str, object]:
        """How much of each limit is used, and until when Robinhood wants nothing of us; for reports."""
        return self._turns.told

    def exchange_time(self) -> datetime:
        """Robinhood's time, as far as it is known."""
        return time_of(time.time() - (self.offset or 0.0))

    async def get(self, read: Callable[[Any], T], path: str, query: Mapping[str, str] | None = None) -> T:
        """Ask for something, and read the answer. Raises an ExchangeError and nothing else."""
        pairs = "&".join(f"{name}={quote(value, safe=':-._~')}" for name, value in (query or {}).items())
        return await self._ask("GET", f"{path}?{pairs}" if pairs else path, b"", lambda body: read(loads(body)))

    async def place(self, read: Callable[[Any], T], path: str, body: Mapping[str, Any]) -> T:
        """Have an order placed, once, and read the answer. Raises an ExchangeError and nothing else."""
        return await self._ask("POST", path, strict_json.dumps(body), lambda answer: read(loads(answer)))

    async def cancel(self, path: str) -> None:
        """Have an order cancelled, once; the answer says no more than that it was heard."""
        await self._ask("POST", path, b"", lambda _: None)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def _ask(self, method: str, target: str, body: bytes, read: Callable[[bytes], T]) -> T:
        acts = method != "GET"
        fault: ExchangeError = OutcomeUnknown("nothing came of it")
        for _ in range(1 if acts else 2):
            await self._turns.wait(1, urgent=acts)
            outcome = await self._tried(method, target, body, read, acts=acts)
            if isinstance(outcome, _Done):
                return outcome.value
            fault = outcome
            if not isinstance(fault, LineLost | ClockOff):
                break
        raise fault

    async def _tried(
        self, method: str, target: str, body: bytes, read: Callable[[bytes], T], *, acts: bool
    ) -> _Done[T] | ExchangeError:
        stamp = int(self.exchange_time().timestamp())
        signed = signature(self._signer, self._key, stamp, method, target, body)
        headers = {"x-api-key": self._key, "x-timestamp": str(stamp), "x-signature": signed}
        if body:
            headers["content-type"] = "application/json"
        url = self._origin + target
        self._guard.request(method, url, headers, body)
        token = _let_go.set((method, url))
        sent = time.time()
        try:
            async with asyncio.timeout(self._pace.timeout):
                answer = await self._client.request(method, url, headers=headers, content=body or None)
        except Exception as error:
            return self._fault(error, acts=acts)
        finally:
            _let_go.reset(token)
        theirs = _date(answer)
        if theirs is not None:
            self._offset.hear(sent, time.time(), theirs)
        if answer.is_success:
            try:
                return _Done(read(answer.content))
            except _ILLEGIBLE as error:
                return unknown(acts)(f"an answer that cannot be read ({type(error).__name__})")
        told = _refusal(answer, strayed=theirs is not None and abs(theirs - stamp) > _STAMP_SECONDS)
        return self._named(told, answer.headers, signed, acts=acts)

    def _fault(self, error: Exception, *, acts: bool) -> ExchangeError:
        """What a request without an answer comes to."""
        kind = type(error).__name__
        match error:
            case ExchangeError():
                return error
            case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
                return ExchangeUnavailable(f"{_NAME} cannot be reached ({kind})")
            case TimeoutError() | httpx.TimeoutException():
                return unknown(acts)(f"{_NAME} did not answer in time")
            case httpx.HTTPError():
                return (OutcomeUnknown if acts else LineLost)(f"the connection to {_NAME} was lost ({kind})")
            case _:
                return unknown(acts)(f"{_NAME} could not be asked ({kind})")

    def _named(self, told: Refusal, headers: Mapping[str, str], signed: str, *, acts: bool) -> ExchangeError:
        """What an answer that is no success comes to."""
        words = f"{told.status} {told.words}".strip()
        for secret in (*self._secrets, signed):
            words = words.replace(secret, "[redacted]")
        words = words[:_MOST_WORDS]
        meaning = meaning_of(told)
        if meaning is Meaning.TOO_MANY:
            return RateLimited(words, self._turns.hold(headers, "", otherwise=_PAUSE_SECONDS))
        return refusal(meaning, words, status=told.status, acts=acts)


async def _bound(answer: httpx.Response) -> None:
    """Read an answer's body, unpacked. Raises DecodingError for one that is too long."""
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > MOST_ANSWERED:
            raise httpx.DecodingError("an answer that is too long")
    answer._content = bytes(body)


class _Gate(httpx.AsyncBaseTransport):
    """The last hand, and the one way from the client to a socket."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        context = httpx.create_ssl_context(trust_env=False)
        context.keylog_filename = None  # type: ignore[assignment]  # else TLS keys are written where Python is told to
        self._way = httpx.AsyncHTTPTransport(verify=context, trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises Forbidden for what the guard has not just let go, or for anything that is not as it looks."""
        url = str(request.url)
        self._guard.passed((request.method, url), _let_go.get())
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        self._guard.request(request.method, url, headers, request.content)
        if request.headers.get_list("host") != [request.url.netloc.decode()] or len(headers) + 1 != len(
            request.headers.multi_items()
        ):
            raise Forbidden("not sent: a request with a header twice, or for another host than it goes to")
        if request.extensions.keys() - {"timeout"}:
            raise Forbidden("not sent: a request that would go elsewhere than it says")
        return await self._way.handle_async_request(request)

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._way.aclose()


class Offset:
    """How far our clock is ahead of one that tells whole seconds. Pure: times are seconds since 1970."""

    def __init__(self) -> None:
        self._least = float("-inf")
        self._most = float("inf")

    @property
    def middle(self) -> float | None:
        """In seconds; None before anything was heard."""
        return None if self._most == float("inf") else (self._least + self._most) / 2

    def hear(self, sent: float, received: float, theirs: float) -> None:
        """An answer, when its request went and it came by our clock, and its whole second."""
        least, most = sent - theirs - 1, received - theirs
        self._least, self._most = max(self._least, least), min(self._most, most)
        if self._least > self._most:  # one of the clocks was set, or has drifted
            self._least, self._most = least, most


def signer_of(secret: str) -> Ed25519PrivateKey:
    """The key in a secret: the seed in base64, or seed and public key as some tools write it. Raises ValueError."""
    try:
        raw = base64.b64decode(secret, validate=True)
    except binascii.Error:
        raise ValueError("a private key that is no base64") from None
    if len(raw) not in (_SEED_BYTES, 2 * _SEED_BYTES):
        raise ValueError("a private key that is not 32 bytes long")
    signer = Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])
    if raw[_SEED_BYTES:] not in (b"", signer.public_key().public_bytes_raw()):
        raise ValueError("a private key with the public key of another")
    return signer


def signature(signer: Ed25519PrivateKey, key: str, stamp: int, method: str, target: str, body: bytes) -> str:
    """What a request is signed with. `target` is its path and query, exactly as they are sent."""
    return base64.b64encode(signer.sign(f"{key}{stamp}{target}{method}".encode() + body)).decode()


def meaning_of(refusal: Refusal) -> Meaning | None:
    """What Robinhood's no comes to; None where it may have done what it was asked all the same."""
    status, words = refusal.status, refusal.words.lower()
    if status == 429:
        return Meaning.TOO_MANY
    if (status in (400, 401, 403) and refusal.strayed) or (status in (401, 403) and "timestamp" in words):
        return Meaning.CLOCK
    if status == 401:
        return Meaning.KEY
    if not refusal.own:
        return None
    if status == 400 and refusal.field == "client_order_id" and _NOT_A_UUID not in words:
        return Meaning.DUPLICATE
    return _MEANINGS.get(status)


def _refusal(answer: httpx.Response, *, strayed: bool) -> Refusal:
    try:
        told = loads(answer.content)
        own = told["type"] in _FORMS
        fields = [str(each["attr"] or "") for each in told["errors"]]
        words = "; ".join(f"{each['attr'] or ''} {each['detail']}".strip() for each in told["errors"])
    except _ILLEGIBLE:
        own, fields, words = (
            False,
            [],
            answer.text if answer.headers.get("content-type", "")[:10] == "text/plain" else "",
        )
    return Refusal(answer.status_code, own, fields[0] if len(fields) == 1 else "", words, strayed)


def _date(answer: httpx.Response) -> float | None:
    """Robinhood's time in whole seconds; None where the answer tells none, or one that no clock tells."""
    with contextlib.suppress(ValueError, OverflowError):
        seconds = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        if 0 < seconds < _NO_TIME:
            return seconds
    return None
