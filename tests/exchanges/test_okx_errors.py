"""What OKX's error codes come to, for what acts and for what only asks; and its clock."""

from __future__ import annotations

import json

import pytest

from node_agent.exchanges.failures import ClockOff, DuplicateOrder, NoSuchOrder
from node_agent.exchanges.okx import Okx, okx_traits
from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
    TooSmall,
)
from node_agent.exchanges.through_ccxt import connect
from tests.exchanges.stub import Stub, error_of
from tests.okx.case import CASE
from tests.okx.ours import opened
from tests.venue.fixtures import as_new, ours_on, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

process = process_of(CASE)
okx = as_new(CASE, "okx")
exchange = ours_on("okx", opened)


def said(code: str, *, order: str | None = None) -> str:
    """An error; `order`: the code of the order itself."""
    row = {"clOrdId": "a" * 32, "ordId": "", "tag": "", "ts": "1695190491421", "sCode": order, "sMsg": "Something."}
    return json.dumps({"code": code, "data": [row] if order else [], "msg": "" if order else "Something."})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, said("1", order="51008"), OrderRefused),
        (200, said("1", order="51008_1000"), OrderRefused),
        (200, said("2", order="51020"), TooSmall),
        (200, said("0", order="51121"), OrderRefused),
        (400, said("51000"), OrderRefused),
        (200, said("51001"), OrderRefused),
        (200, said("1", order="51016"), DuplicateOrder),
        (200, said("50071"), DuplicateOrder),
        (200, said("1", order="51400"), NoSuchOrder),
        (200, said("1", order="51401"), NoSuchOrder),
        (200, said("1", order="51402"), NoSuchOrder),
        (200, said("51603"), NoSuchOrder),
        (401, json.dumps({"msg": "Timestamp request expired", "code": "50102"}), ClockOff),
        (401, said("50112"), ClockOff),
        (401, said("50105"), KeyRefused),
        (401, said("50110"), KeyRefused),
        (401, said("50111"), KeyRefused),
        (401, said("50113"), KeyRefused),
        (200, said("50119"), KeyRefused),
        (200, said("50120"), KeyRefused),
        (200, said("50007"), KeyRefused),
        (429, said("50011"), RateLimited),
        (200, said("50011"), RateLimited),
        (200, said("1", order="50061"), RateLimited),
    ],
)
@pytest.mark.parametrize("acts", [True, False])
async def test_a_definite_no_is_told_as_such(status: int, body: str, kind: type[ExchangeError], acts: bool) -> None:
    assert type(await fault(status, body, acts=acts)) is kind


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, said("1")),
        (200, said("1", order="59999")),
        (200, said("50026")),
        (400, said("50004")),
        (500, said("51149")),
        (503, said("50001")),
        (200, "{}"),
        (200, "[]"),
        (200, "null"),
        (200, "<html>"),
        (200, '{"data":[]}'),
    ],
)
async def test_what_is_not_known_may_have_been_done(status: int, body: str) -> None:
    assert type(await fault(status, body, acts=True)) is OutcomeUnknown
    assert type(await fault(status, body, acts=False)) is ExchangeUnavailable


async def fault(status: int, body: str, *, acts: bool) -> ExchangeError:
    """The error that a request ends with."""
    async with Stub(status, body) as stub:
        line = connect(okx_traits(), CASE.opening(stub.url))
        asked = {"instId": "BTC-USDT", "clOrdId": "a" * 32} | ({"tdMode": "cash"} if acts else {})
        method = "privatePostTradeOrder" if acts else "privateGetTradeOrder"
        error = await error_of(line.ask(dict, method, asked, acts=acts))
        await line.close()
    for secret in CASE.key.values():
        assert secret not in str(error)
    return error


async def test_a_clock_that_was_set_is_measured_again(exchange: Okx, okx: VenueProcess) -> None:
    await exchange.balances()
    okx.clock(3600)
    exchange._line._measured_at = float("-inf")  # the last measurement is longer ago than a second
    with pytest.raises(ClockOff):
        await exchange.balances()
    assert await exchange.balances()
