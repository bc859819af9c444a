"""What is particular to OKX: its orders, error codes, lists that are read backwards, and the permissions of a key."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from node_agent.core.market import (
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Level,
    Liquidity,
    Market,
    OrderRequest,
    Side,
    TimeInForce,
)
from node_agent.exchange_keys import flaw
from node_agent.exchanges import allowlist
from node_agent.exchanges.failures import ClockOff, DuplicateOrder, NoSuchOrder
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.okx import PROFILE, Okx, okx_traits, open_exchange
from node_agent.exchanges.permissions import judge
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, KeyRefused, OrderRefused, OutcomeUnknown
from node_agent.exchanges.port import RateLimited as TooMany
from node_agent.exchanges.through_ccxt import connect
from tests.exchanges.stub import Stub, error_of
from tests.okx.caller import Caller, rows
from tests.okx.case import CASE
from tests.venue.fixtures import as_new, caller_of, ours_on, process_of
from tests.venue.http import Answer, HttpRequest
from tests.venue.process import VenueProcess
from tests.venue.replay import Replay
from tests.venue.writing import as_json

pytestmark = pytest.mark.asyncio

SYMBOL: Final = CASE.symbol
DAY: Final = 86_400
an_order, at_market = CASE.order, CASE.at_market


@asynccontextmanager
async def opened(url: str, **changes: Any) -> AsyncIterator[Okx]:
    """An account of ours, with traits changed by name."""
    traits = replace(okx_traits(), **changes)
    opening = CASE.opening(url)
    ours = Okx(connect(traits, opening), traits, symbol=opening.symbol, interval=opening.interval)
    try:
        yield ours
    finally:
        await ours.close()


process = process_of(CASE)
okx = as_new(CASE, "okx")
hand = caller_of(Caller, "okx", "hand")
exchange = ours_on("okx", opened)


class Told(Replay):
    """An OKX that gives each path an answer of its own, and keeps what it was sent."""

    def __init__(self, **answers: list[Any]) -> None:
        """`answers`: rows by the last part of the path, with `_` for `-`."""
        super().__init__(self._told)
        now = {"ts": str(round(time.time() * 1000))}
        self.answers = {"time": [now], "instruments": [INSTRUMENT], **answers}

    def _told(self, request: HttpRequest) -> Answer:
        data = self.answers[request.path.rpartition("/")[2].replace("-", "_")]
        return as_json({"code": "0", "data": data, "msg": ""})

    @asynccontextmanager
    async def account(self) -> AsyncIterator[Okx]:
        """Ours, connected to it."""
        async with self, opened(self.url) as ours:
            yield ours


# As OKX's documentation shows them.

INSTRUMENT: Final = {
    "alias": "",
    "auctionEndTime": "",
    "baseCcy": "BTC",
    "category": "1",
    "ctMult": "",
    "ctType": "",
    "ctVal": "",
    "ctValCcy": "",
    "expTime": "",
    "instFamily": "",
    "instId": "BTC-USDT",
    "instType": "SPOT",
    "lever": "10",
    "listTime": "1611907686000",
    "lotSz": "0.00000001",
    "maxIcebergSz": "9999999999.0000000000000000",
    "maxLmtAmt": "20000000",
    "maxLmtSz": "9999999999",
    "maxMktAmt": "1000000",
    "maxMktSz": "1000000",
    "maxStopSz": "1000000",
    "maxTriggerSz": "9999999999.0000000000000000",
    "maxTwapSz": "9999999999.0000000000000000",
    "minSz": "0.00001",
    "optType": "",
    "quoteCcy": "USDT",
    "ruleType": "normal",
    "settleCcy": "",
    "state": "live",
    "stk": "",
    "tickSz": "0.1",
    "uly": "",
}
FILL: Final = {
    "side": "buy",
    "fillSz": "0.00192834",
    "fillPx": "51858",
    "fillPxVol": "",
    "fillFwdPx": "",
    "fee": "-0.00000192834",
    "fillPnl": "0",
    "ordId": "680800019749904384",
    "feeRate": "-0.001",
    "instType": "SPOT",
    "fillPxUsd": "",
    "instId": "BTC-USDT",
    "clOrdId": "",
    "posSide": "net",
    "billId": "680800019754098688",
    "subType": "1",
    "fillMarkVol": "",
    "tag": "",
    "fillTime": "1708587373361",
    "execType": "T",
    "fillIdxPx": "",
    "tradeId": "744876980",
    "fillMarkPx": "",
    "feeCcy": "BTC",
    "ts": "1708587373362",
    "tradeQuoteCcy": "USDT",
}
PENDING: Final = {
    "accFillSz": "0",
    "algoClOrdId": "",
    "algoId": "",
    "attachAlgoClOrdId": "",
    "attachAlgoOrds": [],
    "avgPx": "",
    "cTime": "1724733617998",
    "cancelSource": "",
    "cancelSourceReason": "",
    "category": "normal",
    "ccy": "",
    "clOrdId": "",
    "fee": "0",
    "feeCcy": "BTC",
    "fillPx": "",
    "fillSz": "0",
    "fillTime": "",
    "instId": "BTC-USDT",
    "instType": "SPOT",
    "isTpLimit": "false",
    "lever": "",
    "linkedAlgoOrd": {"algoId": ""},
    "ordId": "1752588852617379840",
    "ordType": "post_only",
    "pnl": "0",
    "posSide": "net",
    "px": "13013.5",
    "pxType": "",
    "rebate": "0",
    "rebateCcy": "USDT",
    "reduceOnly": "false",
    "side": "buy",
    "slTriggerPx": "",
    "source": "",
    "state": "live",
    "stpMode": "cancel_maker",
    "sz": "0.001",
    "tag": "",
    "tdMode": "cash",
    "tgtCcy": "",
    "tradeId": "",
    "uTime": "1724733617998",
}
BY_COST: Final = {
    **PENDING,
    "accFillSz": "0.00192834",
    "avgPx": "51858",
    "cTime": "1708587373361",
    "fee": "-0.00000192834",
    "fillPx": "51858",
    "fillSz": "0.00192834",
    "fillTime": "1708587373361",
    "ordId": "680800019749904384",
    "ordType": "market",
    "px": "",
    "state": "filled",
    "sz": "100",
    "tgtCcy": "quote_ccy",
    "tradeId": "744876980",
    "uTime": "1708587373362",
}
CONFIG: Final = {
    "acctLv": "2",
    "acctStpMode": "cancel_maker",
    "autoLoan": False,
    "ctIsoMode": "automatic",
    "enableSpotBorrow": False,
    "greeksType": "PA",
    "ip": "",
    "type": "0",
    "kycLv": "3",
    "label": "v5 test",
    "level": "Lv1",
    "levelTmp": "",
    "liquidationGear": "-1",
    "mainUid": "44705892343619584",
    "mgnIsoMode": "automatic",
    "opAuth": "1",
    "perm": "read_only,withdraw,trade",
    "posMode": "long_short_mode",
    "roleType": "0",
    "spotBorrowAutoRepay": False,
    "spotOffsetType": "",
    "spotRoleType": "0",
    "spotTraderInsts": [],
    "traderInsts": [],
    "uid": "44705892343619584",
}
BALANCE: Final = {
    "adjEq": "",
    "details": [
        {
            "availBal": "0.049",
            "availEq": "",
            "cashBal": "0.05",
            "ccy": "BTC",
            "eq": "0.05",
            "eqUsd": "1918.55678",
            "frozenBal": "0.001",
            "isoEq": "",
            "liab": "",
            "ordFrozen": "0.001",
            "uTime": "1621973128591",
        },
        {"availBal": "", "availEq": "28.21006347", "ccy": "USDT", "eq": "28.21006347", "frozenBal": "0"},
    ],
    "totalEq": "1918.55678",
    "uTime": "1622045126908",
}
TICKER: Final = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "last": "9999.99",
    "lastSz": "0.1",
    "askPx": "9999.99",
    "askSz": "11",
    "bidPx": "8888.88",
    "bidSz": "5",
    "open24h": "9000",
    "high24h": "10000",
    "low24h": "8888.88",
    "volCcy24h": "2222",
    "vol24h": "2222",
    "sodUtc0": "2222",
    "sodUtc8": "2222",
    "ts": "1597026383085",
}
BOOK: Final = {
    "asks": [["41006.8", "0.60038921", "0", "1"]],
    "bids": [["41006.3", "0.30178218", "0", "2"]],
    "ts": "1629966436396",
}
CANDLES: Final = [
    ["1597026420000", "3.721", "3.743", "3.677", "3.708", "8422410", "22698348.04828491", "12698348.04828491", "0"],
    ["1597026360000", "3.731", "3.799", "3.494", "3.72", "24912403", "67632347.24399722", "37632347.24399722", "1"],
]


async def test_what_is_written_for_it_is_small() -> None:
    """Another exchange is data, and a class of under a hundred lines."""
    assert len(inspect.getsource(Okx).splitlines()) < 100


async def test_an_id_is_one_of_32_characters_and_unique_while_its_order_is_open(exchange: Okx) -> None:
    conduct = exchange.conduct
    assert (conduct.settles_within, conduct.ids_unique_for_ever) == (timedelta(seconds=35), False)
    first = await exchange.create_order(an_order())
    again = an_order(client_order_id=first.client_order_id)
    assert (await exchange.create_order(again)).exchange_order_id == first.exchange_order_id
    await exchange.cancel_order(first.client_order_id, SYMBOL)
    second = await exchange.create_order(again)
    assert second.exchange_order_id != first.exchange_order_id
    found = await exchange.find_order(first.client_order_id, SYMBOL)
    assert found is not None
    assert (found.exchange_order_id, found.status) == (second.exchange_order_id, ExchangeStatus.OPEN)


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (an_order(), {"side": "buy", "ordType": "limit", "px": "30000"}),
        (an_order(side=Side.SELL, price=Decimal("50000.10")), {"side": "sell", "ordType": "limit", "px": "50000.10"}),
        (an_order(time_in_force=TimeInForce.IOC), {"side": "buy", "ordType": "ioc", "px": "30000"}),
        (at_market(), {"side": "buy", "ordType": "market", "banAmend": True}),
        (at_market(side=Side.SELL), {"side": "sell", "ordType": "market", "banAmend": True}),
    ],
)
async def test_each_kind_of_order_is_sent_with_nothing_beside_it(request_: OrderRequest, sent: dict[str, Any]) -> None:
    told = Told(order=[{"clOrdId": request_.client_order_id, "ordId": "7", "sCode": "0", "sMsg": "", "tag": ""}])
    async with told.account() as exchange:
        placed = await exchange.create_order(request_)
    post = told.requests[-1]
    common = {"instId": "BTC-USDT", "tdMode": "cash", "sz": "0.01", "tgtCcy": "base_ccy"}
    assert json.loads(post.body) == {**common, "clOrdId": request_.client_order_id, **sent}
    assert (post.method, post.path, post.query) == ("POST", "/api/v5/trade/order", "")
    assert [name for name in post.headers if name.startswith(("ok-", "x-"))] == [
        "ok-access-key",
        "ok-access-passphrase",
        "ok-access-timestamp",
        "ok-access-sign",
    ]
    assert (placed.exchange_order_id, placed.status) == ("7", ExchangeStatus.OPEN)


@pytest.mark.parametrize(
    "parameters",
    [
        {"clOrdId": "a" * 32, "tag": "6b9ad766b55dBCDE"},
        {"clOrdId": "a" * 32, "tdMode": "cross"},
        {"clOrdId": "a" * 32, "tdMode": "isolated"},
        {"clOrdId": "a" * 32, "tgtCcy": "quote_ccy"},
        {"clOrdId": "a" * 32, "stopLoss": {"triggerPrice": "29000"}},
        {"clOrdId": "a" * 32, "triggerPrice": "29000"},
        {"clOrdId": "a" * 32, "reduceOnly": True},
    ],
)
async def test_no_tag_margin_or_order_within_an_order_goes_out(
    exchange: Okx, okx: VenueProcess, parameters: dict[str, Any]
) -> None:
    await exchange.markets()
    with pytest.raises(Forbidden, match="not sent"):
        await exchange._line.ask(dict, "create_order", SYMBOL, "limit", "buy", "0.01", "30000", parameters, acts=True)
    assert not any(name.startswith("POST") for name in okx.books()["requests"])


async def test_ccxt_itself_tags_no_order_even_one_without_an_id() -> None:
    told = Told(order=[{"clOrdId": "", "ordId": "7", "sCode": "0", "sMsg": "", "tag": ""}])
    async with told.account() as exchange:
        await exchange.markets()
        await exchange._line.ask(dict, "create_order", SYMBOL, "limit", "buy", "0.01", "30000", {}, acts=True)
    assert not {"tag", "clOrdId"} & json.loads(told.requests[-1].body).keys()


async def test_the_address_is_okxs_own_where_there_is_no_stand_in() -> None:
    line = connect(okx_traits(), replace(CASE.opening(""), url=None))
    sent = line.client.sign("trade/order", ["private"], "GET", {"instId": "BTC-USDT", "clOrdId": "a" * 32})
    await line.close()
    assert sent["url"] == f"https://www.okx.com/api/v5/trade/order?instId=BTC-USDT&clOrdId={'a' * 32}"
    Guard(allowlist.read("okx")).request("GET", sent["url"], sent["headers"], sent["body"])


async def test_a_market_order_that_cannot_be_paid_is_refused_and_not_made_smaller(
    exchange: Okx, okx: VenueProcess
) -> None:
    with pytest.raises(OrderRefused, match="51008"):
        await exchange.create_order(at_market(amount=Decimal(50)))
    assert okx.placed() == []


def said(code: str, *, order: str | None = None) -> str:
    """An error; `order`: the code of the order itself."""
    row = {"clOrdId": "a" * 32, "ordId": "", "tag": "", "ts": "1695190491421", "sCode": order, "sMsg": "Something."}
    return json.dumps({"code": code, "data": [row] if order else [], "msg": "" if order else "Something."})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, said("1", order="51008"), OrderRefused),
        (200, said("1", order="51008_1000"), OrderRefused),
        (200, said("2", order="51020"), OrderRefused),
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
        (429, said("50011"), TooMany),
        (200, said("50011"), TooMany),
        (200, said("1", order="50061"), TooMany),
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


async def test_fills_are_exact_and_name_our_ids_without_a_question(exchange: Okx, okx: VenueProcess) -> None:
    placed = [await exchange.create_order(at_market(amount=Decimal("0.01234567"))) for _ in range(3)]
    async with opened(okx.url) as anew:
        fills = await anew.fills_since(datetime.now(UTC))
        assert list(dict.fromkeys(fill.client_order_id for fill in fills)) == [each.client_order_id for each in placed]
    assert sum(fill.amount for fill in fills) == 3 * Decimal("0.01234567")
    assert [(fill.trade_id, fill.fee) for fill in fills] == [
        (str(trade["id"]), Decimal(trade["commission"])) for trade in okx.books()["trades"]
    ]
    assert {(fill.fee_currency, fill.liquidity, fill.price) for fill in fills} == {
        ("BTC", Liquidity.TAKER, Decimal(40_000))
    }
    assert not {"GET /api/v5/trade/order", "GET /api/v5/trade/fills-history"} & okx.books()["requests"].keys()


async def test_fills_are_read_page_by_page(okx: VenueProcess) -> None:
    async with opened(okx.url, page=2) as exchange:
        for _ in range(4):
            await exchange.create_order(at_market())
        told = [str(trade["id"]) for trade in okx.books()["trades"]]
        assert len(told) > 4
        now = datetime.now(UTC)
        for since in (None, now, now - timedelta(days=30)):
            assert [fill.trade_id for fill in await exchange.fills_since(since)] == told


async def test_fills_since_a_time_come_from_a_minute_before_it(exchange: Okx) -> None:
    await exchange.create_order(at_market())
    all_ = await exchange.fills_since(None)
    assert all_
    assert await exchange.fills_since(all_[-1].at + timedelta(seconds=30)) == all_
    assert await exchange.fills_since(all_[-1].at + timedelta(seconds=90)) == []


async def test_fills_of_before_are_read_from_the_list_of_all(exchange: Okx, okx: VenueProcess) -> None:
    early = await exchange.create_order(at_market())
    okx.clock(4 * DAY)
    async with opened(okx.url) as later:
        recent = await later.create_order(at_market())
        now = await later.exchange_now()
        for since in (None, now - timedelta(days=10)):
            ids = [fill.client_order_id for fill in await later.fills_since(since)]
            assert list(dict.fromkeys(ids)) == [early.client_order_id, recent.client_order_id]
        assert {fill.client_order_id for fill in await later.fills_since(now - timedelta(days=1))} == {
            recent.client_order_id
        }
        trades = await later.trades_of(early.exchange_order_id)
        assert {each.fill.client_order_id for each in trades} == {early.client_order_id}
        assert sum(each.fill.amount for each in trades) == early.amount


async def test_open_orders_are_all_of_them_though_a_page_is_short(okx: VenueProcess) -> None:
    async with opened(okx.url, page=2) as exchange:
        placed = [(await exchange.create_order(an_order())).client_order_id for _ in range(5)]
        assert sorted(each.order.client_order_id for each in await exchange.open_orders()) == sorted(placed)


async def test_recent_orders_are_all_since_a_time_however_they_stand(okx: VenueProcess) -> None:
    async with opened(okx.url, page=2) as exchange:
        requests = [an_order() for _ in range(5)] + [at_market() for _ in range(3)]
        for request in requests:
            await exchange.create_order(request)
        for request in requests[:3]:
            await exchange.cancel_order(request.client_order_id, SYMBOL)
        listed = await exchange.recent_orders(datetime.now(UTC) - timedelta(minutes=5))
        assert sorted(each.client_order_id for each in listed) == sorted(each.client_order_id for each in requests)
        statuses = [each.status for each in listed]
        assert {status: statuses.count(status) for status in statuses} == {
            ExchangeStatus.OPEN: 2,
            ExchangeStatus.FILLED: 3,
            ExchangeStatus.CANCELLED: 3,
        }
        assert await exchange.recent_orders(datetime.now(UTC) + timedelta(minutes=1)) == []


async def test_an_order_that_the_owner_gave_a_cost_is_read_whatever_became_of_it(
    exchange: Okx, okx: VenueProcess, hand: Caller
) -> None:
    okx.price("40000", depth="0.001")
    (placed,) = rows(hand.market(sz="400", tgtCcy="quote_ccy", clOrdId="hand"))
    order = await exchange.order(placed["ordId"])
    assert (order.status, order.amount, order.filled) == (
        ExchangeStatus.CANCELLED,
        Decimal("0.001"),
        Decimal("0.001"),
    )
    assert [each.client_order_id for each in await exchange.recent_orders(datetime.now(UTC) - timedelta(hours=1))] == [
        "hand"
    ]


async def test_nothing_is_made_up_of_a_cancelled_order_that_okx_has_forgotten(exchange: Okx, okx: VenueProcess) -> None:
    placed = await exchange.create_order(an_order())
    await exchange.cancel_order(placed.client_order_id, SYMBOL)
    okx.clock(3 * 3600)
    async with opened(okx.url) as later:
        assert await later.find_order(placed.client_order_id, SYMBOL) is None
        with pytest.raises(OrderRefused):
            await later.cancel_order(placed.client_order_id, SYMBOL)


async def permissions_of(told: Mapping[str, Any]) -> Mapping[str, bool] | None:
    async with Told(config=[told]).account() as exchange:
        return await exchange.key_permissions()


@pytest.mark.parametrize(
    ("changed", "accepted", "forbidden", "unknown", "missing"),
    [
        ({"perm": "read_only,trade"}, True, (), (), ()),
        ({"perm": "trade,read_only", "ip": "117.37.203.58,117.37.203.57"}, True, (), (), ()),
        ({}, False, ("withdraw",), (), ()),
        ({"perm": "withdraw"}, False, ("withdraw",), (), ("trade",)),
        ({"perm": "read_only"}, False, (), (), ("trade",)),
        ({"perm": "read_only,trade,transfer"}, False, (), ("transfer",), ()),
        ({"perm": "read_only,trade,ip"}, False, (), ("ip",), ()),
    ],
)
async def test_a_key_is_judged_by_what_it_may_do(
    changed: dict[str, Any], accepted: bool, forbidden: tuple[str], unknown: tuple[str], missing: tuple[str]
) -> None:
    told = await permissions_of({**CONFIG, **changed})
    assert told is not None
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, told)
    assert (judgement.accepted, judgement.forbidden, judgement.unknown, judgement.missing) == (
        accepted,
        forbidden,
        unknown,
        missing,
    )
    assert any("address" in each for each in judgement.advice) is not bool(changed.get("ip"))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"enableSpotBorrow": True}, "borrowing"),
        ({"autoLoan": True}, "borrowing"),
        ({"autoLoan": "true"}, "borrowing"),
        ({"acctLv": "3"}, "Spot mode"),
        ({"acctLv": "4"}, "Spot mode"),
    ],
)
async def test_an_account_that_may_borrow_or_takes_no_cash_is_told_of(changed: dict[str, Any], word: str) -> None:
    told = await permissions_of({**CONFIG, "perm": "read_only,trade", "ip": "192.0.2.1", **changed})
    assert told is not None
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, told)
    assert judgement.accepted
    (advice,) = judgement.advice
    assert word in advice


@pytest.mark.parametrize("perm", ["", "trade,", "TRADE", "read_only, trade", None, 7, ["trade"], {"trade": True}])
async def test_permissions_that_cannot_be_read_are_none(perm: Any) -> None:
    with pytest.raises(ExchangeUnavailable, match="cannot be read"):
        await permissions_of({**CONFIG, "perm": perm})


async def test_an_answer_without_permissions_or_for_two_keys_cannot_be_read() -> None:
    for rows_ in ([], [CONFIG, CONFIG], [{"uid": "1"}]):
        async with Told(config=rows_).account() as exchange:
            with pytest.raises(ExchangeUnavailable, match="cannot be read"):
                await exchange.key_permissions()


async def test_the_documented_bodies_are_read_to_their_values() -> None:
    told = Told(
        fills=[FILL],
        fills_history=[],
        orders_pending=[PENDING],
        order=[BY_COST],
        balance=[BALANCE],
        ticker=[TICKER],
        books=[BOOK],
        candles=CANDLES,
    )
    async with told.account() as exchange:
        assert await exchange.markets() == {
            SYMBOL: Market(SYMBOL, "BTC", "USDT", Decimal("0.1"), Decimal("0.00000001"), Decimal(0), Decimal("0.00001"))
        }
        assert await exchange.fills_since(None) == [
            Fill(
                trade_id="744876980",
                client_order_id="",
                symbol=SYMBOL,
                side=Side.BUY,
                price=Decimal(51_858),
                amount=Decimal("0.00192834"),
                fee=Decimal("0.00000192834"),
                fee_currency="BTC",
                liquidity=Liquidity.TAKER,
                at=datetime(2024, 2, 22, 7, 36, 13, 362_000, tzinfo=UTC),
            )
        ]
        (pending,) = await exchange.open_orders()
        assert (pending.side, pending.price) == (Side.BUY, Decimal("13013.5"))
        assert pending.order == ExchangeOrder(
            "", "1752588852617379840", SYMBOL, ExchangeStatus.OPEN, Decimal("0.001"), Decimal(0)
        )
        amount = Decimal("0.00192834")
        assert await exchange.order("680800019749904384") == ExchangeOrder(
            "", "680800019749904384", SYMBOL, ExchangeStatus.FILLED, amount, amount, Decimal(51_858)
        )
        assert await exchange.balances() == {"BTC": Decimal("0.05"), "USDT": Decimal("28.21006347")}
        ticker = await exchange.ticker()
        assert (ticker.last, ticker.bid, ticker.ask) == (Decimal("9999.99"), Decimal("8888.88"), Decimal("9999.99"))
        book = await exchange.book(5)
        assert book.bids == (Level(Decimal("41006.3"), Decimal("0.30178218")),)
        assert book.asks == (Level(Decimal("41006.8"), Decimal("0.60038921")),)
        first, second = await exchange.candles(None)
        assert (first.open, first.high, first.low, first.close) == tuple(
            map(Decimal, ("3.731", "3.799", "3.494", "3.72"))
        )
        assert (first.volume, second.at - first.at) == (Decimal(24_912_403), timedelta(minutes=1))


@pytest.mark.parametrize(
    "changed",
    [
        {"fee": ""},
        {"feeCcy": ""},
        {"fillSz": "much"},
        {"side": "both"},
        {"ts": "soon"},
        {"clOrdId": None, "tradeId": None},
    ],
)
async def test_a_fill_that_cannot_be_read_is_none(changed: dict[str, Any]) -> None:
    async with Told(fills=[{**FILL, **changed}], fills_history=[]).account() as exchange:
        with pytest.raises(ExchangeUnavailable, match="cannot be read"):
            await exchange.fills_since(None)


async def test_candles_of_long_ago_come_from_their_own_list(exchange: Okx, okx: VenueProcess) -> None:
    since = datetime.now(UTC) - timedelta(days=2)
    candles = await exchange.candles(since)
    assert len(candles) == 100
    assert timedelta(0) <= candles[0].at - since < timedelta(minutes=1)
    assert "GET /api/v5/market/history-candles" in okx.books()["requests"]


@pytest.mark.parametrize(
    ("part", "given", "fits"),
    [
        ("key", "37c541a1-0000-4000-8000-10fe7a038418", True),
        ("key", " 37c541a1-0000-4000-8000-10fe7a038418\n", True),
        ("key", "37c541a1000040008000", False),
        ("secret", "22582BD0CFF14C41EDBF1AB98506286D", True),
        ("secret", "22582BD0CFF14C41", False),
        ("passphrase", "Open#Sesame1", True),
        ("passphrase", "Open Sesame", False),
        ("passphrase", "Sésame", False),
        ("passphrase", "", False),
    ],
)
async def test_each_part_of_a_key_has_its_form(part: str, given: str, fits: bool) -> None:
    assert (flaw(PROFILE, {**CASE.key, part: given}) is None) is fits


async def test_an_interval_without_candles_is_none_of_its() -> None:
    with pytest.raises(ValueError, match="no candles"):
        open_exchange(replace(CASE.opening("http://127.0.0.1:9"), interval=timedelta(seconds=7)))
