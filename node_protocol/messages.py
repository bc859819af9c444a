"""The messages of the wire as frozen, strict values: enrolment, key rotation, sync, events, commands. Pure.

Decoding is strict: `parse` refuses unknown members, wrong types and every second spelling of a value, save inside
`status` and `data`. Amounts of money are decimal strings on the wire and `Decimal` here; times are aware UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import core_schema

from node_protocol import MAX_EVENTS, MAX_WAIT, PROTOCOL_VERSION, encoding, fingerprints, strict_json
from node_protocol.refusals import Code, Malformed, Refused, in_one_line

_MOST_ERRORS: Final = 10
_DECIMAL_PATTERN: Final = r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?"
_DECIMAL = re.compile(_DECIMAL_PATTERN, re.ASCII)
_IN_OUR_WORDS: Final = {
    "missing": "missing",
    "extra_forbidden": "no such member",
    "model_type": "not an object",
    "dict_type": "not an object",
    "tuple_type": "not an array",
    "string_type": "not a string",
    "string_pattern_mismatch": "not of the form that the protocol has for it",
    "too_long": f"more than {MAX_EVENTS}",
}
"""What pydantic says in words of Python, by its type of error."""
_NO_DECIMAL: Final = 'not a decimal string, such as "0.015"'
_MONEY: Final = ("amount", "filled", "price", "average_price", "stop_price", "fee", "equity")
"""Members of an event's `data` that are decimal strings, whatever the event."""
_SUMS: Final = ("balances", "positions")
"""Members of an event's `data` that hold such strings by name, however deep, and no JSON number."""


def parse_decimal(text: object) -> Decimal:
    """The number in a decimal string of plain notation, `-12.50`. Raises Malformed for JSON numbers and all else."""
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise Malformed(_NO_DECIMAL)
    return Decimal(text)


def format_decimal(number: Decimal) -> str:
    """The decimal string of a finite number, in plain notation, without zeros that say nothing."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _time_schema(_source: object, _handler: object) -> core_schema.CoreSchema:
    """A time as text of the one form, read by pydantic's own parser; or a datetime that is aware, from our own side."""
    text = core_schema.chain_schema(
        [
            core_schema.str_schema(pattern=encoding.TIME_PATTERN, strict=True),
            core_schema.datetime_schema(strict=False, microseconds_precision="truncate"),
        ]
    )
    aware = core_schema.datetime_schema(strict=True, tz_constraint="aware")
    return core_schema.custom_error_schema(
        core_schema.union_schema([text, aware], mode="left_to_right"),
        custom_error_type="time",
        custom_error_message="not an RFC 3339 time in UTC",
    )


def _event_data_schema(_source: object, _handler: object) -> core_schema.CoreSchema:
    """Any members, those of `_MONEY` as decimal strings: read by pydantic's core, for a sync has many events."""
    money = core_schema.custom_error_schema(
        core_schema.str_schema(pattern=f"^{_DECIMAL_PATTERN}$", strict=True),
        custom_error_type="decimal",
        custom_error_message=_NO_DECIMAL,
    )
    sums = core_schema.no_info_plain_validator_function(_without_numbers)
    fields = {
        **{name: core_schema.typed_dict_field(money, required=False) for name in _MONEY},
        **{name: core_schema.typed_dict_field(sums, required=False) for name in _SUMS},
    }
    return core_schema.typed_dict_schema(fields, extra_behavior="allow", strict=True)


