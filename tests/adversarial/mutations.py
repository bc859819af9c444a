"""How the fuzzer bends what is good, by a seeded choice: requests, texts, bytes, bodies. What must hold: `fuzz`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final

from node_protocol import MAX_BODY
from node_protocol.signatures import (
    TAG_ENROLL,
    nonce_from,
)
from tests.adversarial.hostile import CASES, bent, body_of, event
from tests.protocol.signed import Request
from tests.verifier.nodes import Node
from verifier import SignedRequest

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


def a_nonce(random: Random) -> str:
    return nonce_from(random.randbytes(16))


def as_request(request: SignedRequest) -> Request:
    return Request(request.method, request.path, tuple(request.headers), request.body)


def bend(request: Request, good: Request, random: Random, other: Request | None = None) -> Request:
    """One change more."""
    kind = random.randrange(9)
    headers = list(request.headers)
    at = random.randrange(len(headers)) if headers else 0
    if kind == 0 and other is None:
        return from_list(request, random)
    if kind == 1:
        return request._replace(body=edited_bytes(request.body, random))
    if kind == 2:
        return request._replace(path=edited(request.path, random))
    if kind == 3:
        return request._replace(method=random.choice((edited(request.method, random), "GET", "PUT", "post", "")))
    if not headers:
        return good
    name, value = headers[at]
    if kind == 4:
        headers[at] = (name, edited(value, random))
    elif kind == 5:
        headers.insert(random.randrange(len(headers) + 1), (random.choice((name, name.title())), value))
    elif kind == 6:
        headers.pop(at)
    elif kind == 7:
        headers[at] = (random.choice((name.upper(), name + " ", edited(name, random))), value)
        random.shuffle(headers)
    else:
        source = (other or as_request(Node().signed(b"{}", nonce=a_nonce(random), tag=TAG_ENROLL))).headers
        headers = [random.choice(source) if line[0] == name else line for line in headers]
    return request._replace(headers=tuple(headers))


ON_THE_WAY: Final = [case for case in CASES if not {"body", "signed", "before", "again", "as_sent"} & set(case)]


def from_list(request: Request, random: Random) -> Request:
    """A case of the hostile list; one that a request bent before does not fit leaves it as it is."""
    try:
        return bent(request, random.choice(ON_THE_WAY))
    except (AssertionError, IndexError, StopIteration, ValueError):
        return request


def edited(text: str, random: Random) -> str:
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


def edited_bytes(body: bytes, random: Random) -> bytes:
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


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield before
    if isinstance(value, dict | list):
        for step in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[step], (*before, step))


def bent_value(value: Any, random: Random) -> Any:
    """The value with one member changed, added or taken away."""
    value = json.loads(json.dumps(value))
    *way, last = random.choice(list(places(value))[1:] or [(None,)])
    if last is None:
        return random.choice(VALUES)
    place = value
    for step in way:
        place = place[step]
    kind = random.randrange(5)
    if kind == 0:
        del place[last]
    elif kind == 1 and isinstance(place, dict):
        place[random.choice(("x", "", "amount", "price", "balances", edited(str(last), random)))] = random.choice(
            VALUES
        )
    elif kind == 2 and isinstance(place[last], str):
        place[last] = edited(place[last], random)
    else:
        place[last] = random.choice(VALUES)
    return value


def hostile_body(message: Mapping[str, Any], random: Random) -> bytes:
    value: Any = dict(message)
    if "events" in value and random.getrandbits(1):
        value["events"] = [event(seq + 1) for seq in range(random.choice((1, 2, 3)))]
        value["events"][0]["data"] = {"amount": "1.5", "balances": {"BTC": ["1", {"x": "2"}]}, "n": 1.5}
    for _ in range(random.choice((0, 1, 1, 2))):
        value = bent_value(value, random)
    body = spelled(value, random).encode("utf-8", "surrogatepass")
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        body = edited_bytes(body, random)
    if random.random() < 0.02:
        body = body.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))
    return body.ljust(MAX_BODY + random.choice((0, 1))) if random.random() < 0.001 else body


BODIES: Final = [case["body"] for case in CASES if "body" in case and "size" not in case["body"]]


def listed_body(message: Mapping[str, Any], random: Random) -> bytes:
    """A body of the hostile list, as it is or edited."""
    body = body_of(random.choice(BODIES), message, {"{first-ticket}": str(message["ticket"])})
    for _ in range(random.choice((0, 1, 1, 2))):
        body = edited_bytes(body, random)
    return body


def spelled(value: Any, random: Random) -> str:
    """The value as text; now and then with something in it that no writer of JSON would write."""
    kind, mark, written = random.randrange(8), '"\ufffe"', random.choice(SPELLED)
    if not isinstance(value, dict):
        kind = 7
    elif kind == 0:
        value = {**value, random.choice(tuple(value) or ("x",)): "\ufffe"}
    elif kind == 1:
        value = {**value, "status": {"x": "\ufffe"}}
    elif kind == 2:
        value, written = {**value, "status": {"x": "\ufffe"}}, levels(random.choice((29, 30, 31, 32, 40)), random)
    elif kind == 3:
        value, written = {"\ufffe": value.get("protocol"), **value}, json.dumps(random.choice(tuple(value) or ("x",)))
    compact = (",", ":") if random.getrandbits(1) else None
    text = json.dumps(value, ensure_ascii=False, separators=compact).replace(mark, written)
    if random.getrandbits(1):
        return text
    return text.encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00").replace("\\U000", "\\u")


def levels(levels: int, random: Random) -> str:
    """Arrays and objects in each other, so many deep, with brackets in strings that are no brackets."""
    opened, closed = "", ""
    for _ in range(levels):
        one = random.choice((("[", "]"), ('{"x":', "}"), ('["]",', "]"), ('{"[{":', "}"), (' [ "\\"[" , ', " ] ")))
        opened, closed = opened + one[0], one[1] + closed
    return opened + random.choice(("1", "[]", "{}", '"["')) + closed
