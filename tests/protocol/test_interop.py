"""An off-the-shelf RFC 9421 library signs what we verify and verifies what we sign: requests and `;req` responses."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any

import httpx
import pytest
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    InvalidSignature,
    MappingKeyResolver,
    algorithms,
)
from hypothesis import given
from hypothesis import strategies as st

from node_protocol.signatures import nonce_from, sign_response, verify_response
from tests.protocol.signed import AUTHORITY, KEY, KEY_ID, Request, signed, verified

REQUEST = ("@method", "@authority", "@path", "content-type", "content-digest")
RESPONSE = ('"@status"', '"content-type"', '"content-digest"', '"signature";req;key="node"')

bodies = st.binary(max_size=200)
paths = st.from_regex(r"(/[a-z0-9_-]{1,8}){1,3}", fullmatch=True)
randoms = st.binary(min_size=16, max_size=16)
statuses = st.sampled_from([200, 201, 409])

KEYS = MappingKeyResolver(public_keys={KEY_ID: KEY}, private_keys={KEY_ID: KEY})
SIGNER = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=KEYS)
VERIFIER = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=KEYS)


def digest(body: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def library_signs(message: Any, components: tuple[str, ...], nonce: str) -> list[tuple[str, str]]:
    SIGNER.sign(
        message,
        key_id=KEY_ID,
        label="node",
        nonce=nonce,
        tag="trading-node",
        covered_component_ids=components,
        use_existing_digest=True,
    )
    return [(name.lower(), value) for name, value in message.headers.items()]


def library_verifies(message: Any, components: tuple[str, ...], body: bytes) -> dict[str, Any]:
    [result] = VERIFIER.verify(
        message, expect_tag="trading-node", expect_label="node", require_components=components, body=body
    )
    return dict(result.parameters)


def sent(request: Request) -> httpx.Request:
    return httpx.Request(request.method, f"https://{AUTHORITY}{request.path}", headers=list(request.headers))


@given(bodies, paths, randoms)
def test_we_verify_requests_that_the_library_signs(body: bytes, path: str, random: bytes) -> None:
    headers = {"content-type": "application/json", "content-digest": digest(body)}
    message = httpx.Request("POST", f"https://{AUTHORITY}{path}", headers=headers, content=body)
    nonce = nonce_from(random)
    signed_headers = library_signs(message, REQUEST, nonce)
    assert verified(Request("POST", path, tuple(signed_headers), body)).nonce == nonce


@given(bodies, paths, randoms)
def test_the_library_verifies_requests_that_we_sign(body: bytes, path: str, random: bytes) -> None:
    request = signed(body=body, path=path, nonce=nonce_from(random), created=int(time.time()))
    required = tuple(f'"{name}"' for name in REQUEST)
    assert library_verifies(sent(request), required, body)["nonce"] == nonce_from(random)


@given(bodies, statuses)
def test_we_verify_responses_that_the_library_signs(body: bytes, status: int) -> None:
    request = signed()
    kind = "application/json" if status < 400 else "application/problem+json"
    headers = {"content-type": kind, "content-digest": digest(body)}
    answer = httpx.Response(status, headers=headers, content=body, request=sent(request))
    facts = verify_response(
        KEY,
        key_id=KEY_ID,
        status=status,
        headers=library_signs(answer, RESPONSE, nonce_from(bytes(16))),
        body=body,
        request_signature=request.mac,
    )
    assert facts.key_id == KEY_ID


@given(bodies, statuses)
def test_the_library_verifies_responses_that_we_sign(body: bytes, status: int) -> None:
    request, other = signed(), signed(nonce=nonce_from(bytes(16)))
    headers = sign_response(
        KEY,
        key_id=KEY_ID,
        status=status,
        body=body,
        request_signature=request.mac,
        created=int(time.time()),
        nonce=nonce_from(bytes(16)),
    )
    answer = httpx.Response(status, headers=headers, content=body, request=sent(request))
    assert library_verifies(answer, RESPONSE, body)["keyid"] == KEY_ID
    with pytest.raises(InvalidSignature):
        library_verifies(httpx.Response(status, headers=headers, content=body, request=sent(other)), RESPONSE, body)
