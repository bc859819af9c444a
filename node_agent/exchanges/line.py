"""The line to one exchange: everything that is sent goes through here, and every failure is named here.

ccxt calls `Line._send` for every request and `Line._fetch` with what it made of it, signed; what gives connections
calls `Line._last_hand` for every request, one that an answer sent elsewhere included. In all three the guard is asked.
Whatever goes wrong leaves as an error of the port, without the address that was asked (a signature is part of it) or
anything that hangs on it. A read whose connection was lost is repeated once; an order or a cancel never.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from decimal import localcontext
from typing import Any, Final, NoReturn, TypeVar

from node_agent.exchanges.failures import ClockOff, LineLost, refusal, unknown
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.limiter import Counted
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown, RateLimited
from node_agent.exchanges.traits import Meaning, Traits
from node_agent.exchanges.turns import InTurn, Turns, time_of

_BAN_SECONDS: Final = 120.0
"""How long nothing goes when an exchange has banned us, but not until when: the shortest of Binance's bans."""
_NO_TIME: Final = 1 << 42
"""Milliseconds since 1970, in the year 2109."""
_SOON: Final = 1.0
"""Within so many seconds the clock is not measured again, whatever the exchange says of our time."""
_MOST_WORDS: Final = 200
MOST_ANSWERED: Final = 1 << 25
"""Bytes of an answer, unpacked."""
_QUERY: Final = re.compile(r"\?\S+|\bsignature=\S+")
_USED_UP: Final = {Meaning.TOO_MANY_CALLS: Counted.WEIGHT, Meaning.TOO_MANY_ORDERS: Counted.ORDERS}
"""What was too much, where the exchange says that of some of its limits alone."""

_BY_STATUS: Final = {401: Meaning.KEY, 418: Meaning.TOO_MANY, 429: Meaning.TOO_MANY}
_BY_CLASS: Final = {
    "InvalidNonce": Meaning.CLOCK,
    "AuthenticationError": Meaning.KEY,
    "DDoSProtection": Meaning.TOO_MANY,
    "RateLimitExceeded": Meaning.TOO_MANY,
}
"""ccxt's errors after which the exchange surely did nothing."""

T = TypeVar("T")


class _Answered(Exception):
    """An answer that is no success. It stays in here."""

    def __init__(self, status: int, headers: Mapping[str, str], code: str, message: str, meaning: Meaning | None):
        super().__init__(code)
        self.status = status
        self.headers = headers
        self.code = code
        self.message = message
        self.meaning = meaning


class _Call:
    """One question of ours to ccxt, and whether anything of it has gone out."""

    sent = False


class _Request:
    """One request of ccxt's: what the guard has let go of it, and whether that has gone out."""

    let_go: tuple[str, str] | None = None
    out = False


# Of the task that is running: ccxt may have several requests under way for one question.
_call: ContextVar[_Call] = ContextVar("call")
_request: ContextVar[_Request | None] = ContextVar("request", default=None)


