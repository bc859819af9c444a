"""No secret is compared in a time that tells of it, and a key that nobody has costs the work of one that exists.

The first is read from the syntax trees of what ships: names that stand for MACs, digests, signatures, keys, tokens,
tickets and secrets, and what is bound to them or to parts of them, meet nothing that takes as long as two sides are
alike: no comparison, whole or byte by byte, no search, no look-up. The second is counted, not timed: how long it takes
is the business of `benchmarks/constant_time.py`.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from node_protocol import refusals, signatures
from node_protocol.refusals import Code
from node_protocol.signatures import MacKey
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import AsyncVerifier, NodeKey, Refused, SignedRequest, Verifier
from verifier.stores import MemoryStore

ROOT: Final = Path(__file__).parents[2]
READ: Final = ("node_protocol/*.py", "verifier/**/*.py", "control_plane/*.py", "node_agent/client.py")
SECRET: Final = re.compile(r"(^|_)(h?macs?|digests?|signatures?|secrets?|keys?|passwords?|tokens?|tickets?)(_|$)")
NOT_SECRET: Final = re.compile(r"(\w+_)?(key|token)_id|\w*(public|PUBLIC)\w*|[A-Z_]+|keys|_state_key|_find_\w+")
"""Names that the pattern finds but that stand for no secret: ids, public halves, constants, functions, a store's."""
FINGERPRINT: Final = "of a machine, not of a message: no signature rests on it, and only what was signed is compared"
TICKET: Final = "looked at only once the signature was good: it tells copies apart, and proves nobody's name"
OPERATOR: Final = "the operator's own key, read once at the start, before there is anybody to measure it"
STATUS: Final = "an answer's HTTP status: it stands beside the headers, and everybody sees it"
EXCEPTIONS: Final = {
    ("node_protocol/messages.py", "fingerprints.digest(components) != digest"): FINGERPRINT,
    ("verifier/clones.py", "machine.digest != state.move_to"): FINGERPRINT,
    ("verifier/clones.py", "known.digest == fingerprint.digest"): FINGERPRINT,
    ("verifier/clones.py", "seen.digest == look.machine.digest"): FINGERPRINT,
    ("verifier/clones.py", "machine.digest == state.baseline.digest"): FINGERPRINT,
    ("verifier/clones.py", "state.seen.digest == machine.digest"): FINGERPRINT,
    ("control_plane/places.py", "state.machine.digest == refused['fingerprint']"): FINGERPRINT,
    ("control_plane/places.py", "digest in (None, refused['fingerprint'])"): FINGERPRINT,
    ("verifier/clones.py", "sighting.ticket == state.issued"): TICKET,
    ("verifier/clones.py", "sighting.ticket == state.shown"): TICKET,
    ("verifier/node_state.py", "ticket.partition('.')"): TICKET,
    ("verifier/evidence.py", "ticket not in known"): TICKET,
    ("verifier/evidence.py", "number > counter(state.issued)"): TICKET,
    ("verifier/evidence.py", "number in map(counter, known)"): TICKET,
    ("verifier/stores/redis.py", "decision.state.issued.endswith(step.ticket_random)"): TICKET,
    ("control_plane/channel.py", "state.issued != verified.ticket"): TICKET,
    ("control_plane/master_key.py", "32 <= byte < 127"): OPERATOR,
    ("node_agent/client.py", "200 <= status < 300"): STATUS,
}
"""Comparisons that are as they are for a reason. None of them is on the way to a good signature."""
TRUTHS_ALONE: Final = (ast.Is, ast.IsNot)
"""What compares objects and not their bytes."""
TELLING: Final = re.compile(
    r"(starts|ends)with|remove(pre|suf)fix|r?(find|index|partition)|count|split|eq|ne|__(eq|ne|lt|le|gt|ge|contains)__"
)
"""Functions and methods that take as long as the two sides are alike."""
LOOKED_UP: Final = frozenset(("get", "pop", "setdefault", "remove", "discard"))
"""Methods that look their first argument up."""


