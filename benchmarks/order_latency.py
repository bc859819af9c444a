"""How long a signed command takes to become an order at the exchange, beside what it stands on, in one run.

From the moment at which the uplink has a verified answer in its hands to the moment at which the order's first bytes
are at an exchange on loopback: the command is read and written down, weighed against the owner's limits, its order is
in the journal durably, and only then sent. Beside it, round for round: our adapter without a node, ccxt's
`create_order` alone, the same with ccxt's own limiter, and one fsync on the same disk. Before each there are 60 ms of
idleness, for which that limiter gives no credit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pydantic import SecretStr

from node_agent import redaction
from node_agent.client import Clock
from node_agent.core.market import OrderRequest, OrderType, Side, TimeInForce
from node_agent.core.policy import TRADING_COMMANDS, Policy
from node_agent.enrol import node_key_name
from node_agent.exchanges.binance import Binance, binance_traits
from node_agent.exchanges.profile import Opening
from node_agent.exchanges.spot import SpotExchange
from node_agent.exchanges.through_ccxt import connect
from node_agent.journal import Journal, Registration
from node_agent.runner import Runner
from node_agent.uplink import Uplink
from node_agent.vault import Vault, VaultKey
from node_protocol import PROTOCOL_VERSION
from node_protocol.messages import Command, SyncAnswer, encode

SYMBOL: Final = "BTC/USDT"
IDLE_SECONDS: Final = 0.06
PATIENCE: Final = 20.0
TICKET: Final = "1." + "A" * 22
NODE_ID: Final = "nd_" + "a" * 16
MINUTE: Final = 60_000

OURS, ADAPTER, CCXT, LIMITED = "a command", "our adapter alone", "ccxt", "ccxt, its limiter on"
FSYNC: Final = "one fsync"


class Exchange(asyncio.Protocol):
    """Notes when each order's first bytes come, and lets it expire at once, so that nothing follows from it."""

    def __init__(self, arrived: Connection) -> None:
        self._arrived = arrived
        self._data = b""
        self._at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's word that somebody is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's word that something came."""
        self._at = self._at or time.monotonic_ns()
        self._data += data
        head, ended, body = self._data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if not ended or len(body) < int(fields.get(b"content-length", 0)):
            return
        method, path, _ = head.decode().split(" ", 2)
        answer = json.dumps(self._answer(method, path.partition("?")[0].rpartition("/")[2], body.decode())).encode()
        top = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        self._transport.write(top.encode() + answer)
        if method == "POST":
            self._arrived.send(self._at)
        self._data, self._at = b"", 0

    def _answer(self, method: str, what: str, body: str) -> Any:
        now = int(time.time() * 1000)
        if method == "POST":
            sent = dict(pair.split("=") for pair in body.split("&"))
            order = {"symbol": "BTCUSDT", "orderId": now, "clientOrderId": sent["newClientOrderId"]}
            amounts = {"origQty": sent["quantity"], "executedQty": "0", "cummulativeQuoteQty": "0", "price": "30000"}
            return order | amounts | {"status": "EXPIRED", "type": "LIMIT", "side": "BUY", "transactTime": now}
        opened = now - now % MINUTE - MINUTE
        price = "40000"
        return {
            "time": {"serverTime": now},
            "exchangeInfo": {"symbols": [_listed()]},
            "account": {"balances": [{"asset": "USDT", "free": "1000000", "locked": "0"}]},
            "klines": [[at, price, price, price, price, "1"] for at in (opened, opened + MINUTE)],
        }.get(what, [])


def _listed() -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "stepSize": "0.00001"},
        {"filterType": "NOTIONAL", "minNotional": "5"},
    ]
    names = {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}
    return {**names, "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS"], "filters": filters}


def serve(arrived: Connection) -> None:
    """The exchange's process: sends its port, then the time of each order's arrival."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Exchange(arrived), "127.0.0.1", 0)
        arrived.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


class Arrivals:
    """The exchange's process, and what it tells."""

    def __init__(self, told: Connection) -> None:
        self._told = told
        self._readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(told.fileno(), self._readable.set)

    async def next(self) -> int:
        """What it tells next: its port, then arrivals in monotonic nanoseconds."""
        async with asyncio.timeout(PATIENCE):
            while not self._told.poll():
                self._readable.clear()
                await self._readable.wait()
        value: int = self._told.recv()
        return value