def _without_numbers(value: object) -> object:
    """The value, when neither it nor anything in it is a JSON number."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, int | float) and not isinstance(each, bool):
            raise Malformed("a JSON number where a decimal string must be")
        waiting.extend(each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
    return value


def _decimal(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else parse_decimal(value)


def _public_key(value: object) -> bytes:
    return value if isinstance(value, bytes) else encoding.b64url_decode(_text(value), length=32)


def _salt(value: object) -> bytes:
    return (
        value if isinstance(value, bytes) else encoding.b64url_decode(_text(value), length=len(_text(value)) * 3 // 4)
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed("not a string")
    return value


def _not_null(value: object) -> object:
    if value is None:
        raise Malformed("leave it out rather than null")
    return value


def _those_of_the_digest(components: Components | None, others: ValidationInfo) -> Components | None:
    digest = others.data.get("digest")
    if components is not None and digest is not None and fingerprints.digest(components) != digest:
        raise Malformed("not those of the digest")
    return components


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _absent_is(default: object) -> BeforeValidator:
    """Lets `null` stand for a member that is absent."""
    return BeforeValidator(lambda value: default if value is None else value)


def _pattern(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=f"^{pattern}$")


Time = Annotated[datetime, GetPydanticSchema(_time_schema), PlainSerializer(encoding.format_time, when_used="json")]
Amount = Annotated[Decimal, BeforeValidator(_decimal), Field(gt=0), PlainSerializer(format_decimal, when_used="json")]
PublicKey = Annotated[
    bytes,
    BeforeValidator(_public_key),
    Field(min_length=32, max_length=32),
    PlainSerializer(encoding.b64url_encode, when_used="json"),
]
Salt = Annotated[
    bytes,
    BeforeValidator(_salt),
    Field(min_length=16, max_length=64),
    PlainSerializer(encoding.b64url_encode, when_used="json"),
]
Version = Annotated[int, Field(ge=PROTOCOL_VERSION, le=PROTOCOL_VERSION)]
NodeId = Annotated[str, _pattern("n_[a-z2-7]{20}")]
NodeKeyId = Annotated[str, _pattern(r"n_[a-z2-7]{20}\.[1-9][0-9]{0,8}")]
Ticket = Annotated[str, _pattern(r"(0|[1-9][0-9]{0,14})\.[A-Za-z0-9_-]{22}")]
Session = Annotated[str, _pattern("[A-Za-z0-9_-]{22}")]
SaltId = Annotated[str, _pattern("[A-Za-z0-9._-]{1,64}")]
EventId = Annotated[str, _pattern("ev_[A-Za-z0-9_-]{1,64}")]
CommandId = Annotated[str, _pattern("cmd_[A-Za-z0-9_-]{1,64}")]
TypeName = Annotated[str, _pattern(r"[a-z][a-z_]{0,31}(\.[a-z][a-z_]{0,31})?")]
Count = Annotated[int, Field(ge=1, le=10**15 - 1)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Component = Annotated[str, _pattern("[A-Za-z0-9_-]{22}")]
ComponentName = Annotated[str, _pattern("(" + "|".join(fingerprints.WEIGHTS) + ")")]
Components = dict[ComponentName, Component]
ClientOrderId = Annotated[str, _pattern("[A-Za-z0-9_-]{1,64}")]


class Message(BaseModel):
    """What all messages share: nothing unknown, nothing converted, nothing changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Agent(Message):
    """The program that speaks for a node."""

    version: Line
    platform: Line


class EnrollFingerprint(Message):
    """The fingerprint that becomes a new node's baseline."""

    salt_id: SaltId
    components: Components


class EnrollRequest(Message):
    """`POST /v1/enroll`, signed under the token's secret."""

    protocol: Version
    name: Line
    public_key: PublicKey
    agent: Agent
    replaces: NodeId | None
    fingerprint: EnrollFingerprint


class EnrollAnswer(Message):
    """The answer to an enrolment: from here on both sides can derive the node key."""

    protocol: Version
    node_id: NodeId
    key_id: NodeKeyId
    public_key: PublicKey
    ticket: Ticket
    server_time: Time

    @model_validator(mode="after")
    def _key_is_the_nodes(self) -> EnrollAnswer:
        if not self.key_id.startswith(f"{self.node_id}."):
            raise ValueError("key_id is another node's")
        return self


class SaltAnswer(Message):
    """`GET /v1/enroll/salt`: the deployment's fingerprint salt, unsigned, the same for every node."""

    salt_id: SaltId
    salt: Salt


class KeysRequest(Message):
    """`POST /v1/keys`: a rotation, under the current key."""

    protocol: Version
    ticket: Ticket
    public_key: PublicKey


class KeysAnswer(Message):
    """The answer to a rotation: the next version's name and the server's half."""

    protocol: Version
    key_id: NodeKeyId
    public_key: PublicKey
    server_time: Time


class Fingerprint(Message):
    """The fingerprint of a sync. `components` may be left out when the server has the digest."""

    salt_id: SaltId
    digest: Annotated[str, _pattern("[A-Za-z0-9_-]{43}")]
    components: Annotated[Components | None, BeforeValidator(_not_null), AfterValidator(_those_of_the_digest)] = None


class Event(Message):
    """One thing that happened on a node. `seq` counts from 1 without a gap."""

    seq: Count
    id: EventId
    at: Time
    type: TypeName
    data: Annotated[dict[str, Any], GetPydanticSchema(_event_data_schema)]


class SyncRequest(Message):
    """`POST /v1/sync`: what the node has to say."""

    protocol: Version
    session: Session
    request: Count
    ticket: Ticket
    fingerprint: Fingerprint
    status: dict[str, Any]
    events: Annotated[tuple[Event, ...], Field(strict=False, max_length=MAX_EVENTS)]
    done_commands: Annotated[tuple[CommandId, ...], Field(strict=False, max_length=MAX_EVENTS)]
    wait: Annotated[int, Field(ge=0, le=MAX_WAIT)]


