"""What the guard lets go, and what a stranger would try to get past it: as values, and through ccxt to a socket."""

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
from hypothesis import given
from hypothesis import strategies as st

from node_agent.exchanges import allowlist
from node_agent.exchanges.allowlist import AllowlistError, parse
from node_agent.exchanges.binance import open_exchange
from node_agent.exchanges.catalogue import EXCHANGES
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OutcomeUnknown
from tests.exchanges.opening import an_opening
from tests.exchanges.stub import Stub
from tests.exchanges.wall import Counting, counting

LIST = """
exchange = "shop"
body = "json"
headers = ["x-key"]

[[allowed]]
why = "place an order"
method = "POST"
url = "https://api.shop.example/v1/orders"
call = "private orders"
acts = true
query = ["sign"]
body = ["id", "size", "config.limit.price", "mode", "tags[]"]
only = { mode = ["cash"] }
must = ["mode"]

[[allowed]]
why = "one order"
method = "GET"
url = "https://api.shop.example/v1/orders/{order_id}"
call = "private orders/{order_id}"
query = ["full"]
"""
ORDERS = "https://api.shop.example/v1/orders"
GUARD = Guard(parse("shop", LIST))


def asked(method: str = "GET", url: str = f"{ORDERS}/a-1_B", headers: Any = None, body: Any = None) -> None:
    GUARD.request(method, url, headers, body)


def test_what_is_on_the_list_goes() -> None:
    asked()
    asked(url=f"{ORDERS}/abc?full=yes")
    asked("POST", ORDERS, {"X-Key": "k", "Content-Type": "application/json"}, '{"id": "1", "mode": "cash"}')
    asked(
        "POST",
        f"{ORDERS}?sign=ab%2Bc",
        None,
        b'{"mode": "cash", "config": {"limit": {"price": "1"}}, "tags": ["a", "b"]}',
    )
    GUARD.call(["private"], "GET", "orders/{order_id}")
    GUARD.call("private", "POST", "orders")


@pytest.mark.parametrize(
    "url",
    [
        f"{ORDERS}/../accounts",
        f"{ORDERS}/..",
        f"{ORDERS}/.",
        f"{ORDERS}/%2e%2e/accounts",
        f"{ORDERS}/%2E%2E",
        f"{ORDERS}/a%2Fb",
        f"{ORDERS}//a",
        f"{ORDERS}/a/",
        f"{ORDERS}/a/b",
        f"{ORDERS}/",
        f"{ORDERS}/a#b",
        f"{ORDERS}/a;b=c",
        f"{ORDERS}/a\\b",
        f"{ORDERS}/a\n",
        f"{ORDERS}/a ",
        f"{ORDERS}/\uff41",
        f"{ORDERS}/" + "a" * 129,
        f"{ORDERS}/a?",
        f"{ORDERS}/a?full",
        f"{ORDERS}/a?full=1&full=2",
        f"{ORDERS}/a?full=1&other=2",
        f"{ORDERS}/a?full=1&",
        f"{ORDERS}/a?full=1#x",
        f"{ORDERS}/a?full=%zz",
        f"{ORDERS}/a?full=é",
        f"{ORDERS}/a?fu%6cl=1",
        "http://api.shop.example/v1/orders/a",
        "HTTPS://api.shop.example/v1/orders/a",
        "https://api.shop.example:443/v1/orders/a",
        "https://api.shop.example./v1/orders/a",
        "https://API.shop.example/v1/orders/a",
        "https://user@api.shop.example/v1/orders/a",
        "https://user:word@api.shop.example/v1/orders/a",
        "https://api.shop.example@evil.example/v1/orders/a",
        "https://api.shop.example.evil.example/v1/orders/a",
        "https://evil.example/https://api.shop.example/v1/orders/a",
        "https:/api.shop.example/v1/orders/a",
        "//api.shop.example/v1/orders/a",
        "wss://api.shop.example/v1/orders/a",
        "https://api.shop.example/v2/orders/a",
        "https://api.shop.example/v1/Orders/a",
        "",
    ],
)
def test_an_address_that_is_another_in_any_way_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        asked(url=url)


@pytest.mark.parametrize("method", ["get", "HEAD", "PUT", "PATCH", "DELETE", "POST", "GET ", ""])
def test_another_method_is_another_endpoint(method: str) -> None:
    with pytest.raises(Forbidden):
        asked(method)


@pytest.mark.parametrize(
    "body",
    [
        '{"id": "1", "leverage": "2"}',
        '{"mode": "cross"}',
        '{"mode": ["cash", "cross"]}',
        '{"mode": null}',
        '{"mode": ["cash"]}',
        '{"": {"mode": "cash"}, "id": "1"}',
        '{"mode": "cash", "tags": "a"}',
        '{"mode": "cash", "tags[]": "a"}',
        '{"mode": "cash", "tags": [["a"]]}',
        '{"mode": "cash", "config": [{"limit": {"price": "1"}}, {"limit": {"price": "2"}}]}',
        '{"mode": "cash", "config": {"limit": [{"price": "1"}, {"price": "2"}]}}',
        '{"mode": "cash", "mode": "cross"}',
        '{"config": {"market": {"size": "1"}}}',
        '{"config.limit.price": "1"}',
        '{"config": {"limit": {"price": {"deep": 1}}}}',
        '{"other": {}}',
        '{"other": []}',
        '[{"id": "1"}]',
        '"id"',
        "id=1",
        '{"id": "1"} {"leverage": "2"}',
        '{"id": NaN}',
        '{"id": "' + "x" * 20_000 + '"}',
    ],
)
def test_a_body_with_anything_that_is_not_expected_is_refused_for_that(body: str) -> None:
    with pytest.raises(Forbidden) as refused:
        asked("POST", ORDERS, None, body)
    assert "without" not in str(refused.value)


