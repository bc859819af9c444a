"""Rounding never makes an order larger, nor its price worse than was asked."""

from __future__ import annotations

from decimal import Decimal as D
from decimal import localcontext

from hypothesis import given
from hypothesis import strategies as st

from node_agent.core.amounts import rounded
from node_agent.core.market import Market, OrderRequest, OrderType, Side

amounts = st.one_of(
    st.decimals(min_value="0.00000001", max_value="1000000", places=8),
    st.decimals(min_value=0, max_value=10, places=30).filter(bool),
    st.just(D("0.014999999999999999999999999999")),
)
steps = st.sampled_from([D(1), D("0.5"), D("0.25"), D("0.01"), D("0.00001"), D("0.003"), D(25)])


@given(amount=amounts, price=amounts, side=st.sampled_from(Side), tick=steps, step=steps, stop=st.booleans())
def test_rounding_is_in_the_owners_favour(amount: D, price: D, side: Side, tick: D, step: D, stop: bool) -> None:
    asked = OrderRequest(
        "0" * 32,
        "BTC/USD",
        side,
        OrderType.STOP if stop else OrderType.LIMIT,
        amount,
        price=None if stop else price,
        stop_price=price if stop else None,
    )
    got = rounded(asked, Market("BTC/USD", "BTC", "USD", tick, step, D(0)))
    with localcontext(prec=200):
        _is_in_favour(asked, got, tick, step)


def _is_in_favour(asked: OrderRequest, got: OrderRequest, tick: D, step: D) -> None:
    price = asked.price or asked.stop_price
    level = got.price if got.stop_price is None else got.stop_price
    assert level is not None
    assert price is not None
    assert got.amount <= asked.amount
    assert asked.amount - got.amount < step
    assert got.amount % step == 0
    assert level % tick == 0
    assert abs(level - price) < tick
    assert level <= price if asked.side is Side.BUY else level >= price


def test_a_market_order_has_no_price_to_round() -> None:
    asked = OrderRequest("0" * 32, "BTC/USD", Side.BUY, OrderType.MARKET, D("1.5"))
    got = rounded(asked, Market("BTC/USD", "BTC", "USD", D(1), D(1), D(0)))
    assert (got.amount, got.price, got.stop_price) == (D(1), None, None)
