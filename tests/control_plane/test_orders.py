"""Orders as their events tell them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control_plane.orders import NOT_CARRIED_OUT, Ending, endings, project


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


def test_a_command_that_was_not_carried_out_ends_with_its_rule_and_with_the_detail_of_its_order() -> None:
    assert endings(
        [
            (1, "intent.refused", {"command_id": "a", "rule": "max_order_notional", "detail": "too much"}),
            (2, "command.refused", {"command_id": "a", "rule": "max_order_notional"}),
            (3, "command.refused", {"command_id": "b", "rule": "malformed", "detail": "amount: missing"}),
            (4, "command.expired", {"command_id": "c", "rule": "expired"}),
            (5, "intent.refused", {"command_id": "d", "rule": "paused", "detail": "of another rule"}),
            (6, "command.refused", {"command_id": "d", "rule": "cancelled"}),
            (7, "node.note", {"command_id": "e", "text": "carried out: orders.cancel_all"}),
            (8, "intent.refused", {"strategy": "s", "rule": "paused"}),
        ]
    ) == {
        "a": Ending("refused", "max_order_notional", "too much"),
        "b": Ending("refused", "malformed", "amount: missing"),
        "c": Ending("expired", "expired", None),
        "d": Ending("refused", "cancelled", None),
    }


_ANYTHING = st.none() | st.integers() | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*NOT_CARRIED_OUT, "order.open"]),
            st.dictionaries(st.sampled_from(["command_id", "rule", "detail"]), _ANYTHING),
        )
    )
)
def test_an_ending_is_text_whatever_a_node_says(told: list[tuple[str, dict[str, Any]]]) -> None:
    for command_id, ending in endings((seq, kind, data) for seq, (kind, data) in enumerate(told, 1)).items():
        assert isinstance(command_id, str)
        assert ending.state in NOT_CARRIED_OUT.values()
        assert {type(ending.rule), type(ending.detail)} <= {str, type(None)}