class Line:
    """One exchange of ccxt's, set up. Must be made inside a running event loop."""

    def __init__(self, client: Any, traits: Traits, guard: Guard, *, banned_until: datetime | None = None) -> None:
        """`banned_until`: what the exchange last told an earlier process of this node."""
        self.client = client
        """ccxt's own, to be taught what this exchange does otherwise, and for what it works out without asking."""
        self._in_turn = InTurn()
        self._guard = guard
        self._proxies = [
            name for name in dir(client) if "proxy" in name.lower() and not callable(getattr(client, name))
        ]
        self._traits = traits
        self.turns = Turns(traits.name, traits.limits, patience=traits.pace.patience, banned_until=banned_until)
        """When requests may go."""
        self._measured_at = float("-inf")
        self.offset: float | None = None
        """Seconds that our clock is ahead of the exchange's, as last measured."""
        client.own_session, client.session = False, None  # whoever opens it: the session is ours
        self._session: Any = None
        # The last two are exact as they come: the core has rounded to the market's steps, and ccxt's own rounding would
        # change the rounding of every Decimal in the process.
        client.fetch2 = self._send
        client.fetch = self._fetch
        client.client = self._no_socket
        client.on_rest_response = self._hear
        client.handle_errors = self._judge
        client.amount_to_precision = client.price_to_precision = lambda _symbol, value: value

    @property
    def timeframes(self) -> Mapping[str, Any]:
        """Lengths of candles that the exchange has, by ccxt's names."""
        frames: Mapping[str, Any] = self.client.timeframes
        return frames

    @property
    def rate_limits(self) -> Mapping[str, object]:
        """How much of each limit is used, and until when the exchange wants nothing of us; for reports."""
        return self.turns.told

    async def ask(self, read: Callable[[Any], T], method: str, *arguments: Any, acts: bool = False) -> T:
        """Call a method of ccxt's and read what it returns. `acts` says that the exchange is to do something.

        Raises an ExchangeError and nothing else.
        """
        try:
            return await self._asked(read, method, *arguments, acts=acts)
        except ClockOff:
            with contextlib.suppress(ExchangeError):
                await self.measure(least_age=_SOON)
            raise

    def exchange_time(self) -> datetime:
        """The exchange's time, as far as its clock was measured."""
        return time_of(time.time() - (self.offset or 0.0))

    async def measure(self, *, least_age: float) -> float | None:
        """How far our clock is ahead, measured anew when the last measurement is so many seconds old.

        A failure leaves the last one as it was; raises ExchangeError when there is none.
        """
        if time.monotonic() - self._measured_at < least_age:
            return self.offset
        began, began_at = time.monotonic(), time.time()
        try:
            theirs = await self._asked(_milliseconds, "fetch_time")
        except ExchangeError:
            if self.offset is None:
                raise
            return self.offset
        ended = time.monotonic()
        self.offset = began_at + (ended - began) / 2 - theirs / 1000
        self._measured_at = ended
        self.client.options["timeDifference"] = round(self.offset * 1000)
        return self.offset

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        self.client.session = None
        await self.client.close()
        if session is not None:
            await session.close()

    async def _asked(self, read: Callable[[Any], T], method: str, *arguments: Any, acts: bool = False) -> T:
        call = _Call()
        token = _call.set(call)
        try:
            with localcontext():  # ccxt changes how the whole process rounds, and leaves it so
                answer = await getattr(self.client, method)(*arguments)
            return read(answer)
        except ExchangeError:
            raise
        except Exception as error:
            fault = self._own_fault(error, sent=call.sent, acts=acts)
        finally:
            _call.reset(token)
        raise fault

    async def _send(
        self,
        path: str,
        api: Any = "public",
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every request of ccxt's. Raises an ExchangeError and nothing else."""
        self._guard.call(api, method, path)
        acts = self._traits.acting(method, path)
        params, config = params or {}, config or {}
        if self.client.handle_option_and_params(params, path, "maxRetriesOnFailure", 0)[0]:
            raise Forbidden("not sent: ccxt is told to send it again by itself, which nothing here ever is")
        cost = self.client.calculate_rate_limiter_cost(api, method, path, params, config)
        weight = float(cost) * self._traits.weight_per_cost
        fault: ExchangeError = OutcomeUnknown("nothing came of it")
        for _ in range(1 if acts else 2):
            await self.turns.wait(weight, orders=int(self._traits.orders(method, path)), urgent=acts)
            request = _Request()
            token = _request.set(request)
            try:
                async with self._in_turn.one(acts=acts) if self._traits.in_turn(api) else contextlib.nullcontext():
                    return await type(self.client).fetch2(self.client, path, api, method, params, config)
            except Exception as error:
                fault = self._fault(error, out=request.out, acts=acts)
            finally:
                _request.reset(token)
            if not isinstance(fault, LineLost):
                break
        raise fault

    async def _fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        self._guard.request(method, url, headers, body)
        self._see_that_it_goes_straight()
        self._open()
        request = _request.get() or _Request()
        token = _request.set(request)
        request.let_go = (method, url)
        try:
            return await type(self.client).fetch(self.client, url, method, headers, body)
        finally:
            request.let_go = None
            _request.reset(token)

    def _open(self) -> None:
        """ccxt's session, made ours: every request of it, whoever makes it and however, goes by the last hand."""
        import aiohttp  # noqa: PLC0415  (as ccxt: a node that only plays with paper needs neither)

        if self._session is None:
            self.client.open(True)
            self.client.ssl_context.keylog_filename = None  # Python would write TLS's own keys where it is told to
            self._session = aiohttp.ClientSession(
                connector=_connector(self._last_hand, self.client.ssl_context),
                response_class=_bounded(),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
            # aiohttp would send a cancel again when its connection was lost.
            self._session._retry_connection = False
        self.client.session = self._session

    async def _last_hand(self, sending: Any) -> None:
        """Raises Forbidden for what the guard has not just let go, once, or for anything that is not as it looks."""
        request, call = _request.get(), _call.get(None)
        method, url = sending.method, str(sending.url)
        self._guard.passed((method, url), None if request is None else request.let_go)
        headers = {name: value for name, value in sending.headers.items() if name.lower() != "host"}
        body = await sending.body.as_bytes() if sending.body else b""
        self._guard.request(method, url, headers, body)
        lengths = [value for name, value in headers.items() if name.lower() == "content-length"]
        if (
            sending.proxy is not None
            or sending.chunked
            or sending.compress
            or len(headers) + 1 != len(sending.headers)
            or sending.headers.get("host") != url.split("/")[2]
            or lengths not in ([], [str(len(body))])
        ):
            raise Forbidden("not sent: a request that would be read otherwise than it looks, or would go elsewhere")
        if request is not None:
            request.out, request.let_go = True, None  # once: an answer may send us to this very address again
        if call is not None:
            call.sent = True

    def _see_that_it_goes_straight(self) -> None:
        """Raises Forbidden where ccxt was told to send elsewhere first, or not to look at certificates."""
        for name in self._proxies:
            if getattr(self.client, name):
                raise Forbidden(f"not sent: ccxt is to go by {name}, and a node goes to its exchange straight")
        if not self.client.verify:
            raise Forbidden("not sent: ccxt is not to look at certificates")

    def _no_socket(self, url: str) -> NoReturn:
        """ccxt's hook for every WebSocket."""
        self._guard.socket(url)

    def _hear(self, status: int, reason: str, url: str, method: str, headers: Any, body: str, *_: Any) -> str:
        """ccxt's hook for every answer, whatever its status."""
        self.turns.limiter.hear(time.time(), _lower(headers))
        return body.strip()

    def _judge(
        self, status: int, reason: str, url: str, method: str, headers: Any, body: str, parsed: Any, *_: Any
    ) -> None:
        """ccxt's hook that raises for an answer that is no success."""
        error = self._traits.error_of(status, parsed)
        if error is None:
            if parsed is None:
                self._refuse(status, headers, "", "an answer that cannot be read", None)
            return
        code, message = error
        meaning = None
        if self._traits.meanings.get(code) in self._traits.sure_at_500:
            meaning = self._traits.meanings[code]
        elif status < 500:
            meaning = self._traits.meanings.get(code) or _BY_STATUS.get(status)
            meaning = meaning or self._by_class(status, reason, url, method, headers, body, parsed)
        if meaning is Meaning.REFUSED and message in self._traits.duplicate_messages:
            meaning = Meaning.DUPLICATE
        self._refuse(status, headers, code, message, meaning)

    def _refuse(self, status: int, headers: Any, code: str, message: str, meaning: Meaning | None) -> NoReturn:
        raise _Answered(status, _lower(headers), code, message, meaning)

    def _by_class(self, *answer: Any) -> Meaning | None:
        """What ccxt takes it for: its tables know more than ours."""
        try:
            type(self.client).handle_errors(self.client, *answer, None, None)
        except Exception as error:
            names = [each.__name__ for each in type(error).__mro__]
            return next((_BY_CLASS[name] for name in names if name in _BY_CLASS), None)
        return None

    def _fault(self, error: Exception, *, out: bool, acts: bool) -> ExchangeError:
        """What a request that failed comes to; `out` is whether anything of it was sent."""
        import aiohttp  # noqa: PLC0415  (as ccxt: a node that only plays with paper needs neither)

        cause = error.__cause__
        if isinstance(error, _Answered):
            return self._refusal(error, acts=acts)
        if isinstance(error, ExchangeError):
            elsewhere = f"{self._traits.name} sent us elsewhere, and we do not go there"
            return unknown(acts)(elsewhere) if out else error
        if not out:
            return ExchangeUnavailable(f"nothing was sent: {self._clean(str(error))}")
        if isinstance(cause, socket.gaierror | aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return ExchangeUnavailable(f"{self._traits.name} cannot be reached ({type(cause).__name__})")
        if isinstance(cause, TimeoutError):
            return unknown(acts)(f"{self._traits.name} did not answer in time")
        if isinstance(cause, aiohttp.ClientError):
            lost = OutcomeUnknown if acts else LineLost
            return lost(f"the connection to {self._traits.name} was lost ({type(cause).__name__})")
        return unknown(acts)(f"{self._traits.name} could not be asked ({type(error).__name__})")

    def _refusal(self, answer: _Answered, *, acts: bool) -> ExchangeError:
        """What an answer that is no success comes to."""
        words = self._clean(f"{answer.code} {answer.message}".strip()) or f"status {answer.status}"
        if answer.meaning is not Meaning.TOO_MANY and answer.meaning not in _USED_UP:
            return refusal(answer.meaning, words, status=answer.status, acts=acts)
        if answer.meaning in _USED_UP and "retry-after" not in answer.headers:
            return RateLimited(words, self.turns.used_up(_USED_UP[answer.meaning]))
        pause = self._traits.pauses.get(answer.code, self._traits.pause)
        otherwise = _BAN_SECONDS if answer.status == 418 else pause
        ahead = self.offset or 0.0
        return RateLimited(words, self.turns.hold(answer.headers, answer.message, otherwise=otherwise, ahead=ahead))

    def _own_fault(self, error: Exception, *, sent: bool, acts: bool) -> ExchangeError:
        """What an exception comes to that no request raised: a question ccxt would not ask, an answer not readable."""
        words = self._clean(f"{type(error).__name__}: {error}")
        if not sent:
            return OrderRefused(f"not sent: {words}") if acts else ExchangeUnavailable(f"not sent: {words}")
        return unknown(acts)(f"an answer that cannot be read ({type(error).__name__})")

    def _clean(self, words: str) -> str:
        """Words without secrets, or addresses with what hangs on them."""
        for name in self._traits.credentials.values():
            secret = getattr(self.client, name)
            words = words.replace(secret, "[redacted]") if secret else words
        return _QUERY.sub("", words)[:_MOST_WORDS]


def _connector(last_hand: Callable[[Any], Awaitable[None]], context: Any) -> Any:
    """Gives connections to what the last hand lets through, and to nothing else."""
    import aiohttp  # noqa: PLC0415  (as ccxt)

    class Straight(aiohttp.TCPConnector):
        async def connect(self, req: Any, *how: Any, **more: Any) -> Any:
            await last_hand(req)
            return await super().connect(req, *how, **more)

    return Straight(ssl=context)


def _bounded() -> Any:
    """The class of answers that are not read beyond a bound: a short one may unpack to more than the machine has."""
    import aiohttp  # noqa: PLC0415  (as ccxt)

    class Bounded(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                body = bytearray()
                async for part in self.content.iter_any():
                    body += part
                    if len(body) > MOST_ANSWERED:
                        self.close()
                        raise aiohttp.ClientPayloadError("an answer that is too long")
                self._body = bytes(body)
            return self._body

    return Bounded


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _milliseconds(raw: Any) -> int:
    """A time of this century or so. Raises ValueError for what no clock tells."""
    if not 0 < int(raw) < _NO_TIME:
        raise ValueError("no time")
    return int(raw)