class Command(Message):
    """What the operator asks of a node; the node's owner decides by policy whether it is done."""

    id: CommandId
    issued_at: Time
    expires_at: Time
    type: TypeName
    data: dict[str, Any]


class SyncAnswer(Message):
    """The answer to a sync: a new ticket, what is durably stored, what there is to do."""

    protocol: Version
    ticket: Ticket
    acked_through: Annotated[int, Field(ge=0, le=10**15 - 1)]
    server_time: Time
    commands: Annotated[tuple[Command, ...], Field(strict=False)]


class OrderPlace(Message):
    """Data of `order.place`. A limit order has a price, a stop order a stop price, a market order neither."""

    exchange: Line
    symbol: Line
    side: Literal["buy", "sell"]
    type: Literal["market", "limit", "stop"]
    amount: Amount
    price: Amount | None = None
    stop_price: Amount | None = None
    time_in_force: Annotated[Literal["gtc", "ioc"], BeforeValidator(_lower), _absent_is("gtc")] = "gtc"
    reduce_only: Annotated[bool, _absent_is(False)] = False

    @model_validator(mode="after")
    def _prices_fit_the_type(self) -> OrderPlace:
        for name, value, owner in (("price", self.price, "limit"), ("stop_price", self.stop_price, "stop")):
            if value is None and self.type == owner:
                raise ValueError(f"a {owner} order needs a {name}")
            if value is not None and self.type != owner:
                raise ValueError(f"a {self.type} order has no {name}")
        return self


class OrderCancel(Message):
    """Data of `order.cancel`."""

    client_order_id: ClientOrderId


class CancelAll(Message):
    """Data of `orders.cancel_all`: everything open, or only what is on that exchange and of that symbol."""

    exchange: Line | None = None
    symbol: Line | None = None


class TradingSwitch(Message):
    """Data of `trading.pause` and `trading.resume`."""

    reason: Line | None = None


class Nothing(Message):
    """Data of commands that say all by their type."""


CommandData = OrderPlace | OrderCancel | CancelAll | TradingSwitch | Nothing

COMMANDS: Final[Mapping[str, type[CommandData]]] = MappingProxyType(
    {
        "order.place": OrderPlace,
        "order.cancel": OrderCancel,
        "orders.cancel_all": CancelAll,
        "trading.pause": TradingSwitch,
        "trading.resume": TradingSwitch,
        "key.rotate": Nothing,
        "account.report": Nothing,
    }
)
"""Every type of command and the form of its data."""


class UnknownCommand(Malformed):
    """A command of a type that this version does not know."""


M = TypeVar("M", bound=Message)


def parse(model: type[M], body: bytes) -> M:
    """The message in `body`. Raises Refused (`invalid_payload`, with `errors` that say where), and nothing else."""
    try:
        return validate(model, strict_json.loads(body))
    except Malformed as error:
        raise Refused(
            Code.INVALID_PAYLOAD, "not_strict_json", extra={"errors": [{"at": "", "error": str(error)}]}
        ) from None


def validate(model: type[M], value: object) -> M:
    """The message in a decoded JSON value. Raises Refused as `parse` does."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Refused(Code.INVALID_PAYLOAD, f"not_a_{model.__name__}", extra={"errors": _errors(error)}) from None


def encode(message: Message) -> bytes:
    """The message as the JSON that goes over the wire; optional members that say nothing are left out."""
    return strict_json.dumps(message.model_dump(mode="json", exclude_defaults=True))


def parse_command_data(command_type: str, data: Mapping[str, Any]) -> CommandData:
    """The data of one command, strictly: an order with a member that we do not know is not the order that was meant.

    Raises UnknownCommand for a type that is not in COMMANDS, and Malformed for data that is not of its form.
    """
    model = COMMANDS.get(command_type)
    if model is None:
        raise UnknownCommand(f"no command is called {command_type}")
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise Malformed(in_one_line(_errors(error))) from None


def _errors(error: ValidationError) -> list[dict[str, str]]:
    """Where a message is wrong, and how; none of its values, for a log may be read by others than its sender."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        {
            "at": ".".join(str(part)[:64] for part in each["loc"]),
            "error": _IN_OUR_WORDS.get(each["type"]) or each["msg"].removeprefix("Value error, "),
        }
        for each in found[:_MOST_ERRORS]
    ]
