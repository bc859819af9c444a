"""Every way out of ccxt that there is, pushed at the guard: what an exchange's `describe()` lists, by each door.

The exchange is a socket on loopback that counts what arrives and answers nothing of use. A way is `open` when something
arrived, else `shut`.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import localcontext
from functools import partial
from typing import Any, Final

import ccxt.async_support  # type: ignore[import-untyped, unused-ignore]
import ccxt.prediction  # type: ignore[import-untyped, unused-ignore]

from node_agent.exchanges import allowlist
from node_agent.exchanges.catalogue import EXCHANGES, open_exchange
from node_agent.exchanges.limiter import Limiter
from node_agent.exchanges.through_ccxt import connect
from tests.exchanges.cases import case_of

OF_CCXT: Final = tuple(name for name in EXCHANGES if name != "robinhood")
"""Exchanges that are spoken to through ccxt."""
_SECOND_KEY: Final = {"l2ApiKey": "k", "l2Secret": "c2VjcmV0", "l2Passphrase": "p"}
"""What Polymarket derives from a key, and needs to sign anything else."""
ABOUT_THE_KEY_ITSELF: Final = frozenset(
    (
        "POST https://api.kraken.com/0/private/GetApiKeyInfo",
        "GET https://clob.polymarket.com/auth/derive-api-key",
    )
)
"""These ask what a key may do, or derive a second one from it. Neither makes a key."""
_WITH_STREAMS: Final = {"polymarket": "ccxt.prediction.polymarket"}
"""ccxt's classes that have streams, where they are not in `ccxt.pro`."""

DANGERS: Final = {
    "withdraw": re.compile(r"withdraw|payout|cashout|fiat|transactions\b|/send|deposit.?address|move_funds", re.I),
    "transfer": re.compile(r"transfer|move_funds|/send|walletTransfer|asset/(?!tradeFee|query)", re.I),
    "convert": re.compile(r"convert|conversion|swap/|dust", re.I),
    "loan": re.compile(r"loan|lend|borrow|repay", re.I),
    "margin": re.compile(r"margin|leverage|isolated|portfolio|pm/|futures|position", re.I),
    "staking": re.compile(r"stak|earn|saving|simple-|mining|redeem|subscri|invest", re.I),
    "sub-account": re.compile(r"sub.?account|sub-?user|managed", re.I),
    "API key": re.compile(r"api-?key|apikey|api_key|user-?key|broker/", re.I),
}
"""What no request of a node may be about, by words of its path."""


_NO_REQUESTS: Final = frozenset(
    ("close", "close_connector", "close_proxy_sessions", "sleep", "throttle", "fetch", "fetch2", "request")
)
_USUAL: Final[Mapping[str, Any]] = {
    "symbol": "BTC/USDT",
    "symbols": ["BTC/USDT"],
    "code": "BTC",
    "codes": ["BTC"],
    "fromCode": "BTC",
    "toCode": "USDT",
    "amount": "1",
    "cost": "1",
    "price": "1",
    "triggerPrice": "1",
    "type": "limit",
    "side": "buy",
    "timeframe": "1m",
    "since": 1,
    "limit": 1,
    "id": "1",
    "ids": ["1"],
    "address": "0x0000000000000000000000000000000000000001",
    "tag": "1",
    "fromAccount": "spot",
    "toAccount": "funding",
    "leverage": 2,
    "marginMode": "cross",
    "orders": [{"symbol": "BTC/USDT", "type": "limit", "side": "buy", "amount": "1", "price": "1"}],
    "url": "wss://example.com/ws",
}
"""What unified methods are called with."""
_PARAMS: Final = {"withdraw": {"key": "x1"}}
"""What some of them want beside that."""
MOVES: Final = ("withdraw", "transfer", "create_order", "cancel_order", "create_convert_trade", "borrow_cross_margin")
"""Methods that must come as far as the guard where ccxt has them, or they were not tested."""


@dataclass(frozen=True, slots=True)
class Way:
    """One endpoint as ccxt lists it."""

    api: tuple[str, ...]
    method: str
    path: str

    @property
    def name(self) -> str:
        """As an allowlist writes it, with its method."""
        return f"{self.method} {'.'.join(self.api)} {self.path}"


@dataclass
class Found:
    """What came of pushing."""

    ways: int = 0
    pushed: Counter[str] = field(default_factory=Counter)
    """How often, by door."""
    asked: dict[str, set[str]] = field(default_factory=dict)
    """Which names came as far as the guard, by door: ccxt gives up on others before, for it does not know them."""
    out: Counter[str] = field(default_factory=Counter)
    """How often something came out, by door."""
    arrived: set[str] = field(default_factory=set)
    """What came out, by any door: method and path."""
    through: dict[str, set[str]] = field(default_factory=dict)
    """Which names something came out of, by door."""


