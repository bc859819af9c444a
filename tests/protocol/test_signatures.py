"""The signature profile: published vectors, what is signed verifies, what is bent is refused, nothing crashes."""

from __future__ import annotations

import ast
import base64
import contextlib
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from node_protocol import signatures
from node_protocol.refusals import Code, Misuse, Refused
from node_protocol.signatures import (
    TAG_ENROLL,
    MacKey,
    nonce_from,
    normal_authority,
    parse_request,
    sign_request,
    sign_response,
    signature_of,
    verify_request,
    verify_response,
)
from tests.protocol.signed import AUTHORITY, CREATED, KEY, KEY_ID, NONCE, Request, signed, verified

RFC4231 = json.loads((Path(__file__).parent / "data/hmac_sha256_rfc4231.json").read_text())["cases"]
RFC9421_KEY = base64.b64decode(
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)
RFC9421_BASE = (
    '"date": Tue, 20 Apr 2021 02:07:55 GMT\n"@authority": example.com\n"content-type": application/json\n'
    '"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
)
RFC9421_MAC = "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="

paths = st.from_regex(r"(/[a-z0-9_-]{1,8}){1,4}", fullmatch=True)
bodies = st.binary(max_size=300)
nonces = st.binary(min_size=16, max_size=16).map(nonce_from)
times = st.integers(0, 10**15 - 1)
text = st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: raw.decode("latin-1"))


def reason(request: Request, *, key: bytes = KEY, tag: str = "trading-node") -> str:
    with pytest.raises(Refused) as refused:
        verified(request, key=key, tag=tag)
    assert refused.value.code is Code.UNAUTHENTICATED
    assert not refused.value.signed
    return refused.value.reason


@pytest.mark.parametrize("case", RFC4231, ids=lambda case: case["name"])
def test_macs_are_those_of_rfc_4231(case: dict[str, str]) -> None:
    if "key_repeated" in case:
        key = bytes.fromhex(case["key_repeated"][0]) * int(case["key_repeated"][1])
    else:
        key = bytes.fromhex(case["key"])
    assert MacKey(key, minimum=1).mac(bytes.fromhex(case["data"])).hex() == case["mac"]


def test_the_mac_is_that_of_rfc_9421_b_2_5() -> None:
    assert base64.b64encode(MacKey(RFC9421_KEY).mac(RFC9421_BASE.encode())).decode() == RFC9421_MAC


def test_the_message_of_rfc_9421_b_2_5_is_not_of_our_profile() -> None:
    headers = (
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        (
            "signature-input",
            'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
        ),
        ("signature", f"sig-b25=:{RFC9421_MAC}:"),
    )
    with pytest.raises(Refused):
        parse_request(method="POST", path="/foo", headers=headers, authorities=("example.com",))


def test_the_base_is_built_as_rfc_9421_section_2_5_has_it() -> None:
    request = signed()
    base = parse_request(method="POST", path="/v1/sync", headers=request.headers, authorities=(AUTHORITY,)).base
    assert base.decode() == "\n".join(
        (
            '"@method": POST',
            f'"@authority": {AUTHORITY}',
            '"@path": /v1/sync',
            '"content-type": application/json',
            f'"content-digest": {request.header("content-digest")}',
            f'"@signature-params": {request.header("signature-input").removeprefix("node=")}',
        )
    )


@given(bodies, paths, nonces, times)
def test_what_is_signed_verifies_and_says_what_was_said(body: bytes, path: str, nonce: str, created: int) -> None:
    facts = verified(signed(body=body, path=path, nonce=nonce, created=created))
    assert (facts.key_id, facts.created, facts.nonce, facts.tag) == (KEY_ID, created, nonce, "trading-node")


@given(bodies, st.binary(min_size=1, max_size=40), st.integers(0))
def test_any_change_of_the_body_is_refused(body: bytes, change: bytes, at: int) -> None:
    at %= len(body) + 1
    other = body[:at] + change + body[at + len(change) :]
    if other != body:
        assert reason(signed(body=body)._replace(body=other)) == "digest_mismatch"


@pytest.mark.parametrize("name", ["content-type", "content-digest", "signature-input", "signature", "host"])
def test_no_flip_of_any_bit_of_a_header_is_accepted(name: str) -> None:
    request = signed()
    value = request.header(name)
    for at, bit in itertools.product(range(len(value)), range(8)):
        bent = value[:at] + chr(ord(value[at]) ^ 1 << bit) + value[at + 1 :]
        if name == "host" and bent.lower() == value:
            continue  # a name in capitals is the same name
        reason(request.replaced(name, bent))


