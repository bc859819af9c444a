"""What Kraken's errors come to, which of its limits hold what, and what is not sent to it at all."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from node_agent.exchanges.failures import ClockOff, DuplicateOrder, NoSuchOrder
from node_agent.exchanges.guard import Forbidden
from node_agent.exchanges.kraken import Kraken
from node_agent.exchanges.line import Line
from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
    TooSmall,
)
from tests.exchanges.stub import Stub, error_of
from tests.kraken.case import CASE
from tests.kraken.ours import an_order, line_to, opened
from tests.venue.fixtures import as_new, ours_on, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

running = process_of(CASE, name="running")
process = as_new(CASE, "process", of="running")
exchange = ours_on("process", opened)


async def fault(line: Line, *, acts: bool) -> ExchangeError:
    """The error that an order, or a question, ends with."""
    method, parameters = ("private_post_addorder", {"pair": "XXBTZUSD"}) if acts else ("private_post_openorders", {})
    return await error_of(line.ask(dict, method, parameters, acts=acts))


def said(*errors: str) -> str:
    return json.dumps({"error": errors})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("EOrder:Insufficient funds", OrderRefused),
        ("EOrder:Tick size check failed", OrderRefused),
        ("EOrder:Invalid price:XBTUSD price can only be specified up to 1 decimals.", OrderRefused),
        ("EGeneral:Invalid arguments", OrderRefused),
        ("EGeneral:Invalid arguments:volume minimum not met", TooSmall),
        ("EOrder:Order minimum not met", TooSmall),
        ("EOrder:Cost minimum not met", TooSmall),
        ("EAccount:Invalid permissions:XMR trading restricted for PL.", OrderRefused),
        ("EQuery:Unknown asset pair", OrderRefused),
        ("EService:Market in cancel_only mode", OrderRefused),
        ("EGeneral:Invalid arguments:cl_ord_id not unique", DuplicateOrder),
        ("EOrder:Unknown order", NoSuchOrder),
        ("EOrder:Invalid order", NoSuchOrder),
        ("EAPI:Invalid nonce", ClockOff),
        ("EAPI:Invalid key", KeyRefused),
        ("EAPI:Invalid signature", KeyRefused),
        ("EGeneral:Permission denied", KeyRefused),
        ("EAuth:Account temporary disabled", KeyRefused),
        ("EAPI:Rate limit exceeded", RateLimited),
        ("EGeneral:Temporary lockout", RateLimited),
        ("EOrder:Rate limit exceeded", RateLimited),
        ("EService: Throttled: 1772627061", RateLimited),
    ],
)
@pytest.mark.parametrize("acts", [True, False])
async def test_a_definite_no_is_told_as_such(error: str, kind: type[ExchangeError], acts: bool) -> None:
    async with Stub(200, said(error)) as stub:
        line = line_to(stub.url)
        assert type(await fault(line, acts=acts)) is kind
        await line.close()
    assert [b"/private/" in request for request in stub.requests].count(True) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, said("EService:Unavailable")),
        (200, said("EService:Busy")),
        (200, said("EService:Deadline elapsed")),
        (200, said("EGeneral:Internal error")),
        (200, said("EGeneral:Internal error:1234")),
        (200, said("EOrder:Never heard of")),
        (200, said("EOrder:Insufficient funds", "EGeneral:Internal error")),
        (200, '{"error": []}'),
        (200, '{"error": "EAPI:Invalid key"}'),
        (200, '{"result": {}}'),
        (200, "[]"),
        (502, "<html>Bad gateway</html>"),
        (503, said("EOrder:Insufficient funds")),
        (403, "<html>Forbidden</html>"),
    ],
)
async def test_what_is_not_surely_refused_may_have_been_done(status: int, body: str) -> None:
    async with Stub(status, body) as stub:
        line = line_to(stub.url)
        acted, asked = await fault(line, acts=True), await fault(line, acts=False)
        await line.close()
    assert type(acted) is OutcomeUnknown
    assert isinstance(asked, ExchangeUnavailable)
    assert len(stub.requests) == 2


async def test_a_warning_is_no_error() -> None:
    async with Stub(200, json.dumps({"error": ["WGeneral:Soon to change"], "result": {"open": {}}})) as stub:
        line = line_to(stub.url)
        assert await line.ask(lambda raw: raw["result"], "private_post_openorders") == {"open": {}}
        await line.close()


async def test_when_it_is_throttled_nothing_goes_until_it_says() -> None:
    until = int(time.time()) + 30
    async with Stub(200, said(f"EService: Throttled: {until}")) as stub:
        line = line_to(stub.url)
        first, second = await fault(line, acts=False), await fault(line, acts=True)
        await line.close()
    for each in (first, second):
        assert isinstance(each, RateLimited)
        assert each.until == datetime.fromtimestamp(until, UTC)
    assert len(stub.requests) == 1


async def test_too_many_orders_hold_orders_and_no_cancel() -> None:
    async with Stub(200, said("EOrder:Rate limit exceeded")) as stub:
        line = line_to(stub.url)
        await fault(line, acts=True)
        held = await fault(line, acts=True)
        with pytest.raises(ExchangeError):
            await line.ask(dict, "private_post_cancelorder", {"cl_ord_id": str(uuid4())}, acts=True)
        await line.close()
    assert isinstance(held, RateLimited)
    assert (held.until - datetime.now(UTC)).total_seconds() == pytest.approx(60, abs=3)
    assert [request.split()[1] for request in stub.requests] == [b"/0/private/AddOrder", b"/0/private/CancelOrder"]


async def test_too_many_calls_hold_neither_an_order_nor_a_cancel() -> None:
    async with Stub(200, said("EAPI:Rate limit exceeded")) as stub:
        line = line_to(stub.url)
        await fault(line, acts=False)
        held = await fault(line, acts=False)
        await fault(line, acts=True)
        with pytest.raises(ExchangeError):
            await line.ask(dict, "private_post_cancelorder", {"cl_ord_id": str(uuid4())}, acts=True)
        await line.close()
    assert isinstance(held, RateLimited)
    assert [request.split()[1].rpartition(b"/")[2] for request in stub.requests] == [
        *(b"OpenOrders", b"AddOrder", b"CancelOrder")
    ]


async def test_a_lockout_is_waited_out_before_anything_is_asked() -> None:
    async with Stub(200, said("EGeneral:Temporary lockout")) as stub:
        line = line_to(stub.url)
        locked = await fault(line, acts=False)
        await line.close()
    assert isinstance(locked, RateLimited)
    assert (locked.until - datetime.now(UTC)).total_seconds() == pytest.approx(900, abs=3)


@pytest.mark.parametrize(
    "more",
    [
        {"leverage": "2:1"},
        {"reduce_only": "true"},
        {"oflags": "viqc"},
        {"ordertype": "settle-position"},
        {"trigger": "index"},
        {"close[ordertype]": "limit"},
        {"validate": "true"},
    ],
)
async def test_an_order_of_another_kind_is_not_sent(more: dict[str, str]) -> None:
    async with Stub() as stub:
        line = line_to(stub.url)
        with pytest.raises(Forbidden):
            await line.ask(dict, "private_post_addorder", {"pair": "XXBTZUSD", **more}, acts=True)
        await line.close()
    assert stub.requests == []


async def test_the_counter_of_calls_is_kept_as_kraken_keeps_it(exchange: Kraken, process: VenueProcess) -> None:
    await exchange.markets()
    await exchange.fills_since(None)
    await exchange.create_order(an_order())
    assert exchange.rate_limits["limits"] == {
        "calls": {"used": 3, "limit": 30},  # rules and time a third each, fills 2
        "orders": {"used": 1, "limit": 60},
    }
