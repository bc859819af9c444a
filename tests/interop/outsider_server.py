"""A server as a stranger would write it from the wire contract, with an off-the-shelf RFC 9421 library alone.

Run it as `python outsider_server.py --token nt_…`; it prints its port. `POST /control` scripts its next answers, and
`GET /control` tells what it received and every breach of the contract that it saw.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, algorithms
from http_message_signatures.exceptions import HTTPMessageSignaturesException

REQUEST = ['"@method"', '"@authority"', '"@path"', '"content-type"', '"content-digest"']
RESPONSE = ('"@status"', '"content-type"', '"content-digest"', '"signature";req;key="node"')
NODE_ID = "n_" + "o" * 20
ORDER_FIELDS = {"client_order_id", "exchange", "symbol", "side", "type", "amount", "filled"}
MONEY = ("amount", "filled", "price", "average_price", "fee", "equity")
DECIMAL = re.compile(r"-?\d+(\.\d+)?")


def b64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class State:
    """All that the server knows, under one lock."""

    def __init__(self, token: str) -> None:
        _, token_id, secret = token.split("_", 2)
        self.lock = threading.Condition()
        self.keys = {f"enroll.{token_id}": unb64url(secret)}
        self.enroll_key_id = f"enroll.{token_id}"
        self.salt = os.urandom(32)
        self.private = X25519PrivateKey.generate()
        self.issued = "0." + b64url(os.urandom(16))
        self.shown = ""
        self.nonces: set[str] = set()
        self.sessions: dict[str, set[int]] = {}
        self.events: list[dict[str, Any]] = []
        self.syncs: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.done: set[str] = set()
        self.breaches: list[str] = []
        self.script: list[str] = []
        self.digests: dict[str, dict[str, str]] = {}
        self.gap_member = "last_seq"
        self.rotations: list[str] = []
        self.lose_rotations = 0
        self.holds = True
        self.acknowledges = True

    def agree(self, key_id: str, current: str, public: str) -> str:
        """Come to the key of this name with whoever holds the current one; our half of it."""
        theirs, ours = unb64url(public), self.private.public_key().public_bytes_raw()
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(theirs))
        info = b"\0".join((b"trading-node/v1/node-key", key_id.encode(), theirs + ours))
        self.keys[key_id] = HKDF(SHA256(), 32, self.keys[current], info).derive(shared)
        return b64url(ours)

    def breach(self, what: str) -> None:
        self.breaches.append(what)

    def check_events(self, events: list[dict[str, Any]]) -> int | None:
        """Keep what is new; the last number when there is a gap before these."""
        for event in events:
            if set(event) != {"seq", "id", "at", "type", "data"}:
                self.breach(f"members of an event: {sorted(event)}")
            if event["seq"] <= len(self.events):
                if self.events[event["seq"] - 1] != event:
                    self.breach(f"another event under {event['seq']}")
                continue
            if event["seq"] != len(self.events) + 1:
                return len(self.events)
            self.events.append(event)
            self.check_data(event["type"], event["data"])
        return None

    def check_data(self, kind: str, data: dict[str, Any]) -> None:
        if (kind.startswith("order.") or kind == "intent.refused") and (missing := ORDER_FIELDS - set(data)):
            self.breach(f"{kind} without {sorted(missing)}")
        for name in MONEY:
            if name in data and not (isinstance(data[name], str) and DECIMAL.fullmatch(data[name])):
                self.breach(f"{kind}: {name} is {data[name]!r}")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: object) -> None:
        """Nothing: what happens is told at /control."""

    def do_GET(self) -> None:
        if self.path == "/v1/enroll/salt":
            self.plain({"salt_id": "outsider", "salt": b64url(self.state.salt)})
        else:
            with self.state.lock:
                names = ("events", "syncs", "breaches", "issued", "script", "rotations")
                told = {name: getattr(self.state, name) for name in names}
                self.plain(told | {"done": sorted(self.state.done)})

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        body = self.rfile.read(size)
        if len(body) < size:  # cut off in the midst, as by a node that ends: nothing was said
            self.close_connection = True
            return
        if self.path == "/control":
            with self.state.lock:
                asked = json.loads(body)
                self.state.commands.extend(asked.get("commands", ()))
                self.state.script.extend(asked.get("script", ()))
                self.state.gap_member = asked.get("gap_member", self.state.gap_member)
                self.state.acknowledges = asked.get("acknowledges", self.state.acknowledges)
                self.state.holds = asked.get("holds", self.state.holds)
                self.state.lose_rotations = asked.get("lose_rotations", self.state.lose_rotations)
                self.state.lock.notify_all()
            self.plain({})
            return
        request = httpx.Request(
            "POST", f"http://{self.headers['host']}{self.path}", headers=list(self.headers.items()), content=body
        )
        enrols = self.path == "/v1/enroll"
        try:
            key_id = self.verified(request, body, "trading-node-enroll" if enrols else "trading-node")
        except (HTTPMessageSignaturesException, KeyError, ValueError) as error:
            with self.state.lock:
                self.state.breach(f"not verified: {error!r}")
            self.plain({"code": "unauthenticated"}, 401)
            return
        message = json.loads(body)
        if enrols:
            self.enrol(request, message, key_id)
        elif self.path == "/v1/keys":
            self.rotate(request, message, key_id)
        else:
            self.sync(request, message, key_id)

    def verified(self, request: httpx.Request, body: bytes, tag: str) -> str:
        keys = MappingKeyResolver(public_keys=self.state.keys, private_keys={})
        verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys)
        [result] = verifier.verify(
            request,
            max_age=timedelta(minutes=2),
            expect_tag=tag,
            expect_label="node",
            require_components=REQUEST,
            body=body,
        )
        names = list(result.covered_components)
        nonce = str(result.parameters["nonce"])
        with self.state.lock:
            if names != [*REQUEST, '"@signature-params"']:
                self.state.breach(f"components: {names}")
            if set(result.parameters) != {"created", "nonce", "keyid", "alg", "tag"}:
                self.state.breach(f"parameters: {sorted(result.parameters)}")
            if len(unb64url(nonce)) != 16 or nonce in self.state.nonces:
                self.state.breach("a nonce that is none, or not new")
            self.state.nonces.add(nonce)
            if self.headers["content-type"] != "application/json" or self.headers["accept-encoding"] != "identity":
                self.state.breach("content-type or accept-encoding")
            if self.headers["cache-control"] != "no-store, no-transform":
                self.state.breach(f"cache-control: {self.headers['cache-control']}")
        return str(result.parameters["keyid"])

    def enrol(self, request: httpx.Request, message: dict[str, Any], key_id: str) -> None:
        state = self.state
        with state.lock:
            if set(message) != {"protocol", "name", "public_key", "agent", "replaces", "fingerprint"}:
                state.breach(f"members of an enrolment: {sorted(message)}")
            answer = {
                "protocol": 1,
                "node_id": NODE_ID,
                "key_id": f"{NODE_ID}.1",
                "public_key": state.agree(f"{NODE_ID}.1", key_id, message["public_key"]),
                "ticket": state.issued,
                "server_time": now(),
            }
        self.signed(request, answer, key_id, 201)

    def rotate(self, request: httpx.Request, message: dict[str, Any], key_id: str) -> None:
        state = self.state
        with state.lock:
            if set(message) != {"protocol", "ticket", "public_key"}:
                state.breach(f"members of a rotation: {sorted(message)}")
            if message["ticket"] not in (state.issued, state.shown):
                state.breach("a rotation with a void ticket")
            state.rotations.append(key_id)
            new = f"{NODE_ID}.{len(state.keys)}"
            answer = {
                "protocol": 1,
                "key_id": new,
                "public_key": state.agree(new, key_id, message["public_key"]),
                "server_time": now(),
            }
            lost = len(state.rotations) <= state.lose_rotations
        if lost:
            self.close_connection = True
        else:
            self.signed(request, answer, key_id, 200)

    def sync(self, request: httpx.Request, message: dict[str, Any], key_id: str) -> None:
        state = self.state
        with state.lock:
            gap = self.take(message)
            deadline = time.monotonic() + message["wait"]
            while gap is None and not self.open_commands() and not state.script:
                left = deadline - time.monotonic()
                if left <= 0 or message["events"] or message["done_commands"] or not state.holds:
                    break
                state.lock.wait(min(left, 0.2))
            act = state.script.pop(0) if state.script else ""
            answer = {
                "protocol": 1,
                "ticket": state.issued,
                "acked_through": len(state.events) if state.acknowledges else 0,
                "server_time": now(),
                "commands": self.open_commands(),
            }
        if gap is not None:
            self.signed(request, {"code": "event_gap", state.gap_member: gap, "status": 409}, key_id, 409)
        elif act == "lose":
            self.close_connection = True
        elif act == "forget":
            with state.lock:
                del state.events[1:]
            self.signed(request, answer | {"acked_through": 1}, key_id, 200)
        elif act == "too_large":
            self.plain({"code": "too_large"}, 413)
        elif act == "rate_limited":
            self.signed(request, {"code": "rate_limited", "status": 429}, key_id, 429)
        elif act == "boast":
            self.signed(request, answer | {"acked_through": 10**9}, key_id, 200)
        elif act == "unsigned":
            self.plain(answer | {"commands": [self.planted("unsigned")]})
        elif act == "wrong_key":
            self.signed(request, answer | {"commands": [self.planted("wrong_key")]}, key_id, 200, key=os.urandom(32))
        elif act == "other_request":
            other = httpx.Request("POST", request.url, headers=dict(request.headers) | {"signature": "node=:AAAA:"})
            self.signed(other, answer | {"commands": [self.planted("other_request")]}, key_id, 200)
        else:
            self.signed(request, answer, key_id, 200)

    def take(self, message: dict[str, Any]) -> int | None:
        """Hold a sync against the contract, and take it in."""
        state = self.state
        members = {
            "protocol",
            "session",
            "request",
            "ticket",
            "fingerprint",
            "status",
            "events",
            "done_commands",
            "wait",
        }
        if set(message) != members:
            state.breach(f"members of a sync: {sorted(message)}")
        # One that was dropped may be read after the one behind it: the numbers are each there once, in whatever order.
        seen = state.sessions.setdefault(message["session"], set())
        if message["request"] in seen or message["request"] > len(seen) + 2:
            state.breach(f"request {message['request']} after {sorted(seen)}")
        seen.add(message["request"])
        if message["ticket"] not in (state.issued, state.shown):
            state.breach(f"a void ticket: {message['ticket'][:4]}")
        if len(message["events"]) > 500 or not 0 <= message["wait"] <= 25:
            state.breach("events or wait out of bounds")
        self.check_fingerprint(message["fingerprint"])
        noted = {name: message[name] for name in ("session", "request", "ticket", "wait", "done_commands")}
        state.syncs.append(noted | {"at": time.monotonic()})
        gap = state.check_events(message["events"])
        if gap is None:
            state.shown = message["ticket"]
            state.issued = f"{int(state.issued.partition('.')[0]) + 1}.{b64url(os.urandom(16))}"
            state.done.update(message["done_commands"])
        return gap

    def check_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        components = fingerprint.get("components") or self.state.digests.get(fingerprint["digest"])
        if components is None:
            self.state.breach("a digest without components that was not seen before")
            return
        lines = "\n".join(sorted(f"{name}={value}" for name, value in components.items()))
        if fingerprint["digest"] != b64url(hashlib.sha256(lines.encode()).digest()):
            self.state.breach("a digest that is not the components'")
        if not components or not all(len(value) == 22 for value in components.values()):
            self.state.breach("components that are none")
        self.state.digests[fingerprint["digest"]] = components

    def open_commands(self) -> list[dict[str, Any]]:
        return [command for command in self.state.commands if command["id"] not in self.state.done]

    @staticmethod
    def planted(why: str) -> dict[str, Any]:
        """A command that the node must never carry out."""
        return {
            "id": f"cmd_planted_{why}",
            "issued_at": now(),
            "expires_at": "2099-01-01T00:00:00.000Z",
            "type": "order.place",
            "data": {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "market", "amount": "0.001"},
        }

    def signed(
        self, request: httpx.Request, answer: dict[str, Any], key_id: str, status: int, key: bytes | None = None
    ) -> None:
        body = json.dumps(answer).encode()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        kind = "application/json" if status < 400 else "application/problem+json"
        response = httpx.Response(
            status, headers={"content-type": kind, "content-digest": f"sha-256=:{digest}:"}, request=request
        )
        keys = MappingKeyResolver(public_keys={}, private_keys={key_id: key or self.state.keys[key_id]})
        signer = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys)
        signer.sign(
            response,
            key_id=key_id,
            nonce=b64url(os.urandom(16)),
            label="node",
            tag="trading-node-enroll" if key_id.startswith("enroll.") else "trading-node",
            covered_component_ids=RESPONSE,
            use_existing_digest=True,
        )
        names = ("content-type", "content-digest", "signature", "signature-input")
        self.write(status, {name: response.headers[name] for name in names}, body)

    def plain(self, answer: dict[str, Any], status: int = 200) -> None:
        self.write(status, {"content-type": "application/json"}, json.dumps(answer).encode())

    def write(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("cache-control", "no-store, no-transform")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve on a free port of loopback until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--token", required=True, help="the enrolment token that is taken, nt_…")
    Handler.state = State(parser.parse_args().token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
