"""Orders as their events tell them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.orders import project


def test_the_last_event_of_an_order_tells_its_state() -> None:
    assert project(
        [
            (1, "order.submitting", {"client_order_id": "a", "filled": "0"}),
            (2, "order.submitting", {"client_order_id": "b", "filled": "0"}),
            (3, "trade", {"client_order_id": "a"}),
            (4, "order.filled", {"client_order_id": "a", "filled": "1"}),
        ]
    ) == [
        {"client_order_id": "a", "filled": "1", "state": "filled", "seq": 4},
        {"client_order_id": "b", "filled": "0", "state": "submitting", "seq": 2},
    ]


@given(st.lists(st.tuples(st.sampled_from(["order.open", "order.filled", "trade", "node.note"]), st.integers(0, 3))))
def test_there_are_as_many_orders_as_names_in_order_events(told: list[tuple[str, int]]) -> None:
    events = [(seq, kind, {"client_order_id": str(name)}) for seq, (kind, name) in enumerate(told, 1)]
    found = project(events)
    names = {str(name) for kind, name in told if kind.startswith("order.")}
    assert {order["client_order_id"] for order in found} == names
    assert len(found) == len(names)


def test_what_names_no_order_is_none() -> None:
    assert project([(1, "order.open", {}), (2, "order.open", {"client_order_id": ["a"]})]) == []