def test_no_flip_of_any_bit_of_the_body_is_accepted() -> None:
    request = signed()
    for at, bit in itertools.product(range(len(request.body)), range(8)):
        bent = bytearray(request.body)
        bent[at] ^= 1 << bit
        assert reason(request._replace(body=bytes(bent))) == "digest_mismatch"


def test_a_path_has_an_end() -> None:
    assert verified(signed(path="/" + "x" * 2047)).key_id == KEY_ID
    assert reason(signed()._replace(path="/" + "x" * 2048)) == "malformed_path"


def test_another_method_or_path_is_refused() -> None:
    assert reason(signed()._replace(method="PUT")) == "signature_mismatch"
    assert reason(signed()._replace(path="/v1/keys")) == "signature_mismatch"


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7])
def test_parameters_come_in_any_order(order: tuple[int, ...]) -> None:
    parts = [
        f";created={CREATED}",
        f';nonce="{NONCE}"',
        f';keyid="{KEY_ID}"',
        ';alg="hmac-sha256"',
        ';tag="trading-node"',
    ]
    components = '("@method" "@authority" "@path" "content-type" "content-digest")'
    parameters = components + "".join(parts[number] for number in order)
    request = signed().replaced("signature-input", f"node={parameters}")
    base = parse_request(method="POST", path="/v1/sync", headers=request.headers, authorities=(AUTHORITY,)).base
    mac = base64.b64encode(MacKey(KEY).mac(base)).decode()
    assert verified(request.replaced("signature", f"node=:{mac}:")).nonce == NONCE


names = st.sampled_from(
    ["host", "content-type", "content-digest", "content-encoding", "signature-input", "signature", "Signature", "x"]
)


@settings(max_examples=500)
@given(st.lists(st.tuples(names | text, text), max_size=8), text, text, bodies)
@example([("signature", "\ud800")], "\ud800", "\ud800", b"")
def test_whatever_comes_in_is_refused_and_never_crashes(
    headers: list[tuple[str, str]], method: str, path: str, body: bytes
) -> None:
    with pytest.raises(Refused):
        verify_request(KEY, key_id=KEY_ID, method=method, authority=AUTHORITY, path=path, headers=headers, body=body)
    with pytest.raises(Refused):
        verify_response(KEY, key_id=KEY_ID, status=200, headers=headers, body=body, request_signature=bytes(32))


@settings(max_examples=500)
@given(st.sampled_from(["content-type", "content-digest", "signature-input", "signature"]), st.data())
def test_whatever_is_spliced_into_a_good_header_is_refused(name: str, data: st.DataObject) -> None:
    request = signed()
    value = request.header(name)
    start = data.draw(st.integers(0, len(value)))
    end = data.draw(st.integers(start, len(value)))
    bent = value[:start] + data.draw(text | st.sampled_from([" ", ",", ";", '"', "=", ":", value])) + value[end:]
    if bent != value:
        reason(request.replaced(name, bent))


def test_a_response_answers_its_own_request_alone() -> None:
    request, other = signed(), signed(nonce=nonce_from(bytes(16)))
    body = b'{"protocol":1}'
    headers = sign_response(
        KEY, key_id=KEY_ID, status=200, body=body, request_signature=request.mac, created=CREATED, nonce=NONCE
    )
    facts = verify_response(KEY, key_id=KEY_ID, status=200, headers=headers, body=body, request_signature=request.mac)
    assert facts.created == CREATED
    for status, mac, key, tag in [
        (200, other.mac, KEY, "trading-node"),
        (201, request.mac, KEY, "trading-node"),
        (200, request.mac, bytes(32), "trading-node"),
        (200, request.mac, KEY, TAG_ENROLL),
    ]:
        with pytest.raises(Refused):
            verify_response(
                key, key_id=KEY_ID, status=status, headers=headers, body=body, request_signature=mac, tag=tag
            )


