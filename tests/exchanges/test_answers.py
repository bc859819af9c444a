"""What each answer of an exchange comes to, for what acts and for what only asks; and that no secret leaves with it."""

from __future__ import annotations

import json
import socket
import time
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest

from node_agent.exchanges.binance import binance_traits
from node_agent.exchanges.failures import ClockOff, DuplicateOrder, NoSuchOrder
from node_agent.exchanges.line import Line
from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
)
from node_agent.exchanges.spot import SpotExchange
from node_agent.exchanges.through_ccxt import connect
from tests.binance.process import BinanceProcess
from tests.exchanges.opening import an_opening, at_market
from tests.exchanges.stub import Stub, error_of

pytestmark = pytest.mark.asyncio

KEY, SECRET = "k" * 64, "s" * 64
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "newClientOrderId": "a" * 32}
KNOWN = {"symbol": "BTCUSDT", "origClientOrderId": "a" * 32}


def line_to(url: str, secret: str = SECRET) -> Line:
    return connect(binance_traits(5.0), an_opening(url, key=KEY, secret=secret))


async def fault(line: Line, method: str = "private_post_order", *, acts: bool = True) -> ExchangeError:
    """The error that a request ends with."""
    return await error_of(line.ask(dict, method, ORDER if "_post_" in method else KNOWN, acts=acts))


def said(code: int, message: str = "Something.") -> str:
    return json.dumps({"code": code, "msg": message})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, said(-1013, "Filter failure: NOTIONAL"), OrderRefused),
        (400, said(-2010, "Account has insufficient balance for requested action."), OrderRefused),
        (400, said(-1111, "Precision is over the maximum defined for this asset."), OrderRefused),
        (400, said(-1121, "Invalid symbol."), OrderRefused),
        (400, said(-2010, "Duplicate order sent."), DuplicateOrder),
        (400, said(-2011, "Unknown order sent."), NoSuchOrder),
        (400, said(-2013, "Order does not exist."), NoSuchOrder),
        (400, said(-1021, "Timestamp for this request is outside of the recvWindow."), ClockOff),
        (401, said(-2014, "API-key format invalid."), KeyRefused),
        (401, said(-2015, "Invalid API-key, IP, or permissions for action."), KeyRefused),
        (400, said(-2015, "Invalid API-key, IP, or permissions for action."), KeyRefused),
        (400, said(-1022, "Signature for this request is not valid."), KeyRefused),
        (401, "", KeyRefused),
        (429, said(-1003, "Too much request weight used."), RateLimited),
        (429, said(-1015, "Too many new orders."), RateLimited),
        (418, "", RateLimited),
        (429, "<html>", RateLimited),
    ],
)
@pytest.mark.parametrize("acts", [True, False])
async def test_a_definite_no_is_told_as_such(status: int, body: str, kind: type[ExchangeError], acts: bool) -> None:
    async with Stub(status, body) as stub:
        line = line_to(stub.url)
        error = await fault(line, "private_post_order" if acts else "private_get_order", acts=acts)
        await line.close()
    assert type(error) is kind
    assert [b"/order" in request for request in stub.requests].count(True) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, said(-1000, "An unknown error occurred while processing the request.")),
        (400, said(-1006, "An unexpected response was received from the message bus.")),
        (400, said(-1007, "Timeout waiting for response from backend server.")),
        (504, said(-1007, "Timeout waiting for response from backend server.")),
        (400, said(-9999, "Never heard of.")),
        (503, said(-2010, "Account has insufficient balance for requested action.")),
        (500, ""),
        (502, "<html>Bad gateway</html>"),
        (403, "<html>Forbidden</html>"),
        (404, "{}"),
        (200, "<html>Be right back.</html>"),
        (200, '{"symbol": "BTCUSDT", "ord'),
        (200, ""),
        (200, said(-1007, "Timeout waiting for response from backend server.")),
    ],
)
async def test_what_is_not_surely_refused_may_have_been_done(status: int, body: str) -> None:
    async with Stub(status, body) as stub:
        line = line_to(stub.url)
        acted, asked = await fault(line), await fault(line, "private_get_order", acts=False)
        await line.close()
    assert type(acted) is OutcomeUnknown
    assert isinstance(asked, ExchangeUnavailable)  # a read may be asked again
    assert len(stub.requests) == 2


