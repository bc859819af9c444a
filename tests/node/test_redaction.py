"""Canaries in every place that a log line can have: none comes out, by its name or by its form."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from node_agent.redaction import redacted

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