@asynccontextmanager
async def exchange() -> AsyncIterator[tuple[str, Arrivals]]:
    """An exchange of this benchmark's own, in its own process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        arrivals = Arrivals(ours)
        yield f"http://127.0.0.1:{await arrivals.next()}", arrivals
    finally:
        asyncio.get_running_loop().remove_reader(ours.fileno())
        process.terminate()
        process.join()


class Server:
    """In the place of the signed client: answers as if a server's verified answer had just come."""

    def __init__(self) -> None:
        self._commands: asyncio.Queue[Command] = asyncio.Queue()
        self._acked = 0
        self.answered = 0
        """When the last command was handed over."""

    def place(self) -> None:
        """Have the node place an order, with the next answer that it waits for."""
        now = datetime.now(UTC)
        order = {"exchange": "binance", "symbol": SYMBOL, "side": "buy", "type": "limit", "amount": "0.01"}
        self._commands.put_nowait(
            Command(
                id=f"cmd_{uuid4().hex}",
                issued_at=now,
                expires_at=now + timedelta(minutes=1),
                type="order.place",
                data=order | {"price": "39000", "time_in_force": "ioc"},
            )
        )

    async def post(self, path: str, body: bytes, key: object, *, wait: float = 0) -> bytes:
        """One sync: acknowledges all, and waits for a command where it may."""
        events = json.loads(body).get("events") or []
        self._acked = max([self._acked, *(event["seq"] for event in events)])
        commands = (await self._commands.get(),) if wait else ()
        answer = encode(
            SyncAnswer(
                protocol=PROTOCOL_VERSION,
                ticket=TICKET,
                acked_through=self._acked,
                server_time=datetime.now(UTC),
                commands=commands,
            )
        )
        if commands:
            self.answered = time.monotonic_ns()
        return answer

    async def close(self) -> None:
        """Nothing to let go of."""


@asynccontextmanager
async def node(directory: Path, url: str) -> AsyncIterator[Server]:
    """A whole node but for its server, trading on the exchange."""
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(contextlib.closing(Journal.open(directory / "journal.sqlite3")))
        vault = Vault.create(directory / "vault.json", VaultKey(passphrase=SecretStr("made up")))
        key_id = f"{NODE_ID}.1"
        vault.put(node_key_name(key_id), b"k" * 32)
        now = datetime.now(UTC)
        enrolled = Registration("http://127.0.0.1:1", "127.0.0.1:1", True, NODE_ID, key_id, "s", "A" * 22, TICKET, now)
        journal.save_registration(enrolled)
        runner = Runner(
            journal=journal,
            exchange=adapter(url),
            policy=limits(),
            strategies=(),
            version="0",
            mode="live",
            clock=lambda: datetime.now(UTC),
        )
        server = Server()
        uplink = Uplink(
            journal=journal,
            vault=vault,
            client=server,  # type: ignore[arg-type]
            clock=Clock(time.time),
            fingerprint=lambda: {"machine_id": "A" * 22},
            status=runner.status,
            deliver=runner.deliver,
        )
        runner.attach(uplink)
        running = asyncio.create_task(runner.run())
        try:
            yield server
        finally:
            runner.stop("measured")
            await running


def adapter(url: str) -> SpotExchange:
    """Ours, with limits so wide that a benchmark does not meet them."""
    traits = binance_traits(5.0)
    wide = replace(traits, limits=tuple(replace(each, most=each.most * 100) for each in traits.limits))
    key = SecretStr("k" * 64)
    opening = Opening({"key": key, "secret": key}, SYMBOL, timedelta(minutes=1), url=url)
    return Binance(connect(wide, opening), wide, symbol=SYMBOL, interval=timedelta(minutes=1))


