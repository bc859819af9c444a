"""A seeded fuzzer of everything that reads the wire: `python -m tests.adversarial.fuzz --seconds N --seed S`.

    request    a good request, bent once or more: only `Refused`, and never accepted with a covered part changed
    body       a hostile body, signed well: refused or accepted as `strict_json` and a parser written plainly say
    response   a good answer, bent: as for requests
    parse      texts and values out of nowhere, into each parser: only the error that its documentation names

The hostile list is the corpus of the first two. Each execution has its own seed, which a finding names:
`--seed S --at N` runs that one again. Ends with 1 at a finding.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from pydantic import BaseModel

from node_protocol import MAX_BODY, encoding, handshake, messages, refusals, strict_json
from node_protocol.refusals import Code, Malformed, parse_problem
from node_protocol.signatures import (
    TAG_ENROLL,
    nonce_from,
    normal_authority,
    parse_request,
    parse_response,
    sign_response,
    signature_of,
    verify_response,
)
from tests.adversarial.hostile import CASES, bent, body_of, event
from tests.protocol.signed import Request
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import Refused, SignedRequest, Verifier
from verifier.stores import MemoryStore

ODD: Final = (
    *(
        '"',
        "'",
        "\\",
        ";",
        ",",
        ":",
        "=",
        "(",
        ")",
        " ",
        "\t",
        "\n",
        "\r",
        "\0",
        "%",
        "?",
        "#",
        "/",
        "//",
        "..",
        "+",
        "-",
    ),
    *(
        "_",
        "é",
        "²",
        "\u2028",
        "\ud800",
        "\U0001f600",
        "A",
        "z",
        "0",
        "9",
        "==",
        "node=",
        "sig1=",
        '";x="',
        "\x7f",
        "\xa0",
    ),
)
"""What is put into texts."""
VALUES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        26,
        501,
        2**53,
        2**63,
        2**64,
        -(2**63) - 1,
        10**15,
        10**400,
        0.0,
        -0.0,
        1.0,
        1e308,
        0.1,
    ),
    *("", " ", "0", "x" * 300, "\0", "é", "\u2028", "\U0001f600", "1e5", "-0", "00", "1.", ".5", "+1", "0x1", "NaN"),
    *([], {}, [None], [[]], {"": {}}, {"x": 1}, [1, "2"], ["cmd_x"] * 2, [{}], {"data": {}}),
)
"""What is put in the place of values."""
RAW: Final = (
    *(
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\0",
        b" ",
        b"\n",
        b"\x0c",
        b",",
        b"}",
        b"]",
        b"{",
        b"[",
        b'"',
    ),
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"01",
        b"1.",
        b"\\ud800",
        b"\\u0000",
        b"\\udc00\\ud800",
        b"//x\n",
    ),
    *(
        b"1" * 5000,
        b"[" * 33 + b"]" * 33,
        b"[" * 10_000,
        b'{"x":' * 40,
        b"'",
        b"null",
        b"true",
        b"\\",
        b"\\u00",
        b"1E400",
    ),
)
"""What is put into bytes."""


SPELLED: Final = (
    *(
        "NaN",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e5",
        "-0",
        "-0.0",
        "1E+2",
        "01",
        "1.",
        ".5",
        "+1",
        "0x1",
        "1_0",
        "1" * 4301,
    ),
    *(
        "9" * 400,
        "123456789012345678901234567890",
        "0.1000000000000000055",
        "1e-400",
        "4.9e-324",
        "1.7976931348623159e308",
    ),
    *(
        r'"\ud800"',
        r'"\udc00\ud800"',
        r'"\ud83d\ude00"',
        r'"\u0000"',
        r'"\u0061"',
        r'"\/"',
        r'"\x41"',
        r'"\u00e"',
        '"\t"',
    ),
    *(
        '"\x7f"',
        '"\u2028"',
        "'x'",
        "nul",
        "True",
        "undefined",
        "[1,]",
        "[,1]",
        '{"a":1,}',
        '{"a":1,"a":1}',
        "{1:2}",
        "/**/1",
    ),
    *(
        '{"a":{"b":1,"c":2,"b":3}}',
        '[{"a":1,"\\u0061":2}]',
        '{"":1,"":1}',
        "[1 2]",
        '{"a" 1}',
        '{"a":1;}',
        "\xa01",
        "\x0b1",
    ),
)
"""What is written where JSON has a value."""


class Finding(Exception):
    """What must not be."""


@dataclass
class Tally:
    """What came of the executions."""

    outcomes: Counter[str]
    executions: int = 0


def a_request(random: Random) -> str:
    """A good request, bent."""
    node = Node()
    good = _as_request(node.signed(nonce=_nonce(random)))
    request = good
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        request = _bend(request, good, random)
    store = MemoryStore()
    node.enrol(store)
    judge = Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
    sent = SignedRequest(request.method, request.path, request.headers, request.body)
    try:
        judge.verify(sent)
    except Refused as refused:
        _see(refused.code in (Code.UNAUTHENTICATED, Code.TOO_LARGE), f"refused as {refused}", sent)
        _see(refused.sender is None and not refused.signed, "signed for nobody", sent)
        _see(len(store) == 0, "a nonce was spent", sent)
        return f"{refused.code}: {refused.reason}"
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}\n{sent!r}") from error
    _see(_covered(request) == _covered(good), "accepted, and not what was signed", sent)
    return "accepted"


def a_body(random: Random) -> str:
    """A hostile body, well signed."""
    node = Node()
    message = node.message()
    body = _listed_body(message, random) if random.random() < 0.1 else _hostile_body(message, random)
    request = node.signed(body, nonce=_nonce(random))
    store = MemoryStore()
    node.enrol(store)
    judge = Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
    strict = _outcome(strict_json.loads, Malformed, body)
    plain = _outcome(plainly, Malformed, body)
    _see(type(strict) is type(plain) and repr(strict) == repr(plain), f"strict_json differs: {strict!r:.300}", body)
    parsed = _outcome(lambda bytes_: messages.parse(messages.SyncRequest, bytes_), refusals.Refused, body)
    try:
        verified = judge.verify(request)
    except Refused as refused:
        if len(body) > MAX_BODY:
            _see(refused.code is Code.TOO_LARGE, f"refused as {refused}", len(body))
            return str(refused.code)
        _see(refused.signed, f"not signed: {refused}", body)
        _see(len(store) == 1, "the nonce was not spent", body)
        if strict is _FAILED:
            _see(refused.reason == "not_strict_json", f"refused as {refused}", body)
        elif parsed is _FAILED:
            _see(refused.reason == "not_a_SyncRequest", f"refused as {refused}", body)
        strict_json.loads(strict_json.dumps(judge.refuse(refused).body.decode()))
        return f"{refused.code}: {refused.reason}"
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}\n{body!r}") from error
    _see(parsed is not _FAILED, "accepted, and `parse` refuses it", body)
    _see(repr(verified.body) == repr(strict), "accepted as another value", body)
    messages.encode(verified.message)
    return "accepted"


def a_response(random: Random) -> str:
    """A good answer, bent."""
    node = Node()
    asked = _as_request(node.signed(nonce=_nonce(random)))
    status = random.choice((200, 201, 401, 409, 503))
    body = b'{"code":"x"}' if random.getrandbits(1) else b"{}"
    headers = sign_response(
        node.secret,
        key_id=node.key_id,
        status=status,
        body=body,
        request_signature=asked.mac,
        created=NOW,
        nonce=_nonce(random),
    )
    good = Request(headers=(("host", AUTHORITY), *headers), body=body)
    answer = good
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        answer = _bend(answer, good, random, asked)
    got = random.choice((status, status, status, 200, 201, 204, 401, 0, 99, 999, -1))
    lines = [(name, value) for name, value in answer.headers if name != "host"]
    mac = asked.mac if random.random() < 0.95 else random.randbytes(32)
    try:
        verify_response(
            node.secret, key_id=node.key_id, status=got, headers=lines, body=answer.body, request_signature=mac
        )
    except refusals.Refused as refused:
        _see(refused.code is Code.UNAUTHENTICATED, f"refused as {refused}", answer)
        return f"{refused.code}: {refused.reason}"
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}\n{got} {answer!r}") from error
    same = _covered(answer)[3:] == _covered(good)[3:] and got == status and mac == asked.mac
    _see(same, "accepted, and not what was signed", (got, answer))
    return "accepted"


def a_parse(random: Random) -> str:
    """Something out of nowhere, into one of the parsers."""
    name, (parse, error_) = random.choice(tuple(PARSERS.items()))
    given = parse(random)
    try:
        given()
    except error_ as error:
        return f"{name}: {type(error).__name__}"
    except Exception as error:
        raise Finding(f"{name}: {type(error).__name__}: {error}") from error
    return f"{name}: parsed"


def _texts(parser: Callable[[str], object], *seeds: str) -> Callable[[Random], Callable[[], object]]:
    def made(random: Random) -> Callable[[], object]:
        text = random.choice((*seeds, ""))
        for _ in range(random.choice((0, 1, 1, 2, 5))):
            text = _edited(text, random)
        return _Call(parser, text)

    return made


@dataclass
class _Call:
    """A call that can tell what it was called with."""

    parser: Callable[[Any], object]
    given: Any

    def __call__(self) -> object:
        try:
            return self.parser(self.given)
        except (Malformed, refusals.Refused):
            raise
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error} from {self.given!r:.3000}") from error


def _message_bytes(random: Random) -> Callable[[], object]:
    kind = random.choice(MODELS)
    body = _hostile_body(_good_of(kind), random)
    return _Call(lambda given: messages.parse(kind, given), body)


def _problem(random: Random) -> Callable[[], object]:
    value = {"code": "stale", "detail": "x", "status": 401}
    return _Call(parse_problem, _bent_value(value, random) if random.random() < 0.8 else random.choice(VALUES))


def _command(random: Random) -> Callable[[], object]:
    order = {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "limit", "amount": "1", "price": "2"}
    kind, data = random.choice((*messages.COMMANDS, "no.such")), _bent_value(order, random)
    return _Call(lambda given: messages.parse_command_data(*given), (kind, data if isinstance(data, dict) else {}))


def _head(random: Random) -> Callable[[], object]:
    lines = []
    for _ in range(random.randrange(8)):
        name = random.choice(("Host", "signature", "Signature-Input", "content-digest", "content-type", "x", ""))
        lines.append(
            (name, _edited(random.choice(('node=("@method");created=1', AUTHORITY, "application/json")), random))
        )
    path = _edited("/v1/sync", random)
    return _Call(
        lambda given: parse_request(method="POST", path=given[0], headers=given[1], authorities=[AUTHORITY]),
        (path, lines),
    )


def _answer_head(random: Random) -> Callable[[], object]:
    lines = [(_edited("signature", random), _edited("node=:AAAA:", random)) for _ in range(random.randrange(5))]
    status, mac = random.randrange(-1, 1000), random.randbytes(random.choice((0, 31, 32)))
    return _Call(lambda given: parse_response(status=status, headers=given, request_signature=mac), lines)


def _lines(random: Random) -> Callable[[], object]:
    good = _as_request(Node().signed(nonce=_nonce(random)))
    return _Call(signature_of, _bend(good, good, random).headers)


PARSERS: Final[Mapping[str, tuple[Callable[[Random], Callable[[], object]], type[Exception]]]] = {
    "messages.parse": (_message_bytes, refusals.Refused),
    "parse_problem": (_problem, Malformed),
    "parse_command_data": (_command, Malformed),
    "parse_request": (_head, refusals.Refused),
    "parse_response": (_answer_head, refusals.Refused),
    "signature_of": (_lines, refusals.Refused),
    "parse_token": (_texts(handshake.parse_token, f"nt_{'a' * 16}_{'A' * 43}"), Malformed),
    "parse_key_id": (_texts(handshake.parse_key_id, f"n_{'a' * 20}.1"), Malformed),
    "parse_enroll_key_id": (_texts(handshake.parse_enroll_key_id, f"enroll.{'a' * 16}"), Malformed),
    "parse_time": (_texts(encoding.parse_time, "2026-11-24T09:00:00.000Z", "2024-02-30T23:59:59Z"), Malformed),
    "parse_decimal": (_texts(messages.parse_decimal, "-12.50", "0.015"), Malformed),
    "b64url_decode": (_texts(lambda text: encoding.b64url_decode(text, length=16), "A" * 22), Malformed),
}
TARGETS: Final[Mapping[str, Callable[[Random], str]]] = {
    "request": a_request,
    "body": a_body,
    "response": a_response,
    "parse": a_parse,
}
MODELS: Final[tuple[type[messages.Message], ...]] = (
    messages.SyncRequest,
    messages.SyncAnswer,
    messages.EnrollRequest,
    messages.EnrollAnswer,
    messages.SaltAnswer,
    messages.KeysRequest,
    messages.KeysAnswer,
)


def plainly(body: bytes) -> Any:
    """Strict JSON by the standard library alone, as slowly as you like: the second opinion. Raises Malformed."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise Malformed("a name twice")
        return dict(pairs)

    def no(text: str) -> Any:
        raise Malformed(text)

    def finite(text: str) -> float:
        if not math.isfinite(float(text)):
            raise Malformed(text)
        return float(text)

    try:
        text = body.decode("utf-8", "strict")
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no, parse_float=finite)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None
    if text.startswith("\ufeff") or _depth(value) > 32:
        raise Malformed("deep")
    return value


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


