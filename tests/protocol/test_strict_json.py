"""Strict JSON: one value, each name once, no depth to drown in, and nothing but Malformed for whatever bytes come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_protocol import strict_json
from node_protocol.refusals import Malformed

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
# Text of JSON's own characters comes near to JSON more often than any bytes do.
nearly = st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\u\n', max_size=60).map(str.encode)


@given(values)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert strict_json.loads(strict_json.dumps(value)) == value


@given(values, st.integers(0, 3))
def test_every_legal_spelling_is_read_alike(value: Any, indent: int) -> None:
    spelled = json.dumps(value, ensure_ascii=True, indent=indent, sort_keys=True).encode()
    assert strict_json.loads(spelled) == value


@settings(max_examples=2000)
@given(st.binary(max_size=60) | nearly)
def test_nothing_but_malformed_is_raised_and_json_agrees_with_what_is_taken(body: bytes) -> None:
    try:
        value = strict_json.loads(body)
    except Malformed:
        return
    assert json.loads(body.decode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'[{"a":1,"\\u0061":2}]',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"",
        b" ",
        b"{} {}",
        b"{}x",
        b"{'a':1}",
        b"[1,]",
        b"01",
        b"+1",
        b".5",
        b'"\x01"',
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"9" * 5000,
        b"[" * 33 + b"]" * 33,
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'"' + b"\\" * 9,
    ],
)
def test_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        strict_json.loads(body)


def test_thirty_two_levels_are_taken_and_brackets_in_strings_are_no_levels() -> None:
    assert strict_json.loads(b"[" * 32 + b"]" * 32)
    assert strict_json.loads(b'["' + b"[{" * 100 + b'\\""]')
    assert strict_json.loads(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        strict_json.dumps(float("nan"))
