"""Fingerprints: what is compared, what it weighs, and what is left out."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_protocol.fingerprints import WEIGHTS, Similarity, compare, digest, is_junk, on_one_machine, salted

components = st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.sampled_from(["one", "two"]))


def test_weights_come_to_a_hundred() -> None:
    assert sum(WEIGHTS.values()) == 100


def test_a_component_is_the_contracts_keyed_hash() -> None:
    mac = hmac.new(b"salt", b"cpu\0model", hashlib.sha256).digest()
    assert salted(b"salt", "cpu", "model") == base64.urlsafe_b64encode(mac).decode()[:22]


def test_a_digest_is_over_sorted_lines() -> None:
    lines = b"boot=y\ncpu=x"
    wanted = base64.urlsafe_b64encode(hashlib.sha256(lines).digest()).rstrip(b"=").decode()
    assert digest({"cpu": "x", "boot": "y"}) == digest({"boot": "y", "cpu": "x"}) == wanted


@given(components, components)
def test_likeness_has_no_direction_and_counts_what_is_on_both_sides(one: dict[str, str], other: dict[str, str]) -> None:
    likeness = compare(one, other)
    assert likeness == compare(other, one)
    assert 0 <= likeness.equal <= likeness.present <= 100
    assert compare(one, one).equal == compare(one, one).present
    assert 0 <= likeness.score <= 1


@pytest.mark.parametrize(("equal", "present", "score"), [(75, 100, 0.75), (45, 100, 0.45), (0, 0, 0.0)])
def test_scores_at_the_bounds_are_exact(equal: int, present: int, score: float) -> None:
    assert Similarity(equal, present).score == score


def test_thirty_five_of_a_hundred_are_enough_for_a_verdict() -> None:
    assert Similarity(0, 35).sufficient
    assert not Similarity(0, 34).sufficient


@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "To be filled by O.E.M.",
        "03000200-0400-0500-0006-000700080009",
    ],
)
def test_what_makers_leave_in_place_of_a_serial_is_junk(value: str) -> None:
    assert is_junk(value)


def test_one_machine_is_known_by_its_id_or_its_running_kernel_and_not_by_its_model() -> None:
    assert on_one_machine({"machine_id": "x"}, {"machine_id": "x"})
    assert on_one_machine({"boot": "x", "machine_id": "1"}, {"boot": "x", "machine_id": "2"})
    assert not on_one_machine({"cpu": "x", "disk": "y"}, {"cpu": "x", "disk": "y"})
    assert not on_one_machine({}, {})