_FAILED: Final = Malformed("the one stand-in for what was refused")


def _outcome(parse: Callable[[bytes], Any], error: type[Exception], body: bytes) -> Any:
    try:
        return parse(body)
    except error:
        return _FAILED
    except Exception as other:
        raise Finding(f"{type(other).__name__}: {other}\n{body!r:.3000}") from other


def _see(good: bool, what: str, given: object) -> None:
    if not good:
        raise Finding(f"{what}\n{given!r:.5000}")


def _nonce(random: Random) -> str:
    return nonce_from(random.randbytes(16))


def _as_request(request: SignedRequest) -> Request:
    return Request(request.method, request.path, tuple(request.headers), request.body)


def _covered(request: Request) -> tuple[object, ...]:
    """What a signature is over, and the signature; a name's capitals are nobody's matter."""
    wanted = ("content-type", "content-digest", "signature-input", "signature", "content-encoding")
    lines = [(name.lower(), value) for name, value in request.headers]
    hosts = [normal_authority(value, "https") for name, value in lines if name == "host"]
    return request.method, request.path, hosts, request.body, sorted(line for line in lines if line[0] in wanted)


def _bend(request: Request, good: Request, random: Random, other: Request | None = None) -> Request:
    """One change more."""
    kind = random.randrange(9)
    headers = list(request.headers)
    at = random.randrange(len(headers)) if headers else 0
    if kind == 0 and other is None:
        return _from_list(request, random)
    if kind == 1:
        return request._replace(body=_edited_bytes(request.body, random))
    if kind == 2:
        return request._replace(path=_edited(request.path, random))
    if kind == 3:
        return request._replace(method=random.choice((_edited(request.method, random), "GET", "PUT", "post", "")))
    if not headers:
        return good
    name, value = headers[at]
    if kind == 4:
        headers[at] = (name, _edited(value, random))
    elif kind == 5:
        headers.insert(random.randrange(len(headers) + 1), (random.choice((name, name.title())), value))
    elif kind == 6:
        headers.pop(at)
    elif kind == 7:
        headers[at] = (random.choice((name.upper(), name + " ", _edited(name, random))), value)
        random.shuffle(headers)
    else:
        source = (other or _as_request(Node().signed(b"{}", nonce=_nonce(random), tag=TAG_ENROLL))).headers
        headers = [random.choice(source) if line[0] == name else line for line in headers]
    return request._replace(headers=tuple(headers))