@pytest.mark.parametrize("body", ['{"id": "1"}', "{}", "", None, '{"id": "mode"}'])
def test_a_body_without_what_is_needed_is_refused(body: str | None) -> None:
    with pytest.raises(Forbidden, match="without mode"):
        asked("POST", ORDERS, None, body)


def test_a_read_carries_no_body_beyond_its_list() -> None:
    with pytest.raises(Forbidden):
        asked(body='{"id": "1"}')


@pytest.mark.parametrize("name", ["Host", "X-HTTP-Method-Override", "X-Forwarded-Host", "Transfer-Encoding", "Cookie"])
def test_a_header_that_is_not_expected_is_refused(name: str) -> None:
    with pytest.raises(Forbidden, match=name):
        asked(headers={name: "x"})


@pytest.mark.parametrize(
    ("api", "method", "path"),
    [
        ("private", "POST", "orders/{order_id}"),
        ("public", "POST", "orders"),
        (["private", "v2"], "POST", "orders"),
        ("private", "GET", "orders/../accounts"),
        ("private", "GET", "orders/abc"),
        ("", "", ""),
    ],
)
def test_an_endpoint_by_another_name_is_refused(api: Any, method: str, path: str) -> None:
    with pytest.raises(Forbidden):
        GUARD.call(api, method, path)


def test_only_what_was_let_go_may_be_sent() -> None:
    GUARD.passed(("GET", ORDERS), ("GET", ORDERS))
    for sent, let_go in [
        (("GET", ORDERS), None),
        (("POST", ORDERS), ("GET", ORDERS)),
        (("GET", f"{ORDERS}/a"), ("GET", ORDERS)),
    ]:
        with pytest.raises(Forbidden):
            GUARD.passed(sent, let_go)


def test_a_refusal_does_not_repeat_what_may_be_a_secret() -> None:
    with pytest.raises(Forbidden) as refused:
        asked(url=f"{ORDERS}/../x?sign=topsecret", headers={"x-key": "topsecret"})
    assert "topsecret" not in str(refused.value)


@given(st.text(max_size=40))
def test_no_id_makes_another_path_of_it(name: str) -> None:
    url = f"{ORDERS}/{name}"
    try:
        asked(url=url)
    except Forbidden:
        return
    plain = name.partition("?")[0]
    assert plain.replace("-", "").replace("_", "").isalnum()
    assert plain.isascii()


@given(st.text(alphabet=st.sampled_from("./%2eEfF\\#?@:a-;&= \t"), max_size=24), st.sampled_from(EXCHANGES))
def test_no_list_lets_a_path_be_climbed(tail: str, exchange: str) -> None:
    whole = allowlist.read(exchange)
    guard = Guard(whole)
    for each in whole.allowed:
        for url in (each.url + tail, each.url.replace("{", "").replace("}", "") + tail):
            try:
                guard.request(each.method, url, None, None)
            except Forbidden:
                continue
            path = url.partition("?")[0]
            assert ".." not in path
            assert not set("%#\\@;") & set(path)
            assert "//" not in path.removeprefix("https://")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('https://api.shop.example/v1/orders"', 'http://api.shop.example/v1/orders"'), "https"),
        (("/v1/orders/{order_id}", "/v1/../{order_id}"), "plain path"),
        (("/v1/orders/{order_id}", "/v1/{order_id}.json"), "plain path"),
        (('why = "one order"\n', ""), "why"),
        (('method = "GET"', 'method = "PATCH"'), "method"),
        (("only = { mode", "only = { other"), "other is not sent"),
        (('exchange = "shop"', 'exchange = "stall"'), "one of stall"),
        (('query = ["full"]', 'querry = ["full"]'), "querry"),
    ],
)
def test_a_list_that_is_not_written_well_is_told_and_used_for_nothing(change: tuple[str, str], said: str) -> None:
    assert change[0] in LIST
    with pytest.raises(AllowlistError, match=said):
        parse("shop", LIST.replace(*change))


# Through ccxt.


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


@pytest.mark.parametrize(
    ("exchange", "path", "body"),
    [
        ("coinbase", "/orders", '{"product_id": "BTC-PERP-INTX", "side": "BUY"}'),
        (
            "cryptocom",
            "/create-order",
            '{"method": "private/create-order", "params": {"spot_margin": "SPOT", "instrument_name": "BTCUSD-PERP"}}',
        ),
        ("okx", "/order", '{"tdMode": "cash", "instId": "BTC-USDT-SWAP"}'),
        ("binance", "/order", "symbol=BTCUSDT&type=TAKE_PROFIT_LIMIT"),
        ("binance", "/order", "symbol=BTCUSDT&side=SHORT"),
        ("kraken", "/AddOrder", "pair=XBTUSD&price=%2B5%25"),
        ("kraken", "/AddOrder", "pair=XBTUSD&price=-5"),
    ],
)
def test_an_order_is_one_of_the_spot_market_and_of_a_kind_that_is_known(exchange: str, path: str, body: str) -> None:
    whole = allowlist.read(exchange)
    (url,) = (each.url for each in whole.allowed if each.acts and each.method == "POST" and each.url.endswith(path))
    with pytest.raises(Forbidden, match="than it may have"):
        Guard(whole).request("POST", url, None, body)


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
