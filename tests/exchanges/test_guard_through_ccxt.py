"""What the guard lets go through ccxt to a socket, whichever door of ccxt's somebody takes."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from decimal import localcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from node_agent.exchanges.binance import open_exchange
from node_agent.exchanges.guard import Forbidden
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OutcomeUnknown
from tests.exchanges.opening import an_opening
from tests.exchanges.stub import Stub
from tests.exchanges.wall import Counting, counting


@pytest_asyncio.fixture
async def socket() -> AsyncIterator[Counting]:
    async with counting() as ready:
        yield ready


@pytest_asyncio.fixture
async def client(socket: Counting) -> AsyncIterator[Any]:
    exchange = open_exchange(an_opening(socket.url))
    with suppress(ExchangeError):  # so that it has its session, and a connection
        await exchange._line.client.publicGetTime({})
    yield exchange._line.client
    await exchange.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "attempt",
    [
        lambda c, url: c.withdraw("BTC", "1", "0x1"),
        lambda c, url: c.sapiPostCapitalWithdrawApply({"coin": "BTC"}),
        lambda c, url: c.fetch2("order/../capital/withdraw/apply", "private", "POST", {}),
        lambda c, url: c.fetch(f"{url}/sapi/v1/capital/withdraw/apply", "POST"),
        lambda c, url: c.fetch(f"{url}/api/v3/order/../../sapi/v1/capital/withdraw/apply", "POST"),
        lambda c, url: c.fetch(f"{url}/api/v3/time", "GET", {"Host": "evil.example"}),
        lambda c, url: c.fetch("https://api.binance.com/api/v3/time"),
        lambda c, url: c.privatePostOrder({"symbol": "BTCUSDT", "sideEffectType": "MARGIN_BUY"}),
        lambda c, url: c.session.get(f"{url}/api/v3/time"),
        lambda c, url: c.session.post(f"{url}/sapi/v1/capital/withdraw/apply"),
        lambda c, url: c.session.post(f"{url}/sapi/v1/capital/withdraw/apply", middlewares=()),
        lambda c, url: c.session.ws_connect(f"{url}/ws"),
        lambda c, url: c.watch(f"{url}/ws", "x", {"op": "withdraw"}),
    ],
)
async def test_no_door_of_ccxts_leads_past_the_guard(client: Any, socket: Counting, attempt: Any) -> None:
    before = len(socket.requests)
    with pytest.raises((Forbidden, ExchangeError)), localcontext():
        await attempt(client, socket.url)
    # ccxt asks for the rules of its symbols before it tries to withdraw
    assert set(socket.requests[before:]) <= {"GET /api/v3/exchangeInfo"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name", ["proxyUrl", "proxy_url", "httpProxy", "https_proxy", "socksProxy", "aiohttp_proxy", "httpsProxyCallback"]
)
async def test_no_proxy_is_gone_by(client: Any, socket: Counting, name: str) -> None:
    setattr(client, name, (lambda *_: socket.url) if "allback" in name else socket.url)
    before = socket.connections, len(socket.requests)
    with pytest.raises(Forbidden, match="straight"):
        await client.publicGetTime({})
    assert (socket.connections, len(socket.requests)) == before


@pytest.mark.asyncio
async def test_certificates_are_looked_at(client: Any, socket: Counting) -> None:
    client.verify = False
    before = len(socket.requests)
    with pytest.raises(Forbidden, match="certificates"):
        await client.publicGetTime({})
    assert len(socket.requests) == before


@pytest.mark.asyncio
async def test_what_is_sent_cannot_be_made_to_be_printed(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Forbidden, match="switched off"):
        client.verbose = True
    assert client.verbose is False
    logger = logging.getLogger("ccxt.base.exchange")
    logger.setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG), pytest.raises(ExchangeError):
        await client.privateGetAccount({})
    assert [record for record in caplog.records if record.name.startswith("ccxt")] == []


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_an_answer_that_sends_us_elsewhere_is_not_followed_and_leaves_an_order_unknown(status: int) -> None:
    async with counting() as elsewhere, Stub(status, "{}", {"location": f"{elsewhere.url}/api/v3/order"}) as stub:
        exchange = open_exchange(an_opening(stub.url))
        order = {"symbol": "BTCUSDT", "side": "BUY", "newClientOrderId": quote("a" * 32)}
        with pytest.raises(OutcomeUnknown):
            await exchange._line.ask(dict, "private_post_order", order, acts=True)
        await exchange.close()
    assert elsewhere.connections == 0


@pytest.mark.asyncio
async def test_what_an_exchange_has_us_keep_does_not_go_along_next_time() -> None:
    async with Stub(200, '{"serverTime": 1}', {"set-cookie": "id=1; Path=/"}) as stub:
        exchange = open_exchange(an_opening(stub.url))
        for _ in range(2):
            await exchange._line.ask(dict, "publicGetTime")
        await exchange.close()
    assert len(stub.requests) == 2
    assert not [each for each in stub.requests if b"cookie" in each.lower()]


@pytest.mark.asyncio
async def test_requests_that_are_under_way_together_are_each_let_go_by_themselves() -> None:
    async with Stub(200, "{}") as stub:
        exchange = open_exchange(an_opening(stub.url))
        client = exchange._line.client

        async def several() -> dict[str, Any]:
            await asyncio.gather(*(client.publicGetTicker24hr({"symbol": f"S{number}"}) for number in range(5)))
            with pytest.raises(Forbidden):
                await client.session.get(f"{stub.url}/api/v3/ticker/24hr?symbol=S9")
            return {}

        client.several = several
        assert await exchange._line.ask(dict, "several") == {}
        await exchange.close()
    assert len(stub.requests) == 5


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["private_post_order", "private_delete_order"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_an_answer_that_sends_an_order_to_its_own_address_again_has_it_sent_once(
    status: int, method: str
) -> None:
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                seen.append((await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1])
                answer = f"HTTP/1.1 {status} Word\r\nLocation: {seen[-1]}\r\nContent-Length: 0\r\n\r\n"
                writer.write(answer.encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    exchange = open_exchange(an_opening(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    with pytest.raises(OutcomeUnknown):
        await exchange._line.ask(dict, method, {"symbol": "BTCUSDT"}, acts=True)
    await exchange.close()
    server.close()
    assert len([each for each in seen if each.startswith("/")]) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["parameters", "options", "options of the path"])
async def test_ccxt_does_not_send_an_order_again_whoever_tells_it_to(where: str) -> None:
    async with Stub() as stub:
        stub.answer = b""
        exchange = open_exchange(an_opening(stub.url))
        order: dict[str, Any] = {"symbol": "BTCUSDT"}
        told = {
            "parameters": order,
            "options": exchange._line.client.options,
            "options of the path": exchange._line.client.options.setdefault("order", {}),
        }
        told[where]["maxRetriesOnFailure"] = 3
        with pytest.raises(Forbidden):
            await exchange._line.ask(dict, "private_post_order", order, acts=True)
        await exchange.close()
    assert stub.requests == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"X-Forwarded-Host": "e"}, {"Transfer-Encoding": "chunked"}, {"Cookie": "a=b"}],
)
async def test_a_header_that_ccxt_adds_by_itself_goes_out_no_more_than_another(
    client: Any, socket: Counting, headers: dict[str, str]
) -> None:
    client.headers = headers
    before = len(socket.requests)
    with pytest.raises(ExchangeError):
        await client.publicGetTime({})
    assert len(socket.requests) == before


@pytest.mark.asyncio
async def test_a_body_is_as_long_as_its_header_says(client: Any, socket: Counting) -> None:
    before = len(socket.requests)
    with pytest.raises(Forbidden):
        await client.fetch(f"{socket.url}/api/v3/order", "POST", {"Content-Length": "0"}, "symbol=BTCUSDT")
    assert len(socket.requests) == before


@pytest.mark.asyncio
async def test_a_client_that_somebody_has_opened_goes_by_the_last_hand_too() -> None:
    async with counting() as elsewhere, Stub(307, "{}", {"location": f"{elsewhere.url}/x"}) as stub:
        exchange = open_exchange(an_opening(stub.url))
        exchange._line.client.open()
        with pytest.raises(OutcomeUnknown):
            await exchange._line.ask(dict, "private_post_order", {"symbol": "BTCUSDT"}, acts=True)
        await exchange.close()
    assert elsewhere.connections == 0


@pytest.mark.asyncio
async def test_an_answer_that_unpacks_to_more_than_it_may_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("node_agent.exchanges.line.MOST_ANSWERED", 1 << 16)
    packed = gzip.compress(b'{"serverTime": ' + b" " * (1 << 20) + b"1}")
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n".encode()
    async with Stub() as stub:
        stub.answer = head + packed
        exchange = open_exchange(an_opening(stub.url))
        with pytest.raises(ExchangeUnavailable, match="lost"):
            await exchange._line.ask(dict, "publicGetTime")
        await exchange.close()


@pytest.mark.asyncio
async def test_the_keys_of_a_connection_are_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    async with Stub(200, '{"serverTime": 1}') as stub:
        exchange = open_exchange(an_opening(stub.url))
        await exchange._line.ask(dict, "publicGetTime")
        assert exchange._line.client.ssl_context.keylog_filename is None
        await exchange.close()
