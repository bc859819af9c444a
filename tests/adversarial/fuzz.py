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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from pydantic import BaseModel

from node_protocol import MAX_BODY, encoding, handshake, messages, refusals, strict_json
from node_protocol.refusals import Code, Malformed, parse_problem
from node_protocol.signatures import (
    normal_authority,
    parse_request,
    parse_response,
    sign_response,
    signature_of,
    verify_response,
)
from tests.adversarial.mutations import VALUES, a_nonce, as_request, bend, bent_value, edited, hostile_body, listed_body
from tests.protocol.signed import Request
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import Refused, SignedRequest, Verifier
from verifier.stores import MemoryStore


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
    good = as_request(node.signed(nonce=a_nonce(random)))
    request = good
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        request = bend(request, good, random)
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
    body = listed_body(message, random) if random.random() < 0.1 else hostile_body(message, random)
    request = node.signed(body, nonce=a_nonce(random))
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
    asked = as_request(node.signed(nonce=a_nonce(random)))
    status = random.choice((200, 201, 401, 409, 503))
    body = b'{"code":"x"}' if random.getrandbits(1) else b"{}"
    headers = sign_response(
        node.secret,
        key_id=node.key_id,
        status=status,
        body=body,
        request_signature=asked.mac,
        created=NOW,
        nonce=a_nonce(random),
    )
    good = Request(headers=(("host", AUTHORITY), *headers), body=body)
    answer = good
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        answer = bend(answer, good, random, asked)
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
            text = edited(text, random)
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
    body = hostile_body(_good_of(kind), random)
    return _Call(lambda given: messages.parse(kind, given), body)


def _problem(random: Random) -> Callable[[], object]:
    value = {"code": "stale", "detail": "x", "status": 401}
    return _Call(parse_problem, bent_value(value, random) if random.random() < 0.8 else random.choice(VALUES))


def _command(random: Random) -> Callable[[], object]:
    order = {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "limit", "amount": "1", "price": "2"}
    kind, data = random.choice((*messages.COMMANDS, "no.such")), bent_value(order, random)
    return _Call(lambda given: messages.parse_command_data(*given), (kind, data if isinstance(data, dict) else {}))


def _head(random: Random) -> Callable[[], object]:
    lines = []
    for _ in range(random.randrange(8)):
        name = random.choice(("Host", "signature", "Signature-Input", "content-digest", "content-type", "x", ""))
        lines.append(
            (name, edited(random.choice(('node=("@method");created=1', AUTHORITY, "application/json")), random))
        )
    path = edited("/v1/sync", random)
    return _Call(
        lambda given: parse_request(method="POST", path=given[0], headers=given[1], authorities=[AUTHORITY]),
        (path, lines),
    )


def _answer_head(random: Random) -> Callable[[], object]:
    lines = [(edited("signature", random), edited("node=:AAAA:", random)) for _ in range(random.randrange(5))]
    status, mac = random.randrange(-1, 1000), random.randbytes(random.choice((0, 31, 32)))
    return _Call(lambda given: parse_response(status=status, headers=given, request_signature=mac), lines)


def _lines(random: Random) -> Callable[[], object]:
    good = as_request(Node().signed(nonce=a_nonce(random)))
    return _Call(signature_of, bend(good, good, random).headers)


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


def _covered(request: Request) -> tuple[object, ...]:
    """What a signature is over, and the signature; a name's capitals are nobody's matter."""
    wanted = ("content-type", "content-digest", "signature-input", "signature", "content-encoding")
    lines = [(name.lower(), value) for name, value in request.headers]
    hosts = [normal_authority(value, "https") for name, value in lines if name == "host"]
    return request.method, request.path, hosts, request.body, sorted(line for line in lines if line[0] in wanted)


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
