"""Polymarket's orders are known by their hash: it is worked out beforehand, and finds them when nothing else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from node_agent.core.market import ExchangeStatus, Side
from node_agent.exchanges.polymarket_orders import Fees, Ids, Outcome, Terms, free_fields
from node_agent.exchanges.port import OutcomeUnknown
from tests.polymarket import signing
from tests.polymarket.case import CASE, KEY
from tests.polymarket.ours import MINUTES_AGO, SYMBOL, Bench, an_order, at_market, bench_of, bench_on
from tests.polymarket.test_polymarket import VECTOR, VECTOR_CHAIN, VECTOR_ID
from tests.polymarket.venue import FINE_TOKEN, TOKEN
from tests.venue.fixtures import process_of
from tests.venue.process import VenueProcess

AT_ONCE = timedelta(0)

polymarket = process_of(CASE, name="polymarket")
bench = bench_on("polymarket")
# One that tells nothing of an order that has ended.
forgetful = process_of(replace(CASE, key={**KEY, "forgets": "yes"}, options=("--interval", "1h")), name="forgetful")
oblivion = bench_on("forgetful", settles_within=AT_ONCE)


def ids_of(chain: int, outcome: Outcome, **who: Any) -> Ids:
    contract = {
        "ctfExchangeName": "Polymarket CTF Exchange",
        "ctfExchangeVersion": "2",
        "chainId": chain,
        "exchangeAddress": signing.EXCHANGE,
        "negRiskExchangeAddress": signing.NEG_RISK_EXCHANGE,
    }
    return Ids(signing.keccak, contract, outcome=outcome, **who)


def an_outcome(token: str, *, neg_risk: bool = False) -> Outcome:
    return Outcome(token, "0x1", Decimal("0.01"), neg_risk, Fees())


def test_an_order_is_called_what_polymarkets_own_client_calls_it() -> None:
    ids = ids_of(VECTOR_CHAIN, an_outcome("1234"), maker=VECTOR["maker"], signer=VECTOR["signer"], kind=3)
    told = ids.hash(VECTOR["salt"], int(VECTOR["timestamp"]), Side.BUY, 100_000_000, 50_000_000)
    assert told == VECTOR_ID


def test_an_id_follows_from_ours_and_the_terms_and_from_nothing_else() -> None:
    who = {"maker": KEY["wallet"], "signer": KEY["wallet"], "kind": 3}
    ours, terms = uuid4().hex, Terms(Side.BUY, Decimal("0.4"), Decimal(10))
    told = ids_of(137, an_outcome(TOKEN), **who).of(ours, terms)
    assert ids_of(137, an_outcome(TOKEN), **who).of(ours, replace(terms, at=datetime.now(UTC))) == told
    others = {
        ids_of(137, an_outcome(TOKEN), **who).of(uuid4().hex, terms),
        *(
            ids_of(137, an_outcome(TOKEN), **who).of(ours, replace(terms, **change))
            for change in ({"side": Side.SELL}, {"price": Decimal("0.41")}, {"amount": Decimal("10.01")})
        ),
        ids_of(137, an_outcome(FINE_TOKEN), **who).of(ours, terms),
        ids_of(137, an_outcome(TOKEN, neg_risk=True), **who).of(ours, terms),
    }
    assert len(others | {told}) == 7
    with pytest.raises(ValueError, match="too fine"):
        ids_of(137, an_outcome(TOKEN), **who).of(ours, replace(terms, amount=Decimal("0.0000001")))


def test_salts_fit_into_a_double_and_signing_times_lie_in_the_past() -> None:
    told = [free_fields(uuid4().hex) for _ in range(500)]
    assert all(salt < 1 << 53 and 1_700_000_000_000 <= at < 1_765_000_000_000 for salt, at in told)
    assert len({salt for salt, _ in told}) == len({at for _, at in told}) == 500


@pytest.mark.asyncio
async def test_an_order_has_the_id_that_was_worked_out_before_it_was_sent(bench: Bench) -> None:
    request = an_order()
    bench.process.faults({"what": "drop_before", "method": "POST", "path": "/order"})
    with pytest.raises(OutcomeUnknown):
        await bench.exchange.create_order(request)
    assert await bench.exchange.find_order(request.client_order_id, SYMBOL) is None
    known = bench.exchange._exchange_ids[request.client_order_id]
    assert (await bench.exchange.create_order(request)).exchange_order_id == known
    assert bench.placed()[0].client_id == known


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["open", "cancelled", "filled"])
async def test_who_sends_it_again_without_memory_is_answered_with_the_first(bench: Bench, how: str) -> None:
    request = at_market() if how == "filled" else an_order()
    first = await bench.exchange.create_order(request)
    if how == "cancelled":
        await bench.exchange.cancel_order(request.client_order_id, SYMBOL)
    async with bench.another() as later:
        again = await later.create_order(request)
        assert again.exchange_order_id == first.exchange_order_id
        assert again.status.value == how
    assert len(bench.placed()) == 1
    assert sum(each.amount for each in (await bench.fills()).get(request.client_order_id, [])) in (0, 10)


@pytest.mark.asyncio
async def test_orders_of_somebody_else_stay_somebody_elses(bench: Bench) -> None:
    bench.process.foreign(symbol=TOKEN, side="BUY", type="LIMIT", quantity="10", price="0.40")
    bench.process.foreign(symbol=TOKEN, side="BUY", type="LIMIT", quantity="10", price="0.50")
    assert await bench.exchange.find_order(uuid4().hex, SYMBOL) is None
    assert set(await bench.fills()) == {""}
    (listed,) = await bench.exchange.open_orders()
    assert listed.order.client_order_id == ""


# An exchange that tells nothing of what has ended.


@pytest.mark.asyncio
async def test_an_order_that_is_told_of_no_more_is_known_by_its_trades(oblivion: Bench) -> None:
    filled, cancelled, cut = at_market(), an_order(), an_order(price=Decimal("0.50"))
    assert (await oblivion.exchange.create_order(filled)).status is ExchangeStatus.FILLED
    await oblivion.exchange.create_order(cancelled)
    assert (await oblivion.exchange.cancel_order(cancelled.client_order_id, SYMBOL)).status is ExchangeStatus.CANCELLED
    oblivion.process.price("0.50", depth="4")
    await oblivion.exchange.create_order(cut)
    ended = await oblivion.exchange.cancel_order(cut.client_order_id, SYMBOL)
    assert (ended.status, ended.amount, ended.filled) == (ExchangeStatus.CANCELLED, Decimal(10), Decimal(4))
    found = await oblivion.exchange.find_order(filled.client_order_id, SYMBOL)
    assert found is not None
    assert (found.status, found.filled, found.average_price) == (ExchangeStatus.FILLED, Decimal(10), Decimal("0.50"))


@pytest.mark.asyncio
async def test_what_filled_whole_is_found_without_memory_by_guessing_its_terms(oblivion: Bench) -> None:
    taken, rested = at_market(), an_order()
    await oblivion.exchange.create_order(taken)
    await oblivion.exchange.create_order(rested)
    for _ in range(2):
        oblivion.process.price("0.39")
    async with oblivion.another() as later:
        for request in (taken, rested):
            found = await later.find_order(request.client_order_id, SYMBOL)
            assert found is not None
            assert (found.filled, found.client_order_id) == (Decimal(10), request.client_order_id)
        fills = await later.fills_since(datetime.now(UTC) - MINUTES_AGO)
        assert {each.client_order_id for each in fills} == {taken.client_order_id, rested.client_order_id}


@pytest.mark.asyncio
async def test_what_ended_without_a_trade_is_known_again_when_it_is_sent_again(oblivion: Bench) -> None:
    request = an_order()
    await oblivion.exchange.create_order(request)
    await oblivion.exchange.cancel_order(request.client_order_id, SYMBOL)
    async with oblivion.another(settles_within=AT_ONCE) as later:
        assert await later.find_order(request.client_order_id, SYMBOL) is None
        assert (await later.create_order(request)).status is ExchangeStatus.CANCELLED
    assert len(oblivion.placed()) == 1


@pytest.mark.asyncio
async def test_an_order_from_before_that_is_told_of_no_more_has_ended(oblivion: Bench) -> None:
    request = an_order()
    placed = await oblivion.exchange.create_order(request)
    oblivion.process.cancel(oblivion.placed()[0].id)
    async with oblivion.another(settles_within=AT_ONCE) as later:
        later.know([(request.client_order_id, placed.exchange_order_id)])
        found = await later.find_order(request.client_order_id, SYMBOL)
        assert found is not None
        assert (found.status, found.filled) == (ExchangeStatus.CANCELLED, Decimal(0))


@pytest.mark.asyncio
async def test_an_order_that_is_not_told_of_yet_is_open_for_a_while(forgetful: VenueProcess) -> None:
    async with bench_of(forgetful) as bench:
        request = an_order()
        await bench.exchange.create_order(request)
        bench.process.cancel(bench.placed()[0].id)
        found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
        assert found is not None
        assert found.status is ExchangeStatus.OPEN


@pytest.mark.asyncio
async def test_an_order_that_is_held_back_is_open_until_it_is_told_of() -> None:
    with VenueProcess.of("polymarket", {**KEY, "delays": "3"}) as process:
        async with bench_of(process) as bench:
            request = at_market()
            assert (await bench.exchange.create_order(request)).status is ExchangeStatus.OPEN
            assert bench.placed() == []
            found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
            assert found is not None
            assert (found.status, found.filled) == (ExchangeStatus.OPEN, Decimal(0))
            process.clock(4)
            found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
            assert found is not None
            assert (found.status, found.filled) == (ExchangeStatus.FILLED, Decimal(10))