_ON_THE_WAY: Final = [case for case in CASES if not {"body", "signed", "before", "again", "as_sent"} & set(case)]


def _from_list(request: Request, random: Random) -> Request:
    """A case of the hostile list; one that a request bent before does not fit leaves it as it is."""
    try:
        return bent(request, random.choice(_ON_THE_WAY))
    except (AssertionError, IndexError, StopIteration, ValueError):
        return request


def _edited(text: str, random: Random) -> str:
    at = random.randrange(len(text) + 1)
    end = min(len(text), at + random.choice((1, 1, 2, 8)))
    kind = random.randrange(7)
    if kind == 6 and at < end:
        return text[:at] + chr(ord(text[at]) ^ 1 << random.randrange(7)) + text[at + 1 :]
    if kind == 0:
        return text[:at] + random.choice(ODD) + text[at:]
    if kind == 1:
        return text[:at] + text[end:]
    if kind == 2:
        return text[:at] + text[at:end] * 2 + text[end:]
    if kind == 3:
        return text[:at] + random.choice(ODD) + text[end:]
    if kind == 4:
        return text[:at] + text[at:end].swapcase() + text[end:]
    return text + random.choice(ODD) * random.choice((1, 1, 3, 70_000 if random.random() < 0.01 else 2))


def _edited_bytes(body: bytes, random: Random) -> bytes:
    at = random.randrange(len(body) + 1)
    end = min(len(body), at + random.choice((1, 1, 2, 8, 64)))
    kind = random.randrange(5)
    if kind == 0 and body[at:end]:
        return body[:at] + bytes([body[at] ^ 1 << random.randrange(8)]) + body[at + 1 :]
    if kind == 1:
        return body[:at] + body[end:]
    if kind == 2:
        return body[:at] + body[at:end] * 2 + body[end:]
    return body[:at] + random.choice(RAW) + body[at if kind == 3 else end :]


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield before
    if isinstance(value, dict | list):
        for step in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[step], (*before, step))