def test_a_request_is_no_response_and_a_response_no_request() -> None:
    request = signed()
    with pytest.raises(Refused):
        verify_response(
            KEY,
            key_id=KEY_ID,
            status=200,
            headers=request.headers,
            body=request.body,
            request_signature=request.mac,
        )
    headers = sign_response(
        KEY, key_id=KEY_ID, status=200, body=request.body, request_signature=request.mac, created=1, nonce=NONCE
    )
    reason(request._replace(headers=(("host", AUTHORITY), *headers)))


def test_a_refusal_has_the_content_type_of_problems() -> None:
    headers = dict(
        sign_response(KEY, key_id=KEY_ID, status=409, body=b"{}", request_signature=bytes(32), created=1, nonce=NONCE)
    )
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store, no-transform"


def test_an_enrolment_is_no_message_of_a_node() -> None:
    assert reason(signed(tag=TAG_ENROLL)) == "wrong_tag"
    assert reason(signed(), tag=TAG_ENROLL) == "wrong_tag"


def test_a_name_that_is_not_served_is_refused_even_when_rightly_signed() -> None:
    assert reason(signed(authority="other.example")) == "foreign_authority"


def test_default_ports_and_capitals_make_no_other_name() -> None:
    assert normal_authority("Bots.Example:443", "https") == "bots.example"
    assert normal_authority("Bots.Example:443", "http") == "bots.example:443"
    assert verified(signed().replaced("host", "BOTS.example:443")).key_id == KEY_ID


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("a short nonce", {"nonce": NONCE[:-1]}),
        ("a nonce with set bits behind its end", {"nonce": NONCE[:-1] + "B"}),
        ("a negative time", {"created": -1}),
        ("a time of 16 digits", {"created": 10**15}),
        ("a key id with a quote", {"key_id": 'n"'}),
        ("an unknown tag", {"tag": "other"}),
        ("a query", {"path": "/v1/sync?x"}),
        ("an escape", {"path": "/v1/%73ync"}),
        ("a dot segment", {"path": "/x/../v1/sync"}),
        ("a path that is too long", {"path": "/" + "x" * 2048}),
        ("a capital in the authority", {"authority": "Bots.example"}),
    ],
)
def test_nothing_is_signed_that_no_verifier_takes(what: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        signed(**changes)


def test_a_short_key_is_refused_and_no_key_shows() -> None:
    with pytest.raises(Misuse):
        MacKey(bytes(31))
    with pytest.raises(Misuse):
        sign_request(b"", key_id=KEY_ID, method="POST", authority=AUTHORITY, path="/", body=b"", created=1, nonce=NONCE)
    key = MacKey(b"k" * 32)
    assert "k" * 4 not in repr(key)
    with pytest.raises(Misuse):
        pickle.dumps(key)


def test_an_unknown_key_costs_the_same_macs(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for key in (MacKey(KEY), MacKey(bytes(32)), None):
        calls: list[bytes] = []
        real = MacKey.mac

        def counted(self: MacKey, message: bytes, real: object = real, calls: list[bytes] = calls) -> bytes:
            calls.append(message)
            return real(self, message)  # type: ignore[operator, no-any-return]

        request = signed()
        unverified = parse_request(method="POST", path="/v1/sync", headers=request.headers, authorities=(AUTHORITY,))
        with monkeypatch.context() as patch:
            patch.setattr(MacKey, "mac", counted)
            with contextlib.suppress(Refused):
                unverified.check(key, request.body)
        counts.append([len(call) for call in calls])
    assert counts[0] == counts[1] == counts[2]
    assert len(counts[0]) == 1


def test_headers_that_may_have_lost_lines_are_no_headers() -> None:
    request = signed()
    with pytest.raises(ValueError, match="unpack"):
        verified(request._replace(headers=dict(request.headers)))  # type: ignore[arg-type]


def test_macs_and_digests_are_compared_by_compare_digest_alone() -> None:
    tree = ast.parse(Path(signatures.__file__).read_text())
    check = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "check")
    compared = [ast.unparse(node) for node in ast.walk(check) if isinstance(node, ast.Compare)]
    assert all(" is " in each for each in compared), compared
    calls = [ast.unparse(node.func) for node in ast.walk(check) if isinstance(node, ast.Call)]
    assert calls.count("compare_digest") == 2


def test_the_mac_is_read_from_one_signature_line_alone() -> None:
    request = signed()
    assert len(request.mac) == 32
    with pytest.raises(Refused):
        signature_of(request.plus("Signature", request.header("signature")).headers)
    with pytest.raises(Refused):
        signature_of(())