@pytest.mark.parametrize("read", [None, lambda raw: raw["nothing"], lambda raw: int("x")])
async def test_an_answer_that_cannot_be_read_may_have_been_done(read: Any) -> None:
    async with Stub(200, "{}") as stub:
        line = line_to(stub.url)
        with pytest.raises(OutcomeUnknown):
            await line.ask(read, "private_post_order", ORDER, acts=True)
        with pytest.raises(ExchangeUnavailable):
            await line.ask(read, "private_get_order", KNOWN)
        await line.close()


async def test_a_lost_connection_repeats_a_read_once_and_what_acts_never() -> None:
    async with Stub() as stub:
        stub.answer = b""
        line = line_to(stub.url)
        for method, sent, kind in (
            ("private_post_order", 1, OutcomeUnknown),
            ("private_delete_order", 1, OutcomeUnknown),
            ("private_get_order", 2, ExchangeUnavailable),
        ):
            stub.requests.clear()
            acts = kind is OutcomeUnknown
            assert isinstance(await fault(line, method, acts=acts), kind)
            assert len(stub.requests) == sent
        await line.close()


@pytest.mark.parametrize("method", ["private_post_order", "private_delete_order"])
async def test_what_acts_goes_out_once_on_a_connection_that_was_used_before(method: str) -> None:
    """aiohttp repeats a DELETE by itself when a connection that it kept open turns out to be gone."""
    async with Stub() as stub:
        line = line_to(stub.url)
        await line.ask(dict, "private_get_order", KNOWN)
        stub.answer = b""
        assert type(await fault(line, method)) is OutcomeUnknown
        await line.close()
    assert len(stub.requests) == 2
    assert stub.connections == 1


async def test_an_exchange_that_cannot_be_reached_did_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    line = line_to(f"http://127.0.0.1:{port}")
    assert type(await fault(line)) is ExchangeUnavailable
    await line.close()


async def test_what_cannot_be_signed_was_not_sent() -> None:
    async with Stub() as stub:
        line = line_to(stub.url, secret="")
        assert type(await fault(line)) is ExchangeUnavailable
        await line.close()
    assert stub.requests == []


async def test_what_ccxt_would_not_send_was_refused_and_not_sent() -> None:
    async with Stub() as stub:
        line = line_to(stub.url)
        with pytest.raises(OrderRefused, match="not sent"):
            await line.ask(dict, "create_order_request", "BTC/USDT", None, "buy", "1", acts=True)
        await line.close()
    assert stub.requests == []


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [({"Retry-After": "30"}, "Too much.", 30), ({}, "Too much.", 60), ({}, "IP banned until {at}.", 45)],
)
async def test_after_too_many_requests_nothing_goes_until_it_is_time(
    headers: dict[str, str], message: str, seconds: int
) -> None:
    message = message.format(at=int((time.time() + seconds) * 1000))
    async with Stub(429, said(-1003, message), headers) as stub:
        line = line_to(stub.url)
        first = await fault(line)
        again = [await fault(line), await fault(line, "private_get_order", acts=False)]
        told = line.rate_limits["banned_until"]
        await line.close()
    assert isinstance(first, RateLimited)
    assert (first.until - datetime.now(UTC)).total_seconds() == pytest.approx(seconds, abs=5)
    assert [error.until for error in again if isinstance(error, RateLimited)] == [first.until] * 2
    assert isinstance(told, str)
    assert len(stub.requests) == 1


async def test_too_many_orders_hold_orders_and_no_cancel() -> None:
    async with Stub(429, said(-1015, "Too many new orders; current limit is 100 orders per 10 SECOND.")) as stub:
        line = line_to(stub.url)
        assert isinstance(await fault(line), RateLimited)
        held = await fault(line)
        await fault(line, "private_delete_order")
        await line.close()
    assert isinstance(held, RateLimited)
    assert (held.until - datetime.now(UTC)).total_seconds() == pytest.approx(10, abs=3)
    assert [request.split()[0] for request in stub.requests] == [b"POST", b"DELETE"]


