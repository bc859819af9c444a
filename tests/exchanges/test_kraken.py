"""What is particular to Kraken: numbers, deadlines and names of orders; fills and their pages; what a key may do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import pytest

from node_agent.core.market import ExchangeStatus, IdForm, Side, TimeInForce
from node_agent.exchanges.failures import ClockOff
from node_agent.exchanges.kraken import PROFILE, Kraken, kraken_traits
from node_agent.exchanges.permissions import judge
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused, OutcomeUnknown
from tests.exchanges.stub import Stub
from tests.kraken import wire
from tests.kraken.case import CASE
from tests.kraken.ours import SYMBOL, an_order, answering, at_market, line_to, opened, recorded
from tests.kraken.venue import TRADING
from tests.venue.fixtures import as_new, ours_on, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

running = process_of(CASE, name="running")
process = as_new(CASE, "process", of="running")
exchange = ours_on("process", opened)


# Names, numbers and deadlines.


async def test_its_conduct_is_krakens(exchange: Kraken) -> None:
    conduct = exchange.conduct
    assert exchange.name == "kraken"
    assert (conduct.id_form, conduct.ids_unique_for_ever) == (IdForm.UUID, False)
    assert conduct.settles_within == timedelta(seconds=68)
    assert kraken_traits(600.0).conduct.settles_within == timedelta(seconds=113)


async def test_an_order_goes_out_with_name_and_deadline_and_without_leverage_or_broker(exchange: Kraken) -> None:
    await exchange.markets()
    fetch = exchange._line.client.fetch
    sent: dict[str, str] = {}

    async def seen(url: str, method: str, headers: Any, body: str) -> Any:
        sent.update((name, value) for name, (value,) in parse_qs(body).items())
        return await fetch(url, method, headers, body)

    exchange._line.client.fetch = seen
    request, before = an_order(time_in_force=TimeInForce.IOC), datetime.now(UTC)
    await exchange.create_order(request)
    assert timedelta(seconds=4) < datetime.fromisoformat(sent.pop("deadline")) - before < timedelta(seconds=8)
    assert int(sent.pop("nonce")) >= before.timestamp() * 1e6
    assert UUID(sent.pop("cl_ord_id")).hex == request.client_order_id
    assert sent == {
        **{"pair": "XXBTZUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "30000"},
        **{"oflags": "fciq", "timeinforce": "IOC"},
    }


async def test_the_same_order_after_it_was_filled_is_a_second_one(exchange: Kraken, process: VenueProcess) -> None:
    """Which is why nobody may send it again who has not looked."""
    request = at_market()
    first, second = await exchange.create_order(request), await exchange.create_order(request)
    assert first.exchange_order_id != second.exchange_order_id
    assert process.books()["duplicates"] == {str(UUID(request.client_order_id)): 2}


async def test_an_order_that_comes_after_its_deadline_does_nothing(exchange: Kraken, process: VenueProcess) -> None:
    await exchange.markets()
    await exchange.clock_offset()
    process.clock(30.0)
    request = an_order()
    with pytest.raises(OutcomeUnknown, match="Deadline elapsed"):
        await exchange.create_order(request)
    assert process.placed() == []
    assert await exchange.find_order(request.client_order_id, SYMBOL) is None


@pytest.mark.parametrize("ahead", [-7200.0, -0.7, 0.0, 0.7, 7200.0])
async def test_a_deadline_is_counted_by_krakens_clock(process: VenueProcess, ahead: float) -> None:
    process.clock(ahead)
    async with opened(process.url) as ours:
        assert (await ours.create_order(an_order())).status is ExchangeStatus.OPEN
        offset = await ours.clock_offset()
    assert offset == pytest.approx(-ahead + 0.5, abs=0.7)  # it tells whole seconds
    assert process.books()["refusals"] == {}


async def test_requests_at_the_same_time_arrive_in_the_order_of_their_numbers(
    exchange: Kraken, process: VenueProcess
) -> None:
    reads = [exchange.balances() for _ in range(4)] + [exchange.open_orders() for _ in range(4)]
    await asyncio.gather(*reads, *(exchange.create_order(an_order()) for _ in range(8)))
    assert process.books()["refusals"] == {}
    assert len(process.placed()) == 8


async def test_a_clock_that_is_set_back_takes_no_number_back(exchange: Kraken, process: VenueProcess) -> None:
    await exchange.balances()
    exchange._line.client.options["timeDifference"] = 3_600_000
    await exchange.balances()
    await exchange.create_order(an_order())
    assert process.books()["refusals"] == {}


async def test_who_comes_later_with_a_clock_that_was_set_back_is_told_so_and_did_nothing(
    exchange: Kraken, process: VenueProcess
) -> None:
    await exchange.balances()
    process.clock(-3600.0)
    async with opened(process.url) as later:
        with pytest.raises(ClockOff):
            await later.create_order(an_order())
    assert process.placed() == []


async def test_a_number_is_of_krakens_time_when_ours_is_wrong(process: VenueProcess) -> None:
    process.clock(7200.0)
    async with opened(process.url) as ours:
        await ours.balances()
        told = await ours._line.ask(lambda raw: raw["result"]["nonce"], "private_post_getapikeyinfo")
    assert int(told) / 1e6 - time.time() == pytest.approx(7200, abs=2)


# Finding and cancelling.


async def test_an_order_is_found_by_its_name_open_or_ended(process: VenueProcess, exchange: Kraken) -> None:
    resting, ended = an_order(), at_market()
    for request in (resting, ended):
        await exchange.create_order(request)
    async with opened(process.url) as later:
        open_, filled = [await later.find_order(each.client_order_id, SYMBOL) for each in (resting, ended)]
        assert open_ is not None
        assert (open_.client_order_id, open_.status) == (resting.client_order_id, ExchangeStatus.OPEN)
        assert filled is not None
        assert (filled.client_order_id, filled.status) == (ended.client_order_id, ExchangeStatus.FILLED)
        assert (filled.filled, filled.average_price) == (ended.amount, Decimal(40_000))
    requests = process.books()["requests"]
    assert (requests["POST /0/private/OpenOrders"], requests["POST /0/private/ClosedOrders"]) == (2, 1)


@pytest.mark.parametrize("written", [str, lambda name: name.hex])
async def test_a_name_is_ours_however_kraken_writes_it(exchange: Kraken, written: Any) -> None:
    """It keeps a name as a number, and says of none in which form it gives it back."""
    name = uuid4()
    answer = json.loads(json.dumps(wire.RECORDED["OpenOrders, cl_ord_id"]))
    (order,) = answer["result"]["open"].values()
    order["cl_ord_id"] = written(name)
    async with opened("http://127.0.0.1:9", "LTC/USDT") as ours:
        answering(ours, recorded("OpenOrders, cl_ord_id", OpenOrders=answer))
        (listed,) = await ours.open_orders()
        assert listed.order.client_order_id == name.hex
        assert await ours._listed(name.hex) == listed.order


async def test_a_cancel_of_nothing_is_refused(exchange: Kraken) -> None:
    nothing = {"error": [], "result": {"count": 0}}
    none = {"error": [], "result": {"open": {}, "closed": {}, "count": 0}}
    await exchange.markets()
    answering(exchange, recorded("CancelOrder", CancelOrder=nothing, OpenOrders=none, ClosedOrders=none))
    with pytest.raises(OrderRefused):
        await exchange.cancel_order(uuid4().hex, SYMBOL)


async def test_a_cancel_whose_end_cannot_be_read_may_have_been_done(exchange: Kraken, process: VenueProcess) -> None:
    request = an_order()
    await exchange.create_order(request)
    process.faults({"what": "5xx_before", "path": "/0/private/QueryOrders"})
    with pytest.raises(OutcomeUnknown, match="cancelled"):
        await exchange.cancel_order(request.client_order_id, SYMBOL)
    assert (await exchange.cancel_order(request.client_order_id, SYMBOL)).status is ExchangeStatus.CANCELLED


async def test_an_order_of_the_owners_has_no_name_of_ours(exchange: Kraken, process: VenueProcess) -> None:
    """ccxt gives the number of a user in its place, which is 0 for all that have none."""
    process.foreign(side="SELL", type="LIMIT", quantity="0.02", price="50000")
    (theirs,) = await exchange.open_orders()
    assert theirs.order.client_order_id == ""


async def test_recent_orders_are_those_since_page_by_page(exchange: Kraken, process: VenueProcess) -> None:
    old = await exchange.create_order(an_order())
    gone = [process.foreign(side="BUY", type="MARKET", quantity="0.001")["id"] for _ in range(60)]
    await exchange.create_order(an_order())
    told = await exchange.recent_orders(datetime.now(UTC) - timedelta(minutes=5))
    assert {each.exchange_order_id for each in told} == {
        wire.name("O", each["id"]) for each in process.books()["orders"]
    }
    assert len(told) == len(gone) + 2
    assert process.books()["requests"]["POST /0/private/ClosedOrders"] == 2
    assert await exchange.recent_orders(datetime.now(UTC) + timedelta(minutes=5)) == []
    assert old in told


# Fills.


async def test_all_fills_are_read_page_by_page_and_under_our_names(exchange: Kraken, process: VenueProcess) -> None:
    ours = at_market()
    await exchange.create_order(ours)
    for _ in range(30):
        process.foreign(side="BUY", type="MARKET", quantity="0.001")
    process.foreign(symbol="XLTCZUSD", side="BUY", type="MARKET", quantity="1")
    there = [each for each in process.books()["trades"] if each["symbol"] == "XXBTZUSD"]
    assert len(there) > 50
    for since in (None, datetime.now(UTC)):
        fills = await exchange.fills_since(since)
        assert [each.trade_id for each in fills] == [wire.name("T", each["id"]) for each in there]
        assert [each.at for each in fills] == [
            datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=each["at"]) for each in there
        ]
        assert sum(each.amount for each in fills if each.client_order_id == ours.client_order_id) == ours.amount
    requests = process.books()["requests"]
    assert requests["POST /0/private/TradesHistory"] == 4
    assert requests["POST /0/private/QueryOrders"] == 2  # thirty orders, once
    assert process.books()["refusals"] == {}


async def test_fees_are_in_the_quote_currency_both_ways(exchange: Kraken) -> None:
    await exchange.create_order(at_market())
    await exchange.create_order(at_market(side=Side.SELL))
    fills = await exchange.fills_since(None)
    assert {each.fee_currency for each in fills} == {"USD"}
    assert sum(each.fee for each in fills) == Decimal("0.8")
    balances = await exchange.balances()
    assert balances == {"BTC": Decimal(5), "USD": Decimal(100_000) - Decimal("0.8")}


async def test_the_fills_of_one_order_are_asked_for_by_their_ids(exchange: Kraken, process: VenueProcess) -> None:
    placed = await exchange.create_order(at_market())
    await exchange.create_order(at_market())
    trades = await exchange.trades_of(placed.exchange_order_id)
    assert sum(each.fill.amount for each in trades) == Decimal("0.01")
    assert {each.exchange_order_id for each in trades} == {placed.exchange_order_id}
    resting = await exchange.create_order(an_order())
    assert await exchange.trades_of(resting.exchange_order_id) == []
    requests = process.books()["requests"]
    assert requests["POST /0/private/QueryTrades"] == 1
    assert "POST /0/private/TradesHistory" not in requests


# What a key may do.


def told(*permissions: str, **also: Any) -> str:
    return json.dumps({"error": [], "result": {"permissions": permissions, "ipAllowlist": [], **also}})


async def asked_of(body: str) -> Mapping[str, bool]:
    async with Stub(200, body) as stub:
        line = line_to(stub.url)
        query = kraken_traits(5.0).permissions
        assert query is not None
        try:
            return await line.ask(query.read, query.method)
        finally:
            await line.close()


async def test_a_key_that_trades_alone_is_taken(exchange: Kraken, process: VenueProcess) -> None:
    permissions = await exchange.key_permissions()
    assert permissions is not None
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, permissions)
    assert judgement.accepted
    assert judgement.advice == (PROFILE.rules.better_on["ipAllowlist"],)
    process.permissions(ipAllowlist=["192.0.2.7"])
    assert judge(PROFILE.rules, await exchange.key_permissions() or {}).advice == ()
    assert {name for name in process.books()["requests"] if "private" in name} == {"POST /0/private/GetApiKeyInfo"}


@pytest.mark.parametrize("more", ["withdraw-funds", "add-withdraw-address", "update-withdraw-address", "earn-funds"])
async def test_a_key_that_could_move_money_is_refused(more: str) -> None:
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, await asked_of(told(*TRADING, more)))
    assert (judgement.accepted, judgement.forbidden) == (False, (more,))


async def test_a_permission_that_is_not_known_refuses_the_key() -> None:
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, await asked_of(told(*TRADING, "transfer-funds")))
    assert (judgement.accepted, judgement.unknown) == (False, ("transfer-funds",))


@pytest.mark.parametrize("lacks", TRADING[:4])
async def test_a_key_that_cannot_trade_is_told_what_it_lacks(lacks: str) -> None:
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, await asked_of(told(*(each for each in TRADING if each != lacks))))
    assert (judgement.accepted, judgement.missing) == (False, (lacks,))


async def test_a_key_that_sees_a_part_of_its_orders_alone_is_taken_with_advice() -> None:
    assert PROFILE.rules is not None
    body = told(
        *TRADING, "add-funds", "create-ws-token", "query-ledger", "export-data", queryFrom="1700000000", queryTo="0"
    )
    judgement = judge(PROFILE.rules, await asked_of(body))
    assert judgement.accepted
    assert set(judgement.advice) == {
        *(PROFILE.rules.better_off[name] for name in ("add-funds", "create-ws-token", "queryFrom")),
        PROFILE.rules.better_on["ipAllowlist"],
    }


@pytest.mark.parametrize(("until", "told_of"), [("0", False), ("1893456000", True), (1893456000, True), (None, False)])
async def test_a_key_that_ends_by_itself_is_taken_with_advice(until: Any, told_of: bool) -> None:
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, await asked_of(told(*TRADING, validUntil=until)))
    assert judgement.accepted
    assert (PROFILE.rules.better_off["validUntil"] in judgement.advice) is told_of


async def test_what_restricts_a_key_is_read_in_either_spelling_of_its_names() -> None:
    """The second is of a body that another client is tested with."""
    for addresses, restricted in (([], False), ([""], False), (["192.0.2.7"], True)):
        for dates in ("0", "1893456000"):
            camel = {"ipAllowlist": addresses, "validUntil": dates, "queryFrom": dates, "queryTo": dates}
            snake = {"ip_allowlist": addresses, "valid_until": dates, "query_from": dates, "query_to": dates}
            for spelt in (camel, snake):
                body = json.dumps({"error": [], "result": {"permissions": TRADING, **spelt}})
                answer = await asked_of(body)
                assert answer["ipAllowlist"] is restricted
                assert {answer[name] for name in ("validUntil", "queryFrom", "queryTo")} == {dates != "0"}


@pytest.mark.parametrize(
    "body",
    [
        '{"error": [], "result": {}}',
        '{"error": [], "result": null}',
        '{"error": [], "result": {"permissions": "query-funds"}}',
        '{"error": [], "result": {"permissions": {"query-funds": true}}}',
        '{"error": [], "result": {"permissions": [1]}}',
        '{"error": [], "result": {"permissions": [""]}}',
        '{"error": []}',
        "<html>",
    ],
)
async def test_an_answer_on_permissions_that_cannot_be_read_is_none(body: str) -> None:
    with pytest.raises(ExchangeUnavailable):
        await asked_of(body)


async def test_a_key_has_the_form_of_krakens() -> None:
    key, secret = PROFILE.credentials
    assert key.form.fullmatch("4/SDrDBcOOPnm3nPlNfEMMJDeRcIVqPz+QhRxIodyZbI9po/aVRiHsgX")
    assert secret.form.fullmatch(CASE.key["secret"])
    assert not secret.form.fullmatch(CASE.key["secret"][:-1])
