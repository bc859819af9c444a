"""The line to Robinhood: what leaves it, what its answers come to, and its clock."""

from __future__ import annotations

import base64
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from node_agent.exchanges import allowlist
from node_agent.exchanges import robinhood_reading as reading
from node_agent.exchanges.failures import ClockOff, DuplicateOrder, NoSuchOrder
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
)
from node_agent.exchanges.robinhood_line import Offset, signature, signer_of
from tests.exchanges.stub import Stub, error_of
from tests.robinhood.app import ACCOUNTS, ORDERS, PAIRS
from tests.robinhood.case import KEY, SEED
from tests.robinhood.opening import (
    NATIVE,
    ORDER_ID,
    a_line,
    an_order,
    refused,
)
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio


async def test_the_signature_is_the_one_of_robinhoods_own_example() -> None:
    body = (
        "{'client_order_id': '131de903-5a9c-4260-abc1-28d562a5dcf0', 'side': 'buy', 'symbol': 'BTC-USD', "
        "'type': 'market', 'market_order_config': {'asset_quantity': '0.1'}}"
    )
    signed = signature(
        signer_of("xQnTJVeQLmw1/Mg2YimEViSpw/SdJcgNXZ5kQkAXNPU="),
        "rh-api-6148effc-c0b1-486c-8940-a1d099456be6",
        1698708981,
        "POST",
        "/api/v1/crypto/trading/orders/",
        body.encode(),
    )
    assert signed == "q/nEtxp/P2Or3hph3KejBqnw5o9qeuQ+hYRnB56FaHbjDsNUY9KhB1asMxohDnzdVFSD7StaTqjSd9U9HvaRAw=="


async def test_a_private_key_is_a_seed_alone_or_with_its_public_key() -> None:
    seed = "xQnTJVeQLmw1/Mg2YimEViSpw/SdJcgNXZ5kQkAXNPU="
    public = "jPItx4TLjcnSUnmnXQQyAKL4eJj3+oWNNMmmm2vATqk="
    whole = base64.b64encode(base64.b64decode(seed) + base64.b64decode(public)).decode()
    assert signer_of(whole).private_bytes_raw() == signer_of(seed).private_bytes_raw()
    for wrong in ("", "short", "A" * 43, "A" * 22 + "==", "A" * 86 + "=="):
        with pytest.raises(ValueError, match="private key"):
            signer_of(wrong)


async def test_a_request_carries_what_is_signed_and_nothing_that_was_handed_to_it() -> None:
    async with Stub(200, "{}", {"Set-Cookie": "__cf_bm=tracked; Path=/"}) as stub:
        line = a_line(stub.url)
        await line.get(dict, PAIRS, {"symbol": NATIVE})
        await line.place(dict, ORDERS, reading.body_of(an_order()))
        await line.close()
    for request in stub.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        first, *rows = head.decode().splitlines()
        headers = {row.split(": ")[0].lower(): row.split(": ")[1] for row in rows}
        common = {"host", "accept", "accept-encoding", "connection", "user-agent"}
        own = {"x-api-key", "x-timestamp", "x-signature"}
        assert set(headers) == common | own | ({"content-type", "content-length"} if body else set())
        method, target, _ = first.split(" ")
        stamp = int(headers["x-timestamp"])
        assert headers["x-signature"] == signature(signer_of(SEED), KEY, stamp, method, target, body)
        assert headers["user-agent"].startswith("trading-node/")


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "GET", "url": "/api/v1/crypto/trading/withdrawals/"},
        {"method": "POST", "url": "/api/v1/crypto/trading/transfers/"},
        {"method": "POST", "url": f"{ORDERS}../accounts/"},
        {"method": "POST", "url": f"{ORDERS}{ORDER_ID}/cancel/?force=1"},
        {"method": "DELETE", "url": f"{ORDERS}{ORDER_ID}/"},
        {"method": "GET", "url": "http://127.0.0.1:1/api/v1/crypto/trading/accounts/"},
        {"method": "GET", "url": ACCOUNTS, "headers": {"x-forwarded-host": "elsewhere"}},
        {"method": "GET", "url": ACCOUNTS, "headers": {"host": "elsewhere.example"}},
        {"method": "GET", "url": ACCOUNTS, "extensions": {"target": b"/api/v1/crypto/trading/transfers/"}},
        {"method": "POST", "url": ORDERS, "json": {"limit_order_config": {"quote_amount": "1000"}}},
        {"method": "POST", "url": ORDERS, "json": {"type": "transfer"}},
        {"method": "GET", "url": ACCOUNTS},
    ],
)
async def test_nobody_gets_by_the_guard_through_the_client(asked: dict[str, Any]) -> None:
    """Not even with what is on the list: the line has not let it go."""
    async with Stub() as stub:
        line = a_line(stub.url)
        url = asked.pop("url")
        with pytest.raises(Forbidden):
            await line._client.request(url=url if url.startswith("http:") else stub.url + url, **asked)
        await line.close()
    assert stub.requests == []