async def test_what_the_exchange_has_counted_is_heard() -> None:
    counted = {"X-MBX-USED-WEIGHT-1M": "5999", "X-MBX-ORDER-COUNT-10S": "7"}
    async with Stub(200, "{}", counted) as stub:
        line = line_to(stub.url)
        await line.ask(dict, "private_get_order", KNOWN)
        error = await fault(line, "private_get_order", acts=False)
        await line.ask(dict, "private_delete_order", KNOWN, acts=True)
        told = line.rate_limits["limits"]
        await line.close()
    assert isinstance(error, RateLimited)
    assert len(stub.requests) == 2
    assert isinstance(told, dict)
    assert told["orders_10s"] == {"used": 7, "limit": 100}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, said(-2010, f"No, {KEY} with {SECRET} at https://api.example.com/order?timestamp=1&signature=abcdef")),
        (500, said(-1007)),
        (200, "<html>"),
        (404, ""),
        (None, ""),
    ],
)
@pytest.mark.parametrize("method", ["private_post_order", "private_delete_order", "private_get_order"])
async def test_no_error_carries_a_secret_or_a_signature(
    status: int | None, body: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with Stub(status or 200, body) as stub:
        if status is None:
            stub.answer = b""
        line = line_to(stub.url)
        error = await fault(line, method, acts=method != "private_get_order")
        await line.close()
    assert any(b"signature=" in request for request in stub.requests)
    assert error.__cause__ is None
    assert error.__context__ is None
    for told in ("".join(traceback.format_exception(error)), repr(error), caplog.text):
        for secret in (KEY, SECRET, "signature", "timestamp="):
            assert secret not in told


async def test_requests_carry_nothing_of_a_broker_and_say_who_asks() -> None:
    async with Stub(200, "{}") as stub:
        line = line_to(stub.url)
        await line.ask(dict, "private_post_order", ORDER, acts=True)
        await line.close()
    head, _, body = stub.requests[0].partition(b"\r\n\r\n")
    names = {row.split(b":")[0].lower() for row in head.splitlines()[1:]}
    assert names == {
        *(b"host", b"x-mbx-apikey", b"content-type", b"user-agent", b"accept-encoding", b"accept", b"content-length"),
    }
    assert b"user-agent: trading-node/" in head.lower()
    assert b"x-" not in body.lower()


TRADE = {"symbol": "BTCUSDT", "id": 1, "orderId": 1, "price": "1", "qty": "1", "quoteQty": "1", "time": 1767603600000}


@pytest.mark.parametrize(
    "trades",
    [[{}], [{**TRADE, "id": None}], [{**TRADE, "orderId": None}], [{**TRADE, "id": "x", "orderId": "x"}], [None]],
    ids=["empty", "no id", "no order", "letters", "nothing"],
)
async def test_rubbish_among_trades_is_an_answer_that_cannot_be_read(
    exchange: SpotExchange, binance: BinanceProcess, monkeypatch: pytest.MonkeyPatch, trades: list[Any]
) -> None:
    """And not the end of the node."""
    await exchange.create_order(at_market())
    fetch = exchange._line.client.fetch

    async def fetched(url: str, *rest: Any) -> Any:
        return trades if "myTrades" in url else await fetch(url, *rest)

    monkeypatch.setattr(exchange._line.client, "fetch", fetched)
    with pytest.raises(ExchangeUnavailable):
        await exchange.fills_since(None)


@pytest.mark.parametrize("told", [0, -1, 10**18])
async def test_a_time_that_is_none_is_not_measured(told: int) -> None:
    async with Stub(200, json.dumps({"serverTime": told})) as stub:
        line = line_to(stub.url)
        with pytest.raises(ExchangeUnavailable):
            await line.measure(least_age=0.0)
        assert line.offset is None
        await line.close()


async def test_a_ban_without_an_end_ends() -> None:
    async with Stub(429, said(-1003, "Too much."), {"Retry-After": "9" * 12}) as stub:
        line = line_to(stub.url)
        banned = await fault(line)
        assert isinstance(banned, RateLimited)
        assert (banned.until - datetime.now(UTC)).days <= 3
        assert line.rate_limits["banned_until"]
        await line.close()
