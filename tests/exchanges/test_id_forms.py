"""A client order id in the form that an exchange takes: 32 hex characters here, perhaps a UUID there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.core import ids
from node_agent.core.market import Conduct, IdForm
from tests.binance.process import BinanceProcess
from tests.exchanges.opening import SYMBOL, an_order, at_market, opened

ours = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(ours, st.sampled_from(IdForm))
def test_what_is_written_is_read_again(name: str, form: IdForm) -> None:
    assert ids.read(ids.written(name, form), form) == name


def test_a_uuid_has_its_hyphens() -> None:
    assert ids.written("0123456789abcdef0123456789abcdef", IdForm.UUID) == "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize("theirs", ["web_1", "", "01234567-89AB-CDEF-0123-456789ABCDEF", "0123-456789abcdef"])
def test_somebody_else_s_id_stays_as_it_is(theirs: str) -> None:
    assert ids.read(theirs, IdForm.UUID) == theirs


@pytest.mark.asyncio
async def test_an_exchange_that_wants_uuids_gets_them_and_the_node_sees_its_own(binance: BinanceProcess) -> None:
    exchange = opened(binance, conduct=Conduct(id_form=IdForm.UUID))
    resting, taking = an_order(), at_market()
    try:
        assert (await exchange.create_order(resting)).client_order_id == resting.client_order_id
        await exchange.create_order(taking)
        there = [order["clientOrderId"] for order in binance.books()["orders"]]
        assert there == [ids.written(each.client_order_id, IdForm.UUID) for each in (resting, taking)]
        found = await exchange.find_order(resting.client_order_id, SYMBOL)
        assert found is not None
        assert found.client_order_id == resting.client_order_id
        assert [each.order.client_order_id for each in await exchange.open_orders()] == [resting.client_order_id]
        assert {fill.client_order_id for fill in await exchange.fills_since(None)} == {taking.client_order_id}
        cancelled = await exchange.cancel_order(resting.client_order_id, SYMBOL)
        assert cancelled.client_order_id == resting.client_order_id
    finally:
        await exchange.close()