@pytest.mark.parametrize(
    "hidden", [{"extensions": {"target": b"/transfers/"}}, {"headers": {"host": "elsewhere.example"}}]
)
async def test_what_was_let_go_must_go_where_it_says(hidden: dict[str, Any]) -> None:
    async with Stub() as stub:
        line = a_line(stub.url)
        send = line._client.request

        async def bent(method: str, url: str, **more: Any) -> httpx.Response:
            headers = {**more.pop("headers"), **hidden.get("headers", {})}
            return await send(method, url, headers=headers, extensions=hidden.get("extensions"), **more)

        line._client.request = bent  # type: ignore[assignment]
        with pytest.raises(Forbidden):
            await line.get(dict, ACCOUNTS)
        await line.close()
    assert stub.requests == []


async def test_of_the_apis_own_operations_no_other_version_and_nothing_else_is_let_go() -> None:
    guard = Guard(allowlist.read("robinhood"))
    reads = [
        *("trading/accounts/", "trading/trading_pairs/", "trading/holdings/", "trading/orders/"),
        *(f"trading/orders/{ORDER_ID}/", "marketdata/best_bid_ask/", "marketdata/estimated_price/"),
        "trading/estimated_price/",
    ]
    operations = [("GET", path) for path in reads]
    operations += [("POST", "trading/orders/"), ("POST", f"trading/orders/{ORDER_ID}/cancel/")]
    let_go = set()
    for version in ("v1", "v2"):
        for method, path in operations:
            try:
                guard.request(method, f"https://trading.robinhood.com/api/{version}/crypto/{path}", {}, None)
            except Forbidden:
                continue
            let_go.add((version, method, path))
    assert let_go == {("v1", *each) for each in operations if "estimated" not in each[1]}


async def test_it_does_not_go_where_it_is_sent() -> None:
    async with Stub(302, "", {"Location": "https://elsewhere.example/"}) as stub:
        line = a_line(stub.url)
        with pytest.raises(ExchangeUnavailable, match="302"):
            await line.get(dict, ACCOUNTS)
        with pytest.raises(OutcomeUnknown, match="302"):
            await line.place(dict, ORDERS, reading.body_of(an_order()))
        await line.close()
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, refused("Insufficient buying power.", "non_field_errors"), OrderRefused),
        (400, refused("A valid number is required.", "asset_quantity"), OrderRefused),
        (400, refused("Must be a valid UUID.", "client_order_id"), OrderRefused),
        (400, refused("Order with this client order id already exists.", "client_order_id"), DuplicateOrder),
        (400, refused("string", None, "client_error"), OrderRefused),
        (401, refused("API key not found.", None, "client_error"), KeyRefused),
        (401, "", KeyRefused),
        (401, refused("Timestamp is no longer valid.", None, "client_error"), ClockOff),
        (403, refused("You do not have permission to perform this action.", None, "client_error"), KeyRefused),
        (404, refused("Not found.", None, "client_error"), NoSuchOrder),
        (405, refused("Method not allowed.", None, "client_error"), OrderRefused),
        (415, refused("Unsupported media type.", None, "client_error"), OrderRefused),
        (429, refused("Request was throttled.", None, "client_error"), RateLimited),
        (429, "<html>", RateLimited),
    ],
)
async def test_a_definite_no_is_told_as_such(status: int, body: str, kind: type[ExchangeError]) -> None:
    async with Stub(status, body) as stub:
        for acts in (True, False):
            line = a_line(stub.url)
            order = reading.body_of(an_order())
            error = await error_of(line.place(dict, ORDERS, order) if acts else line.get(dict, ORDERS))
            await line.close()
            assert type(error) is kind
    assert len([each for each in stub.requests if each.startswith(b"POST")]) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "<html>Bad Request</html>"),
        (400, "{}"),
        (400, '{"type": "other", "errors": []}'),
        (403, "<html>Attention Required!</html>"),
        (404, ""),
        (409, refused("Conflict.", None, "client_error")),
        (500, refused("Internal server error.", None, "server_error")),
        (503, "<html>"),
        (201, ""),
        (201, "Accepted"),
        (201, '{"id": "6a8738ba'),
        (201, '{"amount": NaN}'),
        (201, "[" * 100_000),
    ],
)
async def test_what_is_not_surely_refused_may_have_been_done(status: int, body: str) -> None:
    async with Stub(status, body) as stub:
        line = a_line(stub.url)
        with pytest.raises(OutcomeUnknown):
            await line.place(dict, ORDERS, reading.body_of(an_order()))
        with pytest.raises(ExchangeUnavailable):
            await line.get(dict, ORDERS)
        await line.close()
    assert len(stub.requests) == 2