def _bent_value(value: Any, random: Random) -> Any:
    """The value with one member changed, added or taken away."""
    value = json.loads(json.dumps(value))
    *way, last = random.choice(list(_places(value))[1:] or [(None,)])
    if last is None:
        return random.choice(VALUES)
    place = value
    for step in way:
        place = place[step]
    kind = random.randrange(5)
    if kind == 0:
        del place[last]
    elif kind == 1 and isinstance(place, dict):
        place[random.choice(("x", "", "amount", "price", "balances", _edited(str(last), random)))] = random.choice(
            VALUES
        )
    elif kind == 2 and isinstance(place[last], str):
        place[last] = _edited(place[last], random)
    else:
        place[last] = random.choice(VALUES)
    return value


def _hostile_body(message: Mapping[str, Any], random: Random) -> bytes:
    value: Any = dict(message)
    if "events" in value and random.getrandbits(1):
        value["events"] = [event(seq + 1) for seq in range(random.choice((1, 2, 3)))]
        value["events"][0]["data"] = {"amount": "1.5", "balances": {"BTC": ["1", {"x": "2"}]}, "n": 1.5}
    for _ in range(random.choice((0, 1, 1, 2))):
        value = _bent_value(value, random)
    body = _spelled(value, random).encode("utf-8", "surrogatepass")
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        body = _edited_bytes(body, random)
    if random.random() < 0.02:
        body = body.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))
    return body.ljust(MAX_BODY + random.choice((0, 1))) if random.random() < 0.001 else body


