"""What is particular to Crypto.com: its codes, what may be asked of it, its ids, and its lists in spans of time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
import pytest_asyncio

from node_agent.core.market import (
    ExchangeStatus,
    Liquidity,
    Side,
    TimeInForce,
)
from node_agent.exchanges import allowlist
from node_agent.exchanges.cryptocom import PROFILE, TRAITS, CryptoCom
from node_agent.exchanges.failures import ClockOff, DuplicateOrder, NoSuchOrder
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.limiter import Go, Limiter, Wait
from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
    TooSmall,
)
from node_agent.exchanges.profile import KeyCheck
from tests.cryptocom import wire
from tests.cryptocom.case import CASE
from tests.cryptocom.ours import RECORDED, account, an_order, at_market, line_to, opened
from tests.cryptocom.replay import Answers
from tests.cryptocom.venue import DAY
from tests.exchanges.stub import Stub, error_of
from tests.venue.fixtures import as_new, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

ORDER: Final = "v1PrivatePostPrivateCreateOrder"
DETAIL: Final = "v1PrivatePostPrivateGetOrderDetail"


def _named(acts: bool) -> dict[str, str]:
    """What an order must have, or what a question may."""
    return {"client_oid": "a"} | ({"spot_margin": "SPOT"} if acts else {})


def said(code: int | str, message: str = "WORD", **more: Any) -> str:
    return json.dumps({"id": 1, "method": "private/create-order", "code": code, "message": message, **more})


process = process_of(CASE)
venue = as_new(CASE, "venue")


@pytest_asyncio.fixture
async def exchange(venue: VenueProcess) -> AsyncIterator[CryptoCom]:
    ours = opened(venue.url, limits=())
    await ours.markets()
    yield ours
    await ours.close()


# Codes.


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, said(306, "INSUFFICIENT_AVAILABLE_BALANCE", result={"client_oid": "1", "order_id": "2"}), OrderRefused),
        (500, said(415, "BELOW_MIN_ORDER_SIZE"), TooSmall),
        (500, said("309", "MARKET_IS_NOT_OPEN"), OrderRefused),
        (400, said(213, "INVALID_ORDERQTY:Invalid order quantity"), OrderRefused),
        (400, said(315, "FAR_AWAY_LIMIT_PRICE"), OrderRefused),
        (400, said(40004, "MISSING_OR_INVALID_ARGUMENT"), OrderRefused),
        (400, said(204, "DUPLICATE_CLORDID"), DuplicateOrder),
        (500, said(212, "INVALID_ORDERID"), NoSuchOrder),
        (500, said(316, "NO_ACTIVE_ORDER"), NoSuchOrder),
        (200, said(40401, "NOT_FOUND"), NoSuchOrder),
        (400, said(40102, "INVALID_NONCE"), ClockOff),
        (200, said(10007, "INVALID_NONCE"), ClockOff),
        (401, said(40101, "UNAUTHORIZED"), KeyRefused),
        (401, said(40103, "IP_ILLEGAL"), KeyRefused),
        (200, said(10002, "UNAUTHORIZED"), KeyRefused),
        (429, said(42901, "TOO_MANY_REQUESTS"), RateLimited),
        (200, said(10006, "TOO_MANY_REQUESTS"), RateLimited),
    ],
)
@pytest.mark.parametrize("acts", [True, False])
async def test_a_code_with_a_meaning_is_told_as_such(
    status: int, body: str, kind: type[ExchangeError], acts: bool
) -> None:
    async with Stub(status, body) as stub:
        line = line_to(stub.url)
        error = await error_of(line.ask(dict, ORDER if acts else DETAIL, _named(acts), acts=acts))
        await line.close()
    assert type(error) is kind
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, said(50001, "ERR_INTERNAL")),
        (500, said(50001, "INTERNAL_SERVER_ERROR")),
        (408, said(40801, "REQUEST_TIMEOUT")),
        (400, said(40006, "DUPLICATE_REQUEST")),
        (500, said(43004, "IMMEDIATE_OR_CANCEL")),
        (200, said(43012, "SELF_TRADE_PREVENTION")),
        (200, said(10001, "SYS_ERROR")),
        (500, said(620, "CREATE_ISOLATED_POSITION_TIMEOUT")),
        (200, said(987654, "NEVER_HEARD_OF")),
        (500, said(0, "NO_ERROR", result={"order_id": "1", "client_oid": "a"})),
        (200, said(0, "NO_ERROR")),
        (200, "{}"),
        (200, "[]"),
        (502, "<html>Bad gateway</html>"),
    ],
)
async def test_what_is_not_surely_refused_may_have_been_done(status: int, body: str) -> None:
    async with Stub(status, body) as stub:
        line = line_to(stub.url)
        acted = await error_of(line.ask(_number, ORDER, _named(True), acts=True))
        asked = await error_of(line.ask(_number, DETAIL, {"client_oid": "a"}))
        await line.close()
    assert type(acted) is OutcomeUnknown
    assert isinstance(asked, ExchangeUnavailable)
    assert len(stub.requests) == 2


@pytest.mark.parametrize("body", ["{}", "[]", '{"code": 0}', '{"code": "0", "result": null, "more": 1}'])
async def test_an_answer_that_says_nothing_is_not_an_account_without_orders(body: str) -> None:
    async with account({"private/get-open-orders": json.loads(body)}) as (ours, _):
        with pytest.raises(ExchangeUnavailable):
            await ours.open_orders()


async def test_a_clock_that_is_off_is_told_as_such_and_orders_nothing(venue: VenueProcess, exchange: CryptoCom) -> None:
    venue.clock(90)
    with pytest.raises(ClockOff, match="40102"):
        await exchange.create_order(an_order())
    venue.clock(0)
    assert venue.placed() == []
    assert await exchange.clock_offset() is None


# What may be asked.


async def test_its_keys_are_attested_for_it_tells_nothing_of_them(exchange: CryptoCom) -> None:
    assert PROFILE.key_check is KeyCheck.ATTESTED
    assert PROFILE.rules is None
    assert await exchange.key_permissions() is None


@pytest.mark.parametrize("part", range(2))
async def test_the_parts_of_a_key_are_not_mistaken_for_one_another(part: int) -> None:
    forms = [each.form for each in PROFILE.credentials]
    parts = [CASE.key["key"], CASE.key["secret"]]
    assert forms[part].fullmatch(parts[part])
    assert not forms[0].fullmatch(parts[1])
    assert not forms[part].fullmatch(parts[part] + " ")


@pytest.mark.parametrize("url", [each.url for each in allowlist.read("cryptocom").allowed if each.method == "POST"])
async def test_no_body_may_name_another_method_than_its_address(url: str) -> None:
    guard = Guard(allowlist.read("cryptocom"))
    own = url.removeprefix("https://api.crypto.com/exchange/v1/")
    for method in ("private/create-withdrawal", "private/create-subaccount-transfer", "private/create-order", own):
        params = {"spot_margin": "SPOT"} if own == "private/create-order" else {}
        body = json.dumps({"id": "1", "method": method, "params": params, "api_key": "k", "sig": "s", "nonce": "1"})
        if method == own:
            guard.request("POST", url, {}, body)
            continue
        with pytest.raises(Forbidden):
            guard.request("POST", url, {}, body)


@pytest.mark.parametrize(
    "params",
    [
        {"spot_margin": "MARGIN"},
        {},
        {"leverage": "10"},
        {"isolation_id": "1"},
        {"isolated_margin_amount": "1"},
        {"exec_inst": ["ISOLATED_MARGIN"]},
        {"exec_inst": ["MARGIN_ORDER"]},
        {"broker_id": "CCXT"},
        {"type": "STOP_LOSS"},
        {"method": "private/create-withdrawal"},
    ],
)
async def test_no_order_may_borrow_or_name_a_broker(params: Mapping[str, Any]) -> None:
    body = {"id": "1", "method": "private/create-order", "params": params, "api_key": "k", "sig": "s", "nonce": "1"}
    with pytest.raises(Forbidden):
        Guard(allowlist.read("cryptocom")).request(
            "POST", "https://api.crypto.com/exchange/v1/private/create-order", {}, json.dumps(body)
        )


async def test_an_order_says_what_it_has_to_and_no_more() -> None:
    async with account({"private/create-order": _acknowledged}) as (ours, far):
        limited, taken = an_order(time_in_force=TimeInForce.IOC), at_market(side=Side.SELL)
        placed = [await ours.create_order(each) for each in (limited, taken)]
    usual = {"instrument_name": "BTC_USDT", "quantity": "0.01", "spot_margin": "SPOT"}
    assert far.of("private/create-order") == [
        usual
        | {"side": "BUY", "type": "LIMIT", "client_oid": limited.client_order_id}
        | {"price": "30000", "time_in_force": "IMMEDIATE_OR_CANCEL"},
        usual | {"side": "SELL", "type": "MARKET", "client_oid": taken.client_order_id},
    ]
    stands = ExchangeStatus.OPEN, Decimal("0.01"), Decimal(0)
    assert [(each.status, each.amount, each.filled) for each in placed] == [stands, stands]
    assert {method for method, _ in far.asked} == {"public/get-instruments", "private/create-order"}


@pytest.mark.parametrize("told", [{"client_oid": "another"}, {"order_id": ""}, {"order_id": None}])
async def test_an_acknowledgement_of_another_order_or_of_none_is_not_taken_for_ours(told: dict[str, Any]) -> None:
    async with account({"private/create-order": lambda params: _acknowledged(params) | told}) as (ours, _):
        with pytest.raises(OutcomeUnknown):
            await ours.create_order(an_order())


async def test_after_too_many_requests_nothing_goes_for_a_few_seconds() -> None:
    async with Stub(429, said(42901, "TOO_MANY_REQUESTS")) as stub:
        line = line_to(stub.url)
        before = datetime.now(UTC)
        for _ in range(2):
            with pytest.raises(RateLimited) as raised:
                await line.ask(dict, DETAIL, {"client_oid": "a"})
        await line.close()
    assert len(stub.requests) == 1
    assert timedelta(seconds=4) < raised.value.until - before < timedelta(seconds=10)


async def test_two_questions_for_trades_are_more_than_a_second_apart_and_orders_do_not_wait_for_them() -> None:
    limiter = Limiter(TRAITS.limits, 0.0)
    assert limiter.ask(0.0, weight=100) == Go()
    waits = limiter.ask(0.0, weight=100)
    assert isinstance(waits, Wait)
    assert 1.1 < waits.seconds < TRAITS.pace.patience / 2
    for _ in range(7):
        assert limiter.ask(0.0, weight=2 / 3, orders=1, urgent=True) == Go()


async def test_a_request_that_was_lost_takes_no_effect_after_two_minutes() -> None:
    assert TRAITS.conduct.settles_within == timedelta(minutes=2)
    assert not TRAITS.conduct.ids_unique_for_ever


# Orders and fills.


async def test_fills_name_our_orders_without_asking_for_each(venue: VenueProcess, exchange: CryptoCom) -> None:
    requests = [at_market() for _ in range(3)]
    for request in requests:
        await exchange.create_order(request)
    anew = opened(venue.url, limits=())
    fills = await anew.fills_since(datetime.now(UTC))
    await anew.close()
    assert {each.client_order_id for each in fills} == {each.client_order_id for each in requests}
    assert {each.liquidity for each in fills} == {Liquidity.TAKER}
    assert not [name for name in venue.books()["requests"] if name.endswith("get-order-detail")]


async def test_trades_of_one_order_are_its_own(exchange: CryptoCom) -> None:
    placed = [await exchange.create_order(at_market(amount=Decimal(amount))) for amount in ("0.01", "0.02")]
    for order in placed:
        trades = await exchange.trades_of(order.exchange_order_id)
        assert sum(each.fill.amount for each in trades) == order.amount
        assert {each.exchange_order_id for each in trades} == {order.exchange_order_id}


async def test_an_order_that_was_taken_down_and_rejected_is_found_as_that(exchange: CryptoCom) -> None:
    request = an_order(amount=Decimal(50))
    with pytest.raises(OrderRefused, match="306"):
        await exchange.create_order(request)
    found = await exchange.find_order(request.client_order_id, request.symbol)
    assert found is not None
    assert (found.status, found.filled) == (ExchangeStatus.REJECTED, Decimal(0))


async def test_recent_orders_are_those_that_ended_and_those_that_are_open_but_none_from_before(
    exchange: CryptoCom,
) -> None:
    placed = [await exchange.create_order(each) for each in (an_order(), at_market())]
    told = await exchange.recent_orders(datetime.now(UTC) - timedelta(days=2))
    assert {each.exchange_order_id for each in told} == {each.exchange_order_id for each in placed}
    now = round(datetime.now(UTC).timestamp() * 1000)
    (recorded,) = RECORDED["private/get-order-history"]["result"]["data"]
    row = recorded | {"instrument_name": "BTC_USDT", "create_time": now}
    older = row | {"order_id": "1", "create_time": now - 10_000}
    answers: Answers = {
        "private/get-open-orders": lambda _: {"data": [row | {"status": "PENDING"}, older]},
        "private/get-order-history": lambda _: {"data": [row]},
    }
    async with account(answers) as (ours, _):
        (order,) = await ours.recent_orders(datetime.now(UTC) - timedelta(seconds=5))
    assert (order.exchange_order_id, order.status) == (row["order_id"], ExchangeStatus.FILLED)


async def test_more_fills_than_a_page_are_all_told_once(venue: VenueProcess, exchange: CryptoCom) -> None:
    while len(venue.books()["trades"]) < 230:
        for _ in range(20):
            venue.foreign(symbol="BTC_USDT", side="BUY", type="MARKET", quantity="0.0001")
    fills = await exchange.fills_since(datetime.now(UTC) - timedelta(minutes=5))
    told = [each["id"] for each in venue.books()["trades"]]
    assert [int(each.trade_id) - wire.FIRST_TRADE for each in fills] == told


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("moments", [[0] * 90 + [5] * 90 + [9] * 90, list(range(350)), [0] * 99 + [1] * 99, [7] * 99])
async def test_no_fill_is_lost_whichever_end_of_a_span_a_page_has(moments: list[int], newest_first: bool) -> None:
    began = int(datetime.now(UTC).timestamp()) * 1_000_000_000
    rows = [_trade(number, began + moment) for number, moment in enumerate(moments)]
    async with account({"private/get-trades": _Listed(rows, newest_first)}, limits=()) as (ours, _):
        fills = await ours.fills_since(datetime.fromtimestamp(began / 1e9, UTC))
    assert sorted(int(each.trade_id) for each in fills) == list(range(len(moments)))


async def test_more_fills_of_one_moment_than_a_page_are_an_error_and_no_silence() -> None:
    now = int(datetime.now(UTC).timestamp() * 1000) * 1_000_000
    rows = [_trade(number, now) for number in range(101)]
    async with account({"private/get-trades": _Listed(rows, True)}, limits=()) as (ours, _):
        with pytest.raises(ExchangeUnavailable, match="more at one moment"):
            await ours.fills_since(datetime.fromtimestamp(now / 1e9, UTC))


async def test_without_a_time_fills_are_asked_for_in_spans_that_meet_and_the_last_is_open() -> None:
    async with account({"private/get-trades": lambda _: {"data": []}}, limits=()) as (ours, far):
        assert await ours.fills_since(None) == []
    spans = [(int(each["start_time"]), each.get("end_time")) for each in far.of("private/get-trades")]
    assert [end for _, end in spans] == [*(str(begin) for begin, _ in spans[1:]), None]
    assert all(int(end) - begin <= 7 * DAY for begin, end in spans[:-1] if end is not None)
    assert datetime.now(UTC).timestamp() - spans[0][0] / 1e9 >= TRAITS.looks_back.total_seconds() - 60


async def test_a_trade_that_does_not_say_whose_side_it_was_is_still_told() -> None:
    row = _trade(1, int(datetime.now(UTC).timestamp() * 1000) * 1_000_000) | {"taker_side": ""}
    async with account({"private/get-trades": lambda _: {"data": [row]}}) as (ours, _):
        (fill,) = await ours.fills_since(datetime.now(UTC))
    assert fill.liquidity is Liquidity.TAKER


class _Listed:
    """Trades of a list, as one page of a span has them."""

    def __init__(self, rows: list[dict[str, Any]], newest_first: bool) -> None:
        self._rows = sorted(rows, key=lambda row: int(row["create_time_ns"]), reverse=newest_first)

    def __call__(self, params: Mapping[str, Any]) -> Any:
        since, until = int(params["start_time"]), int(params.get("end_time", 1 << 63))
        inside = [row for row in self._rows if since <= int(row["create_time_ns"]) < until]
        return {"data": inside[: params["limit"]]}


def _trade(number: int, at: int) -> dict[str, Any]:
    recorded: dict[str, Any] = RECORDED["private/get-trades"]["result"]["data"][0]
    return recorded | {
        "trade_id": str(number),
        "instrument_name": "BTC_USDT",
        "create_time": at // 1_000_000,
        "create_time_ns": str(at),
    }


def _acknowledged(params: Mapping[str, Any]) -> Any:
    return {"order_id": str(wire.FIRST_ORDER), "client_oid": params["client_oid"]}


def _number(raw: Any) -> str:
    return str(raw["result"]["order_id"])
