"""A client that an outsider wrote from the protocol's page, with an off-the-shelf RFC 9421 library, and our server.

Nothing of ours is imported but what starts the server's process: no word of the wire comes from our own code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, algorithms

from tests.control_plane.support import ServerProcess, control_plane, json_of

REQUEST = ("@method", "@authority", "@path", "content-type", "content-digest")
RESPONSE = ('"@status"', '"content-type"', '"content-digest"', '"signature";req;key="node"')


def b64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hkdf(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, for 32 bytes."""
    return hmac.digest(hmac.digest(salt, ikm, "sha256"), info + b"\x01", "sha256")


class Outsider:
    """Signs with the library, verifies with the library."""

    def __init__(self, url: str, key_id: str, key: bytes, tag: str) -> None:
        resolver = MappingKeyResolver(public_keys={key_id: key}, private_keys={key_id: key})
        self.key_id, self.tag = key_id, tag
        self.signer = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=resolver)
        self.verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=resolver)
        self.client = httpx.Client(base_url=url, timeout=30)

    def post(self, path: str, value: dict[str, Any]) -> httpx.Response:
        with self.client:
            request = self.client.build_request("POST", path, json=value, headers={"accept-encoding": "identity"})
            digest = base64.b64encode(hashlib.sha256(request.content).digest()).decode()
            request.headers["content-digest"] = f"sha-256=:{digest}:"
            request.headers["cache-control"] = "no-store, no-transform"
            self.signer.sign(
                request,
                key_id=self.key_id,
                nonce=b64url(os.urandom(16)),
                label="node",
                tag=self.tag,
                covered_component_ids=REQUEST,
                use_existing_digest=True,
            )
            response = self.client.send(request)
        [result] = self.verifier.verify(
            response,
            max_age=timedelta(minutes=2),
            expect_tag=self.tag,
            expect_label="node",
            require_components=RESPONSE,
            body=response.content,
        )
        assert result.parameters["keyid"] == self.key_id
        assert list(result.covered_components) == [*RESPONSE, '"@signature-params"']
        return response


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    started = ServerProcess(tmp_path / "server").start()
    yield started
    started.end()


def test_an_outsider_s_client_enrols_syncs_rotates_and_is_refused_in_words_that_it_can_verify(
    server: ServerProcess,
) -> None:
    url = f"http://127.0.0.1:{server.port}"
    _, token_id, secret = server.token().split("_", 2)
    salt = httpx.get(f"{url}/v1/enroll/salt").json()
    value = hmac.digest(unb64url(salt["salt"]), b"cpu\0x86 4 cores", "sha256")
    components = {"cpu": b64url(value)[:22]}
    digest = b64url(hashlib.sha256(f"cpu={components['cpu']}".encode()).digest())

    private = X25519PrivateKey.generate()
    enrolment = {
        "protocol": 1,
        "name": "outsider",
        "public_key": b64url(private.public_key().public_bytes_raw()),
        "agent": {"version": "1", "platform": "any"},
        "replaces": None,
        "fingerprint": {"salt_id": salt["salt_id"], "components": components},
    }
    answer = Outsider(url, f"enroll.{token_id}", unb64url(secret), "trading-node-enroll").post("/v1/enroll", enrolment)
    assert answer.status_code == 201
    made = answer.json()

    def derive(mine: X25519PrivateKey, told: dict[str, Any], with_salt: bytes) -> bytes:
        theirs = unb64url(told["public_key"])
        shared = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
        publics = mine.public_key().public_bytes_raw() + theirs
        return hkdf(shared, with_salt, b"\0".join((b"trading-node/v1/node-key", told["key_id"].encode(), publics)))

    key = derive(private, made, unb64url(secret))

    def sync(request: int, ticket: str, **changes: Any) -> dict[str, Any]:
        return {
            "protocol": 1,
            "session": session,
            "request": request,
            "ticket": ticket,
            "fingerprint": {"salt_id": salt["salt_id"], "digest": digest, "components": components},
            "status": {},
            "events": [],
            "done_commands": [],
            "wait": 0,
            **changes,
        }

    session = b64url(os.urandom(16))
    event = {
        "seq": 1,
        "id": "ev_1",
        "at": "2026-11-24T09:00:00.000Z",
        "type": "node.started",
        "data": {"version": "1", "mode": "paper"},
    }
    first = Outsider(url, made["key_id"], key, "trading-node").post("/v1/sync", sync(1, made["ticket"], events=[event]))
    assert (first.status_code, first.json()["acked_through"]) == (200, 1)

    placed = json_of(
        *("orders", "place", "--data-dir", server.data_dir, "--node", made["node_id"], "--symbol", "BTC/USD"),
        *("--side", "buy", "--type", "limit", "--amount", "0.01", "--price", "40000"),
    )
    message = sync(2, first.json()["ticket"], wait=20)
    second = Outsider(url, made["key_id"], key, "trading-node").post("/v1/sync", message)
    assert [command["id"] for command in second.json()["commands"]] == [placed["command_id"]]

    fresh = X25519PrivateKey.generate()
    rotation = {
        "protocol": 1,
        "ticket": second.json()["ticket"],
        "public_key": b64url(fresh.public_key().public_bytes_raw()),
    }
    rotated = Outsider(url, made["key_id"], key, "trading-node").post("/v1/keys", rotation)
    assert rotated.json()["key_id"] == f"{made['node_id']}.2"
    newer = derive(fresh, rotated.json(), key)
    message = sync(3, second.json()["ticket"], done_commands=[placed["command_id"]])
    third = Outsider(url, rotated.json()["key_id"], newer, "trading-node").post("/v1/sync", message)
    assert (third.status_code, third.json()["commands"]) == (200, [])

    gap = sync(4, third.json()["ticket"], events=[event | {"seq": 7, "id": "ev_7"}])
    refused = Outsider(url, rotated.json()["key_id"], newer, "trading-node").post("/v1/sync", gap)
    assert (refused.status_code, refused.json()["code"], refused.json()["last_seq"]) == (409, "event_gap", 1)
    assert refused.headers["content-type"] == "application/problem+json"

    told = control_plane("events", "tail", "--data-dir", server.data_dir, "--node", made["node_id"], "--json")
    assert [line for line in told.stdout.splitlines() if '"node.started"' in line]