_BODIES: Final = [case["body"] for case in CASES if "body" in case and "size" not in case["body"]]


def _listed_body(message: Mapping[str, Any], random: Random) -> bytes:
    """A body of the hostile list, as it is or edited."""
    body = body_of(random.choice(_BODIES), message, {"{first-ticket}": str(message["ticket"])})
    for _ in range(random.choice((0, 1, 1, 2))):
        body = _edited_bytes(body, random)
    return body


def _spelled(value: Any, random: Random) -> str:
    """The value as text; now and then with something in it that no writer of JSON would write."""
    kind, mark, written = random.randrange(8), '"\ufffe"', random.choice(SPELLED)
    if not isinstance(value, dict):
        kind = 7
    elif kind == 0:
        value = {**value, random.choice(tuple(value) or ("x",)): "\ufffe"}
    elif kind == 1:
        value = {**value, "status": {"x": "\ufffe"}}
    elif kind == 2:
        value, written = {**value, "status": {"x": "\ufffe"}}, _levels(random.choice((29, 30, 31, 32, 40)), random)
    elif kind == 3:
        value, written = {"\ufffe": value.get("protocol"), **value}, json.dumps(random.choice(tuple(value) or ("x",)))
    compact = (",", ":") if random.getrandbits(1) else None
    text = json.dumps(value, ensure_ascii=False, separators=compact).replace(mark, written)
    if random.getrandbits(1):
        return text
    return text.encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00").replace("\\U000", "\\u")


