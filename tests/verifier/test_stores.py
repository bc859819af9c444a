"""What every store promises: a nonce once, a state moved by one request at a time, memory that does not grow."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.nodes import NOW, Node, other_machine
from verifier import enrolled
from verifier.node_state import Machine, NodeState, Sighting, from_json, to_json
from verifier.stores import MemoryStore, SqlStore, Store


class Nonce(NamedTuple):
    """As much of a signature as a store asks for."""

    key_id: str
    nonce: str
    created: int


def test_a_nonce_is_spent_once_for_each_key(store: Store) -> None:
    one = Nonce("n_a.1", "x" * 22, NOW)
    assert store.admit(one, NOW).fresh
    assert not store.admit(one, NOW).fresh
    assert not store.admit(one._replace(created=NOW + 5), NOW).fresh
    assert store.admit(one._replace(key_id="n_b.1"), NOW).fresh


def test_a_nonce_is_kept_as_long_as_its_message_is_fresh(store: Store) -> None:
    ahead = Nonce("n_a.1", "x" * 22, NOW + 120)
    assert store.admit(ahead, NOW).fresh
    for second in range(0, 241, 20):
        store.admit(Nonce("n_a.1", f"{second:022}", NOW + second), NOW + second)
        assert not store.admit(ahead, NOW + second).fresh


def test_a_state_is_loaded_as_it_was_saved(store: Store) -> None:
    node = Node()
    assert store.load(node.node_id) is None
    state = enrolled(node.ticket, node.machine)
    store.save(node.node_id, state)
    assert store.load(node.node_id) == state
    suspended = state._replace(suspended_at=NOW)
    store.save(node.node_id, suspended)
    assert store.load(node.node_id) == suspended


def test_a_nonce_that_was_forgotten_is_not_taken_when_the_clock_goes_back() -> None:
    store = MemoryStore()
    nonce = Nonce("n_a.1", "x" * 22, NOW)
    assert store.admit(nonce, NOW).fresh
    store.admit(Nonce("n_a.1", "y" * 22, NOW + 1000), NOW + 1000)
    assert not store.admit(nonce, NOW).fresh


def test_memory_does_not_grow_past_the_window() -> None:
    store = MemoryStore()
    sizes = []
    for second in range(10 * 240):
        store.admit(Nonce("n_a.1", f"{second:022}", NOW + second), NOW + second)
        sizes.append(len(store))
    assert max(sizes[480:]) <= max(sizes[:480])
    assert max(sizes) <= 400


def test_the_database_does_not_grow_past_the_window(store: Store) -> None:
    if not isinstance(store, SqlStore):
        return
    for second in range(0, 2400, 10):
        store.admit(Nonce("n_a.1", f"{second:022}", NOW + second), NOW + second)
    with store._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM verifier_nonces").scalar_one()
    assert rows <= 22, "a message every ten seconds: a window, a minute for clocks apart, half a minute to the clean-up"


sightings = st.builds(
    Sighting,
    session=st.text(max_size=5),
    request=st.integers(1, 99),
    ticket=st.text(max_size=5),
    digest=st.text(max_size=5),
    peer=st.none() | st.text(max_size=5),
    at=st.integers(0, 99),
)
machines = st.builds(Machine, st.text(max_size=5), st.dictionaries(st.text(max_size=3), st.text(max_size=3)))


@given(
    st.builds(
        NodeState,
        issued=st.text(max_size=5),
        baseline=machines,
        shown=st.none() | st.text(max_size=5),
        last=st.none() | sightings,
        seen=st.none() | machines,
        drifting=st.integers(0, 5),
        superseded_at=st.lists(st.integers(0, 99), max_size=3).map(tuple),
        suspended_at=st.none() | st.integers(0, 99),
    )
)
def test_a_state_goes_through_json_unchanged(state: NodeState) -> None:
    assert from_json(to_json(state)) == state


def test_who_wants_sql_and_has_no_sqlalchemy_is_told_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import verifier, verifier.stores\n"
        "try: verifier.stores.SqlStore\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ, timeout=60
    )
    assert done.stdout.strip() == "SqlStore needs SQLAlchemy: pip install 'trading-node[sql]'"
    with pytest.raises(AttributeError):
        _ = __import__("verifier.stores").stores.NoSuchStore
    assert other_machine() != other_machine("cpu")
