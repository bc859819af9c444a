"""Messages: what is encoded parses to the same; what is not as the contract says is refused where it is wrong."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_protocol import encoding, fingerprints, messages
from node_protocol.messages import (
    COMMANDS,
    EnrollRequest,
    OrderPlace,
    SyncRequest,
    UnknownCommand,
    encode,
    format_decimal,
    parse,
    parse_command_data,
    parse_decimal,
)
from node_protocol.refusals import Code, Malformed, Refused

COMPONENTS = {"machine_id": "a" * 22, "cpu": "b" * 22}
SYNC: dict[str, Any] = {
    "protocol": 1,
    "session": "s" * 22,
    "request": 17,
    "ticket": "41." + "t" * 22,
    "fingerprint": {"salt_id": "s1", "digest": fingerprints.digest(COMPONENTS), "components": COMPONENTS},
    "status": {"mode": "paper", "deep": {"free": [1, None, 0.5]}},
    "events": [
        {
            "seq": 1042,
            "id": "ev_1",
            "at": "2026-11-24T09:00:00.000Z",
            "type": "order.filled",
            "data": {"amount": "0.01", "unknown": True},
        }
    ],
    "done_commands": ["cmd_1"],
    "wait": 20,
}
ENROLL: dict[str, Any] = {
    "protocol": 1,
    "name": "attic-pi",
    "public_key": encoding.b64url_encode(bytes(32)),
    "agent": {"version": "0.1.0", "platform": "linux/amd64"},
    "replaces": None,
    "fingerprint": {"salt_id": "s1", "components": COMPONENTS},
}


def errors_of(model: type[messages.Message], value: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        parse(model, json.dumps(value).encode())
    assert refused.value.code is Code.INVALID_PAYLOAD
    return [each["at"] for each in refused.value.extra["errors"]]


def with_value(path: str, value: Any) -> dict[str, Any]:
    message = copy.deepcopy(SYNC)
    *way, last = path.split(".")
    place: Any = message
    for part in way:
        place = place[int(part) if part.isdigit() else part]
    place[int(last) if last.isdigit() else last] = value
    return message


@pytest.mark.parametrize(("model", "value"), [(SyncRequest, SYNC), (EnrollRequest, ENROLL)])
def test_a_message_is_encoded_as_it_was_parsed(model: type[messages.Message], value: dict[str, Any]) -> None:
    assert json.loads(encode(parse(model, json.dumps(value).encode()))) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("protocol", 2),
        ("protocol", True),
        ("protocol", 1.0),
        ("protocol", "1"),
        ("session", "short"),
        ("session", "s" * 23),
        ("request", 0),
        ("request", "17"),
        ("request", 17.0),
        ("request", True),
        ("ticket", "41"),
        ("ticket", "041." + "t" * 22),
        ("ticket", "41." + "t" * 21 + "+"),
        ("status", []),
        ("status", None),
        ("wait", 26),
        ("wait", -1),
        ("wait", 0.5),
        ("events", {}),
        ("events.0.seq", 0),
        ("events.0.id", "1"),
        ("events.0.at", "2026-11-24 09:00:00Z"),
        ("events.0.at", "2026-11-24T09:00:00"),
        ("events.0.at", "2026-11-24T09:00:00+01:00"),
        ("events.0.at", "2026-02-30T09:00:00Z"),
        ("events.0.at", 1700000000),
        ("events.0.type", "Order Filled"),
        ("events.0.data", {"amount": 0.01}),
        ("events.0.data", {"price": 40000}),
        ("events.0.data", {"fee": "1e3"}),
        ("events.0.data", {"equity": None}),
        ("events.0.data", {"balances": {"USD": 1.5}}),
        ("events.0.data", {"balances": [{"currency": "USD", "free": {"now": 0}}]}),
        ("events.0.data", {"positions": {"BTC/USD": 1}}),
        ("events.0.unknown", 1),
        ("done_commands", ["1"]),
        ("unknown", 1),
        ("fingerprint.unknown", 1),
        ("fingerprint.components", None),
        ("fingerprint.components.serial", "c" * 22),
        ("fingerprint.components.cpu", ""),
        ("fingerprint.components.disk", "c" * 22),
    ],
)
def test_a_sync_that_is_not_of_the_form_is_refused_where_it_is_wrong(path: str, value: Any) -> None:
    (at, *_) = errors_of(SyncRequest, with_value(path, value))
    assert at.split(".")[0] == path.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("member", sorted(SYNC))
def test_no_member_of_a_sync_may_be_left_out(member: str) -> None:
    assert errors_of(SyncRequest, {name: value for name, value in SYNC.items() if name != member}) == [member]


def test_components_may_be_left_out() -> None:
    fingerprint = {name: value for name, value in SYNC["fingerprint"].items() if name != "components"}
    message = parse(SyncRequest, json.dumps(SYNC | {"fingerprint": fingerprint}).encode())
    assert message.fingerprint.components is None


def test_five_hundred_events_are_taken_and_one_more_is_not() -> None:
    event = SYNC["events"][0]
    assert len(parse(SyncRequest, json.dumps(with_value("events", [event] * 500)).encode()).events) == 500
    assert errors_of(SyncRequest, with_value("events", [event] * 501)) == ["events"]


def test_what_is_wrong_is_said_without_what_was_sent() -> None:
    with pytest.raises(Refused) as refused:
        parse(SyncRequest, json.dumps(with_value("ticket", "canary-value")).encode())
    assert "canary" not in json.dumps(refused.value.problem())


@given(st.binary(max_size=100))
def test_whatever_bytes_come_are_a_message_or_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        parse(SyncRequest, body)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=12))
def test_a_decimal_is_read_as_it_was_written(number: Decimal) -> None:
    assert parse_decimal(format_decimal(number)) == number


@pytest.mark.parametrize(
    "text", ["", "1e5", "+1", ".5", "1.", "01", "NaN", "Infinity", "1_0", " 1", "\u0661", 1, 1.0, None]
)
def test_no_other_spelling_is_a_decimal(text: object) -> None:
    with pytest.raises(Malformed):
        parse_decimal(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_read_as_it_was_written(moment: datetime) -> None:
    rounded = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert encoding.parse_time(encoding.format_time(rounded)) == rounded


@given(st.text(max_size=40))
def test_no_other_text_is_a_time(text: str) -> None:
    with pytest.raises(Malformed):
        encoding.parse_time(text)


@pytest.mark.parametrize("text", ["AA==", "AB", "A", "AAA", "A+", "A/", "Ä"])
def test_one_byte_has_one_base64url(text: str) -> None:
    with pytest.raises(Malformed):
        encoding.b64url_decode(text, length=1)


ORDER = {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "limit", "amount": "0.01", "price": "40000"}


def test_an_order_command_is_read_in_decimals() -> None:
    data = parse_command_data("order.place", ORDER)
    assert isinstance(data, OrderPlace)
    assert (data.amount, data.price, data.time_in_force) == (Decimal("0.01"), Decimal(40000), "gtc")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0.01},
        {"amount": "0"},
        {"amount": "-1"},
        {"amount": "1e3"},
        {"side": "short"},
        {"type": "iceberg"},
        {"price": None},
        {"type": "market"},
        {"type": "stop"},
        {"stop_price": "1"},
        {"post_only": True},
        {"reduce_only": "yes"},
        {"time_in_force": "fok"},
        {"symbol": ""},
    ],
)
def test_an_order_that_may_mean_something_else_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse_command_data("order.place", ORDER | changes)


def test_a_command_that_is_not_known_is_told_from_one_that_is_malformed() -> None:
    with pytest.raises(UnknownCommand):
        parse_command_data("account.withdraw", {})
    with pytest.raises(Malformed):
        parse_command_data("order.cancel", {})
    assert set(COMMANDS) >= {"order.place", "order.cancel", "orders.cancel_all", "trading.pause", "key.rotate"}