def _levels(levels: int, random: Random) -> str:
    """Arrays and objects in each other, so many deep, with brackets in strings that are no brackets."""
    opened, closed = "", ""
    for _ in range(levels):
        one = random.choice((("[", "]"), ('{"x":', "}"), ('["]",', "]"), ('{"[{":', "}"), (' [ "\\"[" , ', " ] ")))
        opened, closed = opened + one[0], one[1] + closed
    return opened + random.choice(("1", "[]", "{}", '"["')) + closed


def _good_of(kind: type[BaseModel]) -> dict[str, Any]:
    node, key, at = Node(), "A" * 43, "2026-11-24T09:00:00.000Z"
    ticket, fingerprint = node.ticket, node.message()["fingerprint"]
    command = {"id": "cmd_1", "issued_at": at, "expires_at": at, "type": "order.place", "data": {"x": 1}}
    good: dict[str, dict[str, Any]] = {
        "SyncRequest": node.message(),
        "SyncAnswer": {"protocol": 1, "ticket": ticket, "acked_through": 0, "server_time": at, "commands": [command]},
        "EnrollRequest": {
            "protocol": 1,
            "name": "attic-pi",
            "public_key": key,
            "agent": {"version": "1", "platform": "linux"},
            "replaces": None,
            "fingerprint": {name: fingerprint[name] for name in ("salt_id", "components")},
        },
        "EnrollAnswer": {
            "protocol": 1,
            "node_id": node.node_id,
            "key_id": node.key_id,
            "public_key": key,
            "ticket": ticket,
            "server_time": at,
        },
        "SaltAnswer": {"salt_id": "s1", "salt": "A" * 22},
        "KeysRequest": {"protocol": 1, "ticket": ticket, "public_key": key},
        "KeysAnswer": {"protocol": 1, "key_id": node.key_id, "public_key": key, "server_time": at},
    }
    return good[kind.__name__]


def run_one(seed: str, number: int) -> str:
    """One execution: what came of it. Raises Finding."""
    random = Random(f"{seed}:{number}")
    name = random.choices(tuple(TARGETS), (3, 3, 1, 2))[0]
    try:
        return f"{name}: {TARGETS[name](random)}"
    except Finding as finding:
        raise Finding(f"{name}, --seed {seed} --at {number}: {finding}") from finding.__cause__


def run(seed: str, *, seconds: float = math.inf, executions: float = math.inf) -> Tally:
    """Executions until so many, or so much time. Raises Finding."""
    tally, until = Tally(Counter()), time.monotonic() + seconds
    while tally.executions < executions and time.monotonic() < until:
        tally.outcomes[run_one(seed, tally.executions)] += 1
        tally.executions += 1
    return tally


def main() -> int:
    """Print what came of it; 1 at a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversarial.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", default="1", help="where chance begins (default 1)")
    parser.add_argument("--at", type=int, help="run this one execution alone")
    given = parser.parse_args()
    began = time.monotonic()
    try:
        if given.at is not None:
            print(run_one(given.seed, given.at))
            return 0
        tally = run(given.seed, seconds=given.seconds)
    except Finding as finding:
        print(f"FOUND after {time.monotonic() - began:.1f} s: {finding}", file=sys.stderr)
        return 1
    took = time.monotonic() - began
    print(
        f"seed {given.seed}: {tally.executions} executions in {took:.1f} s, {tally.executions / took:.0f}/s, no finding"
    )
    for outcome, count in sorted(tally.outcomes.items()):
        print(f"{count:>10}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