class Asked:
    """A guard that counts how often it is asked."""

    def __init__(self, guard: Any) -> None:
        self._guard = guard
        self.times = 0

    def __getattr__(self, name: str) -> Any:
        self.times += 1
        return getattr(self._guard, name)


class Counting:
    """A socket that counts: connections, and requests by method and path."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[str] = []
        self.guard: Any = None
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One caller."""
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.decode("latin-1").split(" ", 2)
                self.requests.append(f"{method} {target.partition('?')[0]}")
                length = re.search(rb"content-length: *(\d+)", head, re.I)
                if length is not None:
                    await reader.readexactly(int(length.group(1)))
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
        writer.close()


@asynccontextmanager
async def counting() -> AsyncIterator[Counting]:
    """A socket that counts, on loopback."""
    socket = Counting()
    server = await asyncio.start_server(socket.serve, "127.0.0.1", 0)
    async with server:
        socket.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield socket


def ways(api: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[Way]:
    """Every endpoint in a `describe()['api']`."""
    for name, below in api.items():
        if name.lower() in {"get", "post", "put", "delete", "patch"}:
            for path in below:
                yield Way(above, name.upper(), path)
        else:
            yield from ways(below, (*above, name))


Must = Mapping[tuple[str, str], Mapping[str, str]]


def must_of(name: str) -> Must:
    """Of each endpoint on a list, by method and ccxt's path: what may not be missing, as it may be."""
    return {
        (each.method, (each.call or "").rpartition(" ")[2]): {
            parameter: each.only[parameter][0] for parameter in each.must if parameter != "method"
        }
        for each in allowlist.read(name).allowed
    }


async def push(client: Any, socket: Counting, must: Must, *, streams: bool = False) -> Found:
    """Push every way of one of ccxt's clients at its guard by each door; with `streams`, its WebSockets alone."""
    found = Found()
    client.options |= _SECOND_KEY
    client.set_markets([_market(client)], {code: _currency(client, code) for code in ("BTC", "USDT")})
    if streams:
        for name in _methods(client, r"(un_)?watch_.*|.*_ws|watch"):
            await _try(found, socket, "WebSocket", name, partial(_called, client, name))
        for url in _addresses(client.urls):
            await _try(found, socket, "WebSocket", url, partial(_said, client, url))
        return found
    listed = list(ways(client.describe()["api"]))
    found.ways = len(listed)
    for way in listed:
        filled = dict.fromkeys(re.findall(r"\{(\w+)\}", way.path), "x1")
        needed = {name.rpartition(".")[2]: value for name, value in must.get((way.method, way.path), {}).items()}
        filled = {**filled, **needed}
        asked = way.path, list(way.api), way.method, filled
        await _try(found, socket, "request", way.name, partial(client.request, *asked))
        await _try(found, socket, "fetch2", way.name, partial(client.fetch2, *asked))
        await _try(found, socket, "fetch", way.name, partial(_fetched, client, way, filled))
    for name, entry in _entries(type(client)):
        filled = dict.fromkeys(re.findall(r"\{(\w+)\}", entry.path), "x1")
        required = must.get((entry.method, entry.path), {})
        filled |= {parameter.rpartition(".")[2]: value for parameter, value in required.items()}
        await _try(found, socket, "implicit", name, partial(getattr(client, name), filled))
    for name in _methods(client, r"(?!watch|un_watch).*(?<!_ws)"):
        await _try(found, socket, "unified", name, partial(_called, client, name))
    return found


async def _try(found: Found, socket: Counting, door: str, name: str, attempt: Callable[[], Any]) -> None:
    before, times = (len(socket.requests), socket.connections), socket.guard.times
    with suppress(Exception), localcontext():
        async with asyncio.timeout(5):
            await attempt()
    await asyncio.sleep(0)
    found.pushed[door] += 1
    if socket.guard.times > times:
        found.asked.setdefault(door, set()).add(name)
    if (len(socket.requests), socket.connections) != before:
        found.out[door] += 1
        found.through.setdefault(door, set()).add(name)
        found.arrived |= set(socket.requests[before[0] :])


async def _fetched(client: Any, way: Way, filled: Mapping[str, str]) -> None:
    signed = client.sign(way.path, list(way.api), way.method, dict(filled))
    await client.fetch(signed["url"], signed["method"], signed["headers"], signed["body"])


async def _called(client: Any, name: str) -> None:
    method = getattr(client, name)
    more = {"params": dict(_PARAMS[name])} if name in _PARAMS else {}
    done = await method(*_arguments(client, name), **more)
    while inspect.isawaitable(done):  # ccxt forgets to await one of its own
        done = await done


async def _said(client: Any, url: str) -> None:
    await client.client(url).send({"op": "withdraw"})


def _entries(kind: type) -> Iterator[tuple[str, Any]]:
    """ccxt's implicit methods, one name each."""
    seen = set()
    for base in kind.__mro__:
        for name, entry in vars(base).items():
            if type(entry).__name__ == "Entry" and id(entry) not in seen:
                seen.add(id(entry))
                yield name, entry


def _methods(client: Any, form: str) -> list[str]:
    """Names of its methods that ask something of an exchange."""
    names = (name for name in dir(type(client)) if re.fullmatch(form, name) and not name.startswith("_"))
    return [
        name
        for name in names
        if inspect.iscoroutinefunction(getattr(type(client), name))
        and name == name.lower()
        and name not in _NO_REQUESTS
    ]


def _arguments(client: Any, name: str) -> list[Any]:
    """Something for each argument that it must have, and for those by which money would go out."""
    parameters = inspect.signature(getattr(client, name)).parameters.values()
    return [
        _USUAL.get(each.name, "x1")
        for each in parameters
        if each.name != "params" and each.kind is each.POSITIONAL_OR_KEYWORD
    ]


def _addresses(urls: Any) -> Iterator[str]:
    if isinstance(urls, Mapping):
        for each in urls.values():
            yield from _addresses(each)
    elif isinstance(urls, str) and urls.startswith(("http", "ws")):
        yield urls


def _market(client: Any) -> Any:
    return client.safe_market_structure(
        {
            "id": "BTCUSDT",
            "symbol": "BTC/USDT",
            "base": "BTC",
            "quote": "USDT",
            "baseId": "BTC",
            "quoteId": "USDT",
            "type": "spot",
            "spot": True,
            "active": True,
            "info": {"orderTypes": ["LIMIT", "MARKET", "STOP_LOSS"]},
            "precision": {"amount": "0.0001", "price": "0.01"},
        }
    )


def _currency(client: Any, code: str) -> Any:
    return client.safe_currency_structure({"id": code, "code": code, "precision": "0.00000001"})


def dangerous(name: str) -> list[str]:
    """What a way is about, of what it must not be about."""
    if name in ABOUT_THE_KEY_ITSELF:
        return []
    return [danger for danger, words in DANGERS.items() if words.search(name)]


async def pushed(name: str) -> tuple[Found, Found]:
    """What comes of pushing at one exchange's guard: its requests, and the WebSockets of ccxt's class with streams."""
    async with counting() as socket:
        exchange: Any = open_exchange(name, case_of(name).opening(socket.url))
        exchange._line.turns.limiter = Limiter((), 0.0)  # what it would make wait is not what is tested
        socket.guard = exchange._line._guard = Asked(exchange._line._guard)
        try:
            found = await push(exchange._line.client, socket, must_of(name))
        finally:
            await exchange.close()
    async with counting() as socket:
        traits = replace(exchange._traits, ccxt_class=_WITH_STREAMS.get(name, f"ccxt.pro.{name}"))
        line: Any = connect(traits, case_of(name).opening(socket.url))
        socket.guard = line._guard = Asked(line._guard)
        try:
            streams = await push(line.client, socket, {}, streams=True)
        finally:
            await line.close()
    return found, streams


def open_ways(name: str, found: Found) -> dict[str, str]:
    """Of each endpoint that something came out of: why it is on the list. Raises KeyError for one that is on none."""
    allowed = [(each.matcher(""), each) for each in allowlist.read(name).allowed]
    reasons = {}
    for arrived in sorted(found.arrived):
        method, _, path = arrived.partition(" ")
        fitting = [each for matcher, each in allowed if each.method == method and matcher.fullmatch(path)]
        if not fitting:
            raise KeyError(f"{name}: {arrived} went out and is on no list")
        reasons[f"{method} {fitting[0].url}"] = fitting[0].why
    return reasons


async def main() -> None:
    """Print, of each exchange, how many ways there are and how many are open, by what they are about."""
    print(f"{'exchange':<12}{'ways':>6}{'pushes':>8}{'open':>6}  " + "  ".join(DANGERS) + "  (open of those about it)")
    for name in OF_CCXT:
        found, streams = await pushed(name)
        listed = list(ways(ccxt_client(name).describe()["api"]))
        reasons = open_ways(name, found)
        about = {danger: sum(danger in dangerous(each.path) for each in listed) for danger in DANGERS}
        reached = {danger: sum(danger in dangerous(url) for url in reasons) for danger in DANGERS}
        counts = "  ".join(f"{reached[danger]}/{about[danger]}".rjust(len(danger)) for danger in DANGERS)
        pushes = sum(found.pushed.values()) + sum(streams.pushed.values())
        print(f"{name:<12}{found.ways:>6}{pushes:>8}{len(reasons):>6}  {counts}")
        asked = ", ".join(f"{door} {len(found.asked[door])}" for door in found.asked)
        print(f"{'':<12}asked the guard: {asked}")
        print(f"{'':<12}WebSockets: {sum(streams.pushed.values())} pushes, {len(streams.arrived)} went out")


def ccxt_client(name: str) -> Any:
    """One of ccxt's own, as it is."""
    return getattr(ccxt.prediction if name == "polymarket" else ccxt.async_support, name)()


if __name__ == "__main__":
    asyncio.run(main())