class Place(NamedTuple):
    """A comparison in a file of ours."""

    file: str
    text: str


def names_in(node: ast.AST) -> Iterator[str]:
    """The names that an expression's value comes from; a length is not the thing itself."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("len", "bool", "isinstance"):
        return
    if isinstance(node, ast.Compare | ast.Lambda):
        return  # its value is a truth, and its own names are looked at by themselves
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
        # What an object is called says nothing of its members: `token.node_public` is no token.
        if not isinstance(node.value, ast.Name):
            yield from names_in(node.value)
        return
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        yield str(node.slice.value)
    for child in ast.iter_child_nodes(node):
        yield from names_in(child)


def is_secret(name: str) -> bool:
    """Whether a name stands for what nobody may find out by measuring."""
    return SECRET.search(name.lower()) is not None and NOT_SECRET.fullmatch(name) is None


def compared(scope: ast.AST, known: frozenset[str] = frozenset()) -> Iterator[str]:
    """Each comparison in a tree that may tell of a secret, as text; `known` are names that hold one already."""
    nodes = list(_own(scope))
    tainted = set(known)

    def tells(*operands: ast.AST) -> bool:
        return any(is_secret(name) or name in tainted for operand in operands for name in names_in(operand))

    for node in nodes:  # in the order of the text: what is bound to a part of a secret is one, whatever its name
        for value, target in _bound_by(node):
            if tells(value):
                tainted.update(name for name in _names_of(target) if not is_public(name))
    for node in nodes:
        if _compares(node, tells):
            yield ast.unparse(node).partition("\n")[0]
        if isinstance(node, FUNCTIONS):
            yield from compared(node, frozenset(tainted))


FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def _compares(node: ast.AST, tells: Callable[..., bool]) -> bool:
    """Whether an expression's time may tell of what `tells` says is secret."""
    match node:
        case ast.Compare(left=left, ops=operators, comparators=others):
            return not all(isinstance(each, TRUTHS_ALONE) for each in operators) and tells(left, *others)
        case ast.Match(subject=subject):
            return tells(subject)
        case ast.Subscript(slice=ast.Name() | ast.Attribute() as place, ctx=ast.Load()):
            return tells(place)
        case ast.Call(func=ast.Attribute(attr=name), args=[first, *_]) if name in LOOKED_UP:
            return tells(first)
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments) if TELLING.fullmatch(name):
            return tells(value, *arguments)
        case ast.Call(args=[ast.Attribute(attr=name), *others]) if TELLING.fullmatch(
            name
        ):  # map(int.__eq__, one, other)
            return tells(*others)
    return False


