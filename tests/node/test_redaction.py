"""Canaries in every place that a log line can have: none comes out, by its name or by its form."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from node_agent.redaction import Secrets, redacted

TOKEN = "nt_" + "a" * 16 + "_" + "b" * 43
FERNET = Fernet(Fernet.generate_key()).encrypt(b"x").decode()


@pytest.mark.parametrize(
    "value",
    [
        f"enrol with {TOKEN} now",
        pytest.param(FERNET, id="a Fernet token"),  # made anew each run: as an id, no two workers would agree on it
        "Authorization: Bearer abcdefghijklmnop",
        "node=:" + "A" * 43 + "=:",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----",
        "https://user:hunter2@bots.example/",
        f"key file: {TOKEN.encode()!r}",
    ],
)
def test_a_secret_is_hidden_by_its_form_wherever_it_stands(value: str) -> None:
    for place in (value, [value], {"x": {"y": [value]}}, value.encode(), ValueError(value), (1, value)):
        shown = json.dumps(redacted(place))
        assert "[redacted]" in shown
        for secret in (TOKEN, FERNET, "hunter2", "MHc", "abcdefghijklmnop", "A" * 43, "c2lnbmF0dXJl"):
            assert secret not in shown


@given(
    st.sampled_from(["key", "api_key", "secret", "token", "Authorization", "vault_passphrase", "signature", "seed"]),
    st.text(min_size=8),
)
def test_a_secret_is_hidden_by_the_name_of_its_field(name: str, canary: str) -> None:
    assert redacted({"event": {name: canary}}) == {"event": {name: "[redacted]"}}


@pytest.mark.parametrize(
    "name",
    [
        "API-Sign",
        "API-Key",
        "OK-ACCESS-SIGN",
        "OK-ACCESS-PASSPHRASE",
        "X-MBX-APIKEY",
        "x-signature",
        "privateKey",
        "sig",
    ],
)
def test_a_secret_is_hidden_by_the_name_that_an_exchange_gives_its_field(name: str) -> None:
    assert redacted({"headers": {name: "canary"}}) == {"headers": {name: "[redacted]"}}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /api/v3/order?symbol=BTC&signature=canary&x=1", "GET /api/v3/order?symbol=BTC&signature=[redacted]&x=1"),
        ("{'API-Sign': 'canary/+==', 'API-Key': 'canary'}", "{'API-Sign': '[redacted]', 'API-Key': '[redacted]'}"),
        ('{"OK-ACCESS-SIGN": "canary=", "code": 1}', '{"OK-ACCESS-SIGN": "[redacted]", "code": 1}'),
        ("OK-ACCESS-PASSPHRASE: canary\r\nAccept: */*", "OK-ACCESS-PASSPHRASE: [redacted]\r\nAccept: */*"),
        ("x-signature: canary", "x-signature: [redacted]"),
        ("{'X-MBX-APIKEY': 'canary'}", "{'X-MBX-APIKEY': '[redacted]'}"),
        ("b'POLY_SIGNATURE': b'0xcanary'", "b'POLY_SIGNATURE': b'[redacted]'"),
        (r'"{\"api_key\":\"canary\",\"sig\":\"canary\"}"', r'"{\"api_key\":\"[redacted]\",\"sig\":\"[redacted]\"}"'),
        ("passphrase=canary", "passphrase=[redacted]"),
        ("passphrase: canary", "passphrase: [redacted]"),
        ("NODE_VAULT_PASSPHRASE=canary", "NODE_VAULT_PASSPHRASE=[redacted]"),
        ("privateKey = 'canary'", "privateKey = '[redacted]'"),
        ("the signature: canarycanary0000 is wrong", "the signature: [redacted] is wrong"),
        ("sent as Bearer canary.of.it, twice", "sent as Bearer [redacted], twice"),
        ("Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==", "Authorization: [redacted]"),
        ("{'authorization': 'Signature canary, x'}", "{'authorization': '[redacted]'}"),
        ("wss://canary:canary@proxy:8080/x?y=1", "wss://[redacted]@proxy:8080/x?y=1"),
        ("socks5://canary@proxy", "socks5://[redacted]@proxy"),
        ("http://u:canary@canary@proxy", "http://[redacted]@proxy"),
        (r"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n", r"[redacted]\n"),
        ("-----BEGIN EC PRIVATE KEY-----\ncanary, cut", "[redacted]"),
        ("jwt eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5", "jwt [redacted]"),
    ],
)
def test_what_exchanges_call_a_secret_is_hidden_with_no_more_than_it(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "invalid signature: try again",
        "this vault is opened by a passphrase, not by a key file",
        "NODE_VAULT_PASSPHRASE_FILE: cannot read /run/secrets/passphrase",
        "config.toml: vault.key_file: no such key",
        "next: node-agent register --data-dir node --server https://… --token nt_…",
        "GET https://api.exchange.example:443/api/v3/order?symbol=BTC/USD&email=a@b.example",
        "2026-01-01T00:00:00.000Z",
        '{"token": null, "secret": true, "key_id": "n_x.1", "digest": "0123456789ab"}',
        "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
        "a signal: buy; the design=plain; tokens: 3",
        "bearer of news",
    ],
)
def test_words_that_only_sound_like_a_secret_stay(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "unit", ["a", "a-", "sig-", "eyJ", "://", "YWFh", "-----BEGIN PRIVATE KEY-----", "secret: a", "\\"]
)
def test_no_text_takes_long_to_look_at(unit: str) -> None:
    secrets = Secrets()
    secrets.hide("aaaaaaaaaaaa")
    began = time.process_time()
    secrets.redacted("sig secret key " + unit * (100_000 // len(unit)))
    assert time.process_time() - began < 5


def test_what_is_no_secret_stays() -> None:
    event = {"event": "order.filled", "key_id": "n_x.1", "seq": 5, "price": "40000", "none": None, "token": None}
    assert redacted(event) == event


def test_tracebacks_and_other_libraries_logs_are_redacted_too() -> None:
    code = f"""
import logging, structlog
from node_agent.redaction import configure
configure(json=True, level="info")
log = structlog.get_logger("x")
try:
    raise ValueError("{TOKEN}")
except ValueError:
    log.exception("failed", headers={{"Authorization": "canary-one"}}, url="https://u:canary-two@x/")
logging.getLogger("httpx").warning("GET %s", "{TOKEN}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    assert "ValueError" in done.stderr
    assert "GET [redacted]" in done.stderr
    for canary in (TOKEN, "canary-one", "canary-two"):
        assert canary not in done.stderr