def limits() -> Policy:
    """An owner who lets all of it pass."""
    much = Decimal(10**12)
    return Policy(
        exchanges=frozenset({"binance"}),
        symbols=frozenset({SYMBOL}),
        order_types=frozenset(OrderType),
        max_order_notional=much,
        max_open_notional=much,
        max_position_notional=much,
        max_total_notional=much,
        orders_per_minute=10**6,
        orders_per_day=10**6,
        daily_loss=much,
        drawdown=much,
        price_collar=Decimal("0.9"),
        max_signal_age=timedelta(hours=1),
        max_data_age=timedelta(hours=1),
        server_commands=TRADING_COMMANDS,
    )


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Our adapter without a node: what places one order."""
    alone = adapter(url)
    await alone.open_orders()
    amount, price = Decimal("0.01"), Decimal(39000)
    try:
        yield lambda: alone.create_order(
            OrderRequest(uuid4().hex, SYMBOL, Side.BUY, OrderType.LIMIT, amount, price, time_in_force=TimeInForce.IOC)
        )
    finally:
        await alone.close()


@asynccontextmanager
async def bare(url: str, *, limited: bool) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """ccxt alone: what places one order."""
    from ccxt.async_support import binance  # type: ignore[import-untyped]

    options = {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False, "fetchCurrencies": False}
    client = binance({"apiKey": "k" * 64, "secret": "k" * 64, "enableRateLimit": limited, "options": options})
    client.has["fetchCurrencies"] = False
    client.urls["api"] = {"public": f"{url}/api/v3", "private": f"{url}/api/v3"}
    await client.load_markets()
    try:
        yield lambda: client.create_order(
            SYMBOL, "limit", "buy", 0.01, 39000, {"newClientOrderId": uuid4().hex, "timeInForce": "IOC"}
        )
    finally:
        await client.close()


async def measure(orders: int, directory: Path) -> dict[str, list[float]]:
    """Milliseconds of each, round for round."""
    taken: dict[str, list[float]] = {name: [] for name in (OURS, ADAPTER, CCXT, LIMITED, FSYNC)}
    async with contextlib.AsyncExitStack() as stack:
        url, arrivals = await stack.enter_async_context(exchange())
        alone = await stack.enter_async_context(ours(url))
        plain = await stack.enter_async_context(bare(url, limited=False))
        limited = await stack.enter_async_context(bare(url, limited=True))
        server = await stack.enter_async_context(node(directory, url))
        written = stack.enter_context((directory / "fsync").open("ab", buffering=0))
        for _ in range(orders):
            await asyncio.sleep(IDLE_SECONDS)
            server.place()
            taken[OURS].append((await arrivals.next() - server.answered) / 1e6)
            for name, create_order in ((ADAPTER, alone), (CCXT, plain), (LIMITED, limited)):
                await asyncio.sleep(IDLE_SECONDS)
                began = time.monotonic_ns()
                await create_order()
                taken[name].append((await arrivals.next() - began) / 1e6)
            await asyncio.sleep(IDLE_SECONDS)
            written.write(b"x" * 4096)
            began = time.monotonic_ns()
            os.fsync(written.fileno())
            taken[FSYNC].append((time.monotonic_ns() - began) / 1e6)
    return taken


def report_of(taken: dict[str, list[float]]) -> dict[str, Any]:
    """p50 and p99 of each, in milliseconds and as multiples of ccxt alone; and whether the aim is met."""
    rows = {}
    for name, values in taken.items():
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        rows[name] = {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}
    for row in rows.values():
        row["times_ccxt"] = round(row["p50"] / rows[CCXT]["p50"], 2)
    aim = round(rows[CCXT]["p50"] + 1.5 * rows[FSYNC]["p50"] + 1, 3)
    return {"rows": rows, "aim": aim, "met": rows[OURS]["p50"] <= aim}


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.order_latency", description=__doc__)
    parser.add_argument("--orders", type=int, default=120, help="of each kind (default 120, about 45 s)")
    parser.add_argument("--directory", type=Path, default=Path(), help="on the disk to write to (default: here)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    # The node writes its log as always, to nowhere.
    with tempfile.TemporaryDirectory(dir=given.directory) as directory, Path(os.devnull).open("w") as nowhere:
        with contextlib.redirect_stderr(nowhere):
            redaction.configure(json=True, level="info")
        report = report_of(asyncio.run(measure(given.orders, Path(directory))))
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


def show(report: dict[str, Any]) -> None:
    """Print it for people."""
    print(f"{'ms':<24}{'p50':>9}{'p99':>9}{'x ccxt':>9}")
    for name, row in report["rows"].items():
        print(f"{name:<24}{row['p50']:>9}{row['p99']:>9}{row['times_ccxt']:>9}")
    verdict = "met" if report["met"] else "not met"
    print(f"\nthe aim, ccxt + 1.5 fsync + 1 ms at p50: {report['aim']} ms, {verdict}")


if __name__ == "__main__":
    main()