def _bound_by(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """What a node binds: value and target."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((value, target) for target in targets)
        case ast.AnnAssign(target=target, value=ast.AST() as value) | ast.NamedExpr(target=target, value=value):
            yield value, target
        case ast.AugAssign(target=target, value=value):
            yield value, target
        case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
            yield value, target
        case ast.comprehension(target=target, iter=value):
            yield value, target
        case ast.withitem(context_expr=value, optional_vars=ast.AST() as target):
            yield value, target


def _names_of(target: ast.AST) -> Iterator[str]:
    """The names that a target binds, also those of attributes."""
    for each in ast.walk(target):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
            yield each.attr


def is_public(name: str) -> bool:
    """Whether a name says that its value is told to everybody."""
    return NOT_SECRET.fullmatch(name) is not None


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function or a module, in order; of a function inside, itself alone."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, FUNCTIONS):
            yield from _own(child)


def shipped() -> Iterator[Place]:
    """Every such comparison in what ships."""
    for file in sorted({file for pattern in READ for file in ROOT.glob(pattern)}):
        tree = ast.parse(file.read_text("utf-8"))
        for text in compared(tree):
            yield Place(file.relative_to(ROOT).as_posix(), text)


def test_what_ships_compares_secrets_in_constant_time_alone() -> None:
    found = {(place.file, place.text) for place in shipped()}
    assert found - set(EXCEPTIONS) == set(), "compare these by hmac.compare_digest, or give a reason above"
    assert set(EXCEPTIONS) - found == set(), "these are gone: take the exception away too"


def test_the_comparison_on_the_way_to_a_signature_is_the_standard_librarys() -> None:
    assert vars(signatures)["compare_digest"] is hmac.compare_digest


NAIVE: Final = {
    "equal": "def check(key, claims): return key.mac(base) == claims.signature",
    "not equal": "def check(mac, given):\n if mac != given: raise Refused",
    "the body's digest": "def check(body, header): return sha256(body).digest() == header",
    "an innocent name": "def check(key, given):\n expected = key.mac(base)\n return given == expected",
    "a name by the way": "def check(key, given): return (expected := key.mac(base)) and expected == given",
    "a header's text": "def check(headers, expected): return headers['signature'] == expected",
    "among several": "def check(token, good): return token in good",
    "a prefix": "def check(mac, given): return given.startswith(mac)",
    "a suffix": "def check(mac, given): return mac.endswith(given)",
    "by its method": "def check(mac, given): return mac.__eq__(given)",
    "a match": "def check(secret):\n match secret:\n  case b'x': return True",
    "in a chain": "def check(a, mac, b): return a == mac == b",
    "in a method": "class A:\n async def check(self, given): return self._secret == given",
    "in a lambda": "check = lambda mac, given: mac == given",
    "byte by byte": "def check(mac, given): return all(x == y for x, y in zip(mac, given))",
    "in a loop": "def check(mac, given):\n for x, y in zip(mac, given):\n  if x != y: return False",
    "by number": "def check(mac, given): return all(mac[i] == given[i] for i in range(32))",
    "by a function": "def check(mac, given): return operator.eq(mac, given)",
    "by a map": "def check(mac, given): return all(map(int.__eq__, mac, given))",
    "by order": "def check(mac, given): return not mac < given and not mac > given",
    "unpacked": "def check(mac, given):\n a, (b, *c) = mac, (given, 1)\n return a == b",
    "added to": "def check(mac, given):\n good = b''\n good += mac\n return good == given",
    "kept in an object": "def check(self, mac, given):\n self.good = mac\n return self.good == given",
    "from a context": "def check(key, given):\n with using(key) as good:\n  return good == given",
    "in a function inside": "def check(mac):\n good = mac\n def inner(given): return good == given\n return inner",
    "as a name in a mapping": "def check(known, mac): return known[mac]",
    "looked up": "def check(known, mac): return known.get(mac)",
    "searched for": "def check(mac, given): return given.find(mac) == 0",
    "in a comprehension": "def check(macs, given): return any(mac == given for mac in macs)",
}


@pytest.mark.parametrize("source", NAIVE.values(), ids=NAIVE)
def test_a_naive_comparison_is_found(source: str) -> None:
    assert list(compared(ast.parse(source))) != []


@pytest.mark.parametrize(
    "source",
    [
        "def check(mac, given): return compare_digest(mac, given)",
        "def check(key): return key is None",
        "def check(key): return len(key) == 32",
        "def check(row, key_id): return row.key_id == key_id",
        "def check(key, given):\n good = hmac.compare_digest(key.mac(base), given)\n return good and x == 1",
    ],
)
def test_what_tells_nothing_is_left_alone(source: str) -> None:
    assert list(compared(ast.parse(source))) == []


NODE: Final = Node()
STRANGER: Final = Node(node_id="n_" + "b" * 20)
Calls = list[tuple[str, int]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is hashed and compared from here on, in order, with the lengths."""
    done: Calls = []

    def told(name: str, real: Callable[..., object], subject: int = 0) -> Callable[..., object]:
        def call(*arguments: bytes) -> object:
            done.append((name, len(arguments[subject])))
            return real(*arguments)

        return call

    monkeypatch.setattr(MacKey, "mac", told("mac", MacKey.mac, 1))
    monkeypatch.setattr(signatures, "sha256", told("sha256", hashlib.sha256))
    monkeypatch.setattr(signatures, "compare_digest", told("compare", hmac.compare_digest))
    return done


def bad_ones() -> dict[str, SignedRequest]:
    """Requests of one length that all end as `unauthenticated`, each in its own way."""
    good, unknown = NODE.signed(), STRANGER.signed()
    return {
        "first byte wrong": _with_mac(good, 0),
        "last byte wrong": _with_mac(good, 31),
        "another body": good._replace(body=good.body[:-1] + b" "),
        "both wrong": _with_mac(good, 31)._replace(body=good.body[:-1] + b" "),
        "unknown key": unknown,
        "unknown key, another body": unknown._replace(body=good.body[:-1] + b" "),
    }


def _with_mac(request: SignedRequest, wrong: int) -> SignedRequest:
    mac = bytearray(signatures.signature_of(request.headers))
    mac[wrong] ^= 0x40
    headers = [(n, _signature_line(mac) if n == "signature" else v) for n, v in request.headers]
    return request._replace(headers=headers)


def _signature_line(mac: bytes | bytearray) -> str:
    """The value of a `signature` header."""
    return f"node=:{b64encode(mac).decode()}:"


def _find(key_id: str) -> NodeKey | None:
    return NODE_KEYS.get(key_id)


async def _find_later(key_id: str) -> NodeKey | None:
    return _find(key_id)


NODE_KEYS: Final = {NODE.key_id: NODE.key}


def judges() -> Iterable[Callable[[SignedRequest], object]]:
    """Every way in: both verifiers, whole and as far as the nonce."""
    ours = Verifier(keys=_find, store=MemoryStore(), authorities=[AUTHORITY], now=lambda: NOW)
    later = AsyncVerifier(keys=_find_later, store=MemoryStore(), authorities=[AUTHORITY], now=lambda: NOW)
    return (
        ours.authenticate,
        ours.verify,
        lambda request: asyncio.run(later.authenticate(request)),
        lambda request: asyncio.run(later.verify(request)),
    )


def test_whatever_is_wrong_and_whoever_asks_the_same_is_hashed_and_compared(calls: Calls) -> None:
    requests = bad_ones()
    for judge in judges():
        ways = {}
        for name, request in requests.items():
            calls.clear()
            with pytest.raises(Refused) as refused:
                judge(request)
            assert refused.value.code is Code.UNAUTHENTICATED
            ways[name] = list(calls)
        first = ways["first byte wrong"]
        assert [name for name, _ in first] == ["mac", "compare", "sha256", "compare"]
        assert [size for name, size in first if name == "compare"] == [32, 32]
        assert ways == dict.fromkeys(requests, first)


def test_a_good_request_costs_what_a_bad_one_does(calls: Calls) -> None:
    ours = Verifier(keys=_find, store=MemoryStore(), authorities=[AUTHORITY], now=lambda: NOW)
    good = NODE.signed()
    calls.clear()
    ours.authenticate(good)
    accepted = list(calls)
    calls.clear()
    with pytest.raises(Refused):
        ours.authenticate(_with_mac(good, 0))
    assert calls == accepted


def test_a_check_that_ends_at_an_unknown_key_is_found(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    real = signatures.Unverified.check

    def early(self: signatures.Unverified, key: MacKey | None, body: bytes) -> signatures.SignatureFacts:
        if key is None:
            raise refusals.Refused(Code.UNAUTHENTICATED, "unknown_key")
        return real(self, key, body)

    monkeypatch.setattr(signatures.Unverified, "check", early)
    with pytest.raises(AssertionError):
        test_whatever_is_wrong_and_whoever_asks_the_same_is_hashed_and_compared(calls)
