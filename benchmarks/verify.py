"""What a verification costs: ours beside its floor and beside its peers, in one run, as ratios.

The floor is what a plain verifier cannot do without: one `hmac.digest` over a base of the real length, one SHA-256 of
the body, two `compare_digest`. (Ours hashes the key's own blocks once for all messages: its MAC costs less than that.)
Rounds of all contestants are interleaved, and the fastest round of each counts, so that a busy machine slows them all
alike. What a peer does not check stands beside it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from benchmarks import servers, stores
from benchmarks.messages import AUTHORITY, BATCH, KEY, KEY_ID, MACHINE, NODE_ID, NOW, TICKET, batch, one
from node_protocol.signatures import SignatureFacts, nonce_from, parse_request
from verifier import NodeKey, Verifier, enrolled
from verifier.stores import MemoryStore

SIZES: Final = (256, 1024, 16384)


@dataclass
class Contestant:
    """Something that verifies. `round_` readies a batch: the function that is timed, and what it is called with."""

    name: str
    checks: str
    round_: Callable[[], tuple[Callable[[Any], object], Sequence[Any]]]
    best: float = float("inf")
    """Seconds for one verification, in the fastest round."""

    def run(self) -> None:
        """One round."""
        verify, messages = self.round_()
        began = time.perf_counter()
        for message in messages:
            verify(message)
        self.best = min(self.best, (time.perf_counter() - began) / len(messages))


def over_and_over(verify: Callable[[Any], object]) -> Callable[[], tuple[Callable[[Any], object], Sequence[None]]]:
    """Rounds of one and the same message, for contestants that remember nothing of it."""
    return lambda: (verify, [None] * BATCH)


def floor(size: int) -> Contestant:
    """The floor, for as many messages as ours are."""
    messages = []
    for request in batch(size):
        signed = parse_request(method="POST", path="/v1/sync", headers=request.headers, authorities=(AUTHORITY,))
        messages.append((signed.base, signed.claims.signature, request.body, signed.digest))

    def once(message: tuple[bytes, bytes, bytes, bytes]) -> bool:
        base, mac, body, digest = message
        good = hmac.compare_digest(hmac.digest(KEY, base, "sha256"), mac)
        return good & hmac.compare_digest(hashlib.sha256(body).digest(), digest)

    return Contestant("floor", "one HMAC, one SHA-256, two comparisons", lambda: (once, messages))


def ours(size: int) -> list[Contestant]:
    """The verifier, as far as the nonce, and whole."""
    keys = {KEY_ID: NodeKey.of(KEY_ID, KEY)}.get
    requests = batch(size)

    def verifier() -> Verifier:
        store = MemoryStore()
        store.save(NODE_ID, enrolled(TICKET, MACHINE))
        return Verifier(keys=keys, store=store, authorities=[AUTHORITY], now=lambda: NOW)

    return [
        Contestant(
            "verifier: authenticate",
            "form, key, signature, digest, freshness, nonce",
            lambda: (verifier().authenticate, requests),
        ),
        Contestant(
            "verifier: a whole sync",
            "the same, strict body, fingerprint, ticket",
            lambda: (verifier().verify, requests),
        ),
    ]


def peers(size: int) -> list[Contestant]:
    """What others verify, each as its documents say; the keys and bodies are alike."""
    body = batch(size)[0].body
    found = (
        ("http_message_signatures", http_message_signatures),
        ("standardwebhooks", standardwebhooks),
        ("stripe", stripe),
        ("stripe", stripe_event),
        ("mohawk", mohawk),
        ("itsdangerous", itsdangerous),
        ("slack_sdk", slack),
        ("jwt", pyjwt),
    )
    return [
        make(body)
        if importlib.util.find_spec(name)
        else Contestant(name, "NOT INSTALLED: `make bench` installs it", over_and_over(lambda _: None))
        for name, make in found
    ]


def http_message_signatures(body: bytes) -> Contestant:
    import httpx
    from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, algorithms

    keys = MappingKeyResolver(public_keys={KEY_ID: KEY}, private_keys={KEY_ID: KEY})
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    headers = {"content-type": "application/json", "content-digest": f"sha-256=:{digest}:"}
    request = httpx.Request("POST", f"https://{AUTHORITY}/v1/sync", headers=headers, content=body)
    components = ("@method", "@authority", "@path", "content-type", "content-digest")
    HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys).sign(
        request,
        key_id=KEY_ID,
        label="node",
        tag="trading-node",
        covered_component_ids=components,
        use_existing_digest=True,
    )
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys)
    return Contestant(
        "http-message-signatures",
        "signature, digest, age; no nonce memory",
        over_and_over(lambda _: verifier.verify(request, body=body, expect_tag="trading-node")),
    )


def standardwebhooks(body: bytes) -> Contestant:
    from standardwebhooks import Webhook

    hook = Webhook(base64.b64encode(KEY).decode())
    moment, text = datetime.now(UTC), body.decode()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": hook.sign("msg_1", moment, text),
    }
    return Contestant(
        "standardwebhooks", "signature, age, JSON; no nonce memory", over_and_over(lambda _: hook.verify(body, headers))
    )


def stripe(body: bytes) -> Contestant:
    from stripe import WebhookSignature

    text, now = body.decode(), int(time.time())
    mac = hmac.new(KEY.hex().encode(), f"{now}.{text}".encode(), hashlib.sha256).hexdigest()
    header = f"t={now},v1={mac}"
    return Contestant(
        "stripe",
        "signature, age; no nonce memory",
        over_and_over(lambda _: WebhookSignature.verify_header(text, header, KEY.hex(), tolerance=300)),
    )


def stripe_event(body: bytes) -> Contestant:
    import stripe

    # An event of its own form, of the same length.
    head = b'{"id":"evt_1","object":"event","type":"ping","data":{"object":{"note":"'
    event = head + b"x" * (len(body) - len(head) - 4) + b'"}}}'
    now = int(time.time())
    mac = hmac.new(KEY.hex().encode(), f"{now}.".encode() + event, hashlib.sha256).hexdigest()
    return Contestant(
        "Stripe construct_event",
        "signature, age, JSON; no nonce memory",
        over_and_over(lambda _: stripe.Webhook.construct_event(event, f"t={now},v1={mac}", KEY.hex())),
    )


def mohawk(body: bytes) -> Contestant:
    from mohawk import Receiver, Sender

    credentials = {"id": KEY_ID, "key": KEY.hex(), "algorithm": "sha256"}
    what = {"url": f"https://{AUTHORITY}/v1/sync", "method": "POST"}
    seen: set[str] = set()

    def is_new(_sender: str, nonce: str, _timestamp: str) -> bool:
        seen.add(nonce)
        return False

    header = Sender(credentials, content=body, content_type="application/json", **what).request_header
    return Contestant(
        "mohawk",
        "signature, digest, age, nonce in a set",
        over_and_over(
            lambda _: Receiver(
                lambda _: credentials,
                header,
                content=body,
                content_type="application/json",
                seen_nonce=is_new,
                **what,
            )
        ),
    )


def itsdangerous(body: bytes) -> Contestant:
    from itsdangerous import TimestampSigner

    signer = TimestampSigner(KEY, digest_method=hashlib.sha256)
    signed = signer.sign(body)
    return Contestant(
        "itsdangerous", "signature, age; no nonce memory", over_and_over(lambda _: signer.unsign(signed, max_age=300))
    )


def slack(body: bytes) -> Contestant:
    from slack_sdk.signature import SignatureVerifier

    verifier = SignatureVerifier(KEY.hex())
    now = str(int(time.time()))
    signature = verifier.generate_signature(timestamp=now, body=body) or ""
    return Contestant(
        "slack_sdk", "signature, age; no nonce memory", over_and_over(lambda _: verifier.is_valid(body, now, signature))
    )


def pyjwt(body: bytes) -> Contestant:
    import jwt

    token = jwt.encode({"exp": int(time.time()) + 300, "body": body.decode()}, KEY, algorithm="HS256")
    return Contestant(
        "PyJWT HS256",
        "signature, expiry, JSON; no nonce memory",
        over_and_over(lambda _: jwt.decode(token, KEY, algorithms=["HS256"])),
    )


def compete(contestants: Sequence[Contestant], seconds: float) -> None:
    """Rounds of all of them in turn, for about so long."""
    until = time.perf_counter() + seconds
    first = True
    while first or time.perf_counter() < until:
        for contestant in contestants:
            contestant.run()
        first = False


def growth(counts: Sequence[int]) -> list[dict[str, float]]:
    """Seconds for one authentication after so many messages, one a second, and what is remembered of them."""
    rows = []
    for count in counts:
        store = MemoryStore()
        for number in range(count):
            moment = NOW + number
            nonce = nonce_from(number.to_bytes(16, "big"))
            store.admit(SignatureFacts(KEY_ID, moment, nonce, "trading-node", b""), moment)
        end = NOW + count
        verifier = Verifier(
            keys={KEY_ID: NodeKey.of(KEY_ID, KEY)}.get, store=store, authorities=[AUTHORITY], now=partial(int, end)
        )
        kept = len(store)
        next_one = Contestant("", "", partial(_new_ones, verifier, end))
        for _ in range(5):
            next_one.run()
        rows.append({"messages": count, "seconds": next_one.best, "kept": kept})
    return rows


def _new_ones(verifier: Verifier, created: int) -> tuple[Callable[[Any], object], Sequence[Any]]:
    return verifier.authenticate, [one(created) for _ in range(BATCH)]


def measure(seconds: float, *, with_peers: bool, with_services: bool) -> dict[str, Any]:
    """Everything, as JSON has it. `seconds` for each size, each store and each server."""
    report: dict[str, Any] = {"sizes": {}, "growth": [], "stores": [], "servers": []}
    for size in SIZES:
        contestants = [floor(size), *ours(size), *(peers(size) if with_peers else ())]
        compete(contestants, seconds)
        least = contestants[0].best
        report["sizes"][str(size)] = [
            {
                "name": each.name,
                "per_second": round(1 / each.best),
                "microseconds": round(each.best * 1e6, 2),
                "times_the_floor": round(each.best / least, 2),
                "checks": each.checks,
            }
            for each in contestants
        ]
    report["growth"] = growth((1_000, 10_000, 100_000))
    if with_services:
        report["stores"] = stores.measure(seconds)
        report["servers"] = servers.measure(seconds)
    return report


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="time for each size, each store and each server (default 5)"
    )
    parser.add_argument("--no-peers", action="store_true", help="ours and the floor alone")
    parser.add_argument("--no-services", action="store_true", help="no stores and servers, which are started here")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    report = measure(given.seconds, with_peers=not given.no_peers, with_services=not given.no_services)
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


def show(report: dict[str, Any]) -> None:
    """Print it for people."""
    for size, rows in report["sizes"].items():
        print(f"\nbody of {int(size):,} bytes{'verified/s':>22}{'µs':>9}{'x floor':>9}  what it checks")
        for row in rows:
            figures = f"{row['per_second']:>14,}{row['microseconds']:>9}{row['times_the_floor']:>9}"
            print(f"  {row['name']:<26}{figures}  {row['checks']}")
    print("\nafter so many messages, one a second          µs     nonces kept")
    for row in report["growth"]:
        print(f"  {row['messages']:>12,}{row['seconds'] * 1e6:>33.2f}{row['kept']:>16,}")
    if report["stores"]:
        print(f"\na whole sync of {stores.SIZE:,} bytes, one after the other     syncs/s        µs  round trips")
        for row in report["stores"]:
            trips = row.get("round_trips", "-")
            print(f"  {row['store']:<40}{row['per_second']:>14,}{row['microseconds']:>10}{trips:>13}")
    for row in report["servers"]:
        print(f"\nuvicorn, {row['server']}, {servers.SIZE:,} bytes                requests/s  of the echo")
        for _, _, what in servers.CONTESTS:
            print(f"  {what:<40}{row[what]['per_second']:>14,}{row[what]['of_the_echo']:>13}")


if __name__ == "__main__":
    main()