async def test_a_lost_connection_repeats_a_read_once_and_what_acts_never() -> None:
    async with Stub() as stub:
        line = a_line(stub.url)
        await line.get(dict, ACCOUNTS)
        stub.answer = b""
        for act in (line.place(dict, ORDERS, reading.body_of(an_order())), line.cancel(f"{ORDERS}{ORDER_ID}/cancel/")):
            stub.requests.clear()
            with pytest.raises(OutcomeUnknown, match="lost"):
                await act
            assert len(stub.requests) == 1
        stub.requests.clear()
        with pytest.raises(ExchangeUnavailable, match="lost"):
            await line.get(dict, ACCOUNTS)
        assert len(stub.requests) == 2
        await line.close()


async def test_an_exchange_that_cannot_be_reached_did_nothing() -> None:
    async with Stub() as stub:
        url = stub.url
    line = a_line(url)
    with pytest.raises(ExchangeUnavailable, match="reached"):
        await line.place(dict, ORDERS, reading.body_of(an_order()))
    await line.close()


@pytest.mark.parametrize("what", ["hang_before", "hang_after", "answer_late"])
async def test_an_answer_that_does_not_come_in_time_is_unknown(exchange: VenueProcess, what: str) -> None:
    line = a_line(exchange.url, timeout=0.3)
    exchange.faults({"what": what, "method": "POST", "seconds": 1.0})
    with pytest.raises(OutcomeUnknown, match="in time"):
        await line.place(dict, ORDERS, reading.body_of(an_order()))
    await line.close()


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "30"}, 30), ({}, 15), ({"Retry-After": "999999"}, 3 * 86_400)]
)
async def test_after_too_many_requests_nothing_goes_until_it_is_time(headers: dict[str, str], seconds: int) -> None:
    async with Stub(429, refused("Request was throttled.", None, "client_error"), headers) as stub:
        line = a_line(stub.url)
        for _ in range(2):
            with pytest.raises(RateLimited) as raised:
                await line.get(dict, ACCOUNTS)
            assert (raised.value.until - datetime.now(UTC)).total_seconds() == pytest.approx(seconds, abs=5)
        assert line.rate_limits["banned_until"]
        await line.close()
        again = a_line(stub.url, banned_until=datetime.now(UTC) + timedelta(seconds=20))
        with pytest.raises(RateLimited):
            await again.get(dict, ACCOUNTS)
        await again.close()
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 200, None])
async def test_no_error_and_no_log_carries_a_secret(status: int | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    told = refused(f"No, {KEY} with {SEED} is not right.", None, "client_error") if status != 200 else "<html>"
    async with Stub(status or 200, told) as stub:
        if status is None:
            stub.answer = b""
        line = a_line(stub.url)
        for act in (line.place(dict, ORDERS, reading.body_of(an_order())), line.get(dict, ACCOUNTS)):
            error = await error_of(act)
            assert (error.__cause__, error.__context__) == (None, None)
            written = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
            assert not [secret for secret in (KEY, SEED, "x-signature") if secret in written]
        await line.close()
    assert all(b"x-signature" in each.lower() for each in stub.requests)


async def test_a_refusal_of_what_was_stamped_far_from_its_date_is_one_of_our_time() -> None:
    headers = {"Date": formatdate(time.time() + 120, usegmt=True)}
    async with Stub(401, refused("Unauthorized.", None, "client_error"), headers) as stub:
        line = a_line(stub.url)
        with pytest.raises(ClockOff):
            await line.place(dict, ORDERS, reading.body_of(an_order()))
        with pytest.raises(KeyRefused):  # stamped by its clock now, and refused all the same
            await line.get(dict, ACCOUNTS)
        await line.close()


async def test_whole_seconds_narrow_the_offset_until_one_contradicts() -> None:
    offset = Offset()
    assert offset.middle is None
    offset.hear(100.2, 100.3, 98.0)
    assert offset.middle == pytest.approx(1.75)
    for quarter in range(8):  # our clock is 1.5 s ahead
        sent = 200.0 + quarter / 4
        offset.hear(sent, sent + 0.05, (sent - 1.5 + 0.025) // 1)
    assert offset.middle == pytest.approx(1.5, abs=0.2)
    offset.hear(500.0, 500.1, 470.0)
    assert offset.middle == pytest.approx(29.55)


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Thu, 99 Nov 2099 99:99:99 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
async def test_a_date_that_is_none_is_not_believed(date: str) -> None:
    async with Stub(200, "{}", {"Date": date} if date else {}) as stub:
        line = a_line(stub.url)
        await line.get(dict, ACCOUNTS)
        assert line.offset is None
        await line.close()
