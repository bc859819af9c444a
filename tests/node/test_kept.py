"""Collections of the state behave as plain ones would, and what was made before never changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from node_agent.core.kept import Orders, Seen
from node_agent.core.market import OrderType, Side, TimeInForce
from node_agent.core.orders import Order, OrderState
from tests.node.values import START

PLAIN = Order(
    client_order_id="",
    exchange="paper",
    symbol="BTC/USD",
    side=Side.BUY,
    type=OrderType.MARKET,
    amount=D(1),
    price=None,
    stop_price=None,
    time_in_force=TimeInForce.GTC,
    reduce_only=False,
    decided_at=START,
    placed_at=START,
    wanted_until=START + timedelta(minutes=1),
)
orders = st.builds(
    lambda name, state: replace(PLAIN, client_order_id=name, state=state),
    st.sampled_from("abcdef"),
    st.sampled_from([OrderState.OPEN, OrderState.FILLED]),
)


@given(st.lists(orders, max_size=20))
def test_orders_are_what_a_dict_of_them_would_be(put: list[Order]) -> None:
    plain: dict[str, Order] = {}
    kept, before = Orders(), []
    for order in put:
        if order.client_order_id in plain and plain[order.client_order_id].ended:
            continue  # what has ended stays so
        plain[order.client_order_id] = order
        kept = kept.put(order)
        before.append((kept, dict(plain)))
    assert all(dict(made) == then for made, then in before)
    assert kept.live == [order for order in plain.values() if not order.ended]
    assert len(kept) == len(plain)
    assert dict(Orders.of(plain.values())) == plain


def test_only_the_latest_that_ended_are_kept_and_all_that_are_open() -> None:
    kept = Orders()
    for number in range(12):
        state = OrderState.OPEN if number < 2 else OrderState.FILLED
        kept = kept.put(replace(PLAIN, client_order_id=str(number), state=state))
    assert kept.latest(5, slack=6) is kept
    assert list(kept.latest(5, slack=5)) == ["7", "8", "9", "10", "11", "0", "1"]


@given(st.lists(st.text(max_size=2), max_size=200))
def test_ids_that_were_seen_stay_seen(names: list[str]) -> None:
    seen, first = Seen(), Seen()
    for name in names:
        seen = seen.and_(name)
    assert all(name in seen for name in names)
    assert "never" not in seen
    assert all(name not in first for name in names)
