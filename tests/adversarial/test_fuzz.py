"""A moment of the fuzzer: nothing that reads the wire raises but what it says, or takes what it should not.

`python -m tests.adversarial.fuzz --seconds 600` looks for longer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_protocol import signatures, strict_json
from node_protocol.signatures import MacKey, SignatureFacts, Unverified
from tests.adversarial import fuzz


def test_nothing_is_found_in_a_moment() -> None:
    outcomes = fuzz.run("a moment", executions=6000).outcomes
    for target in ("request", "body", "response"):
        accepted = outcomes[f"{target}: accepted"]
        everything = sum(count for name, count in outcomes.items() if name.startswith(f"{target}: "))
        assert 0 < accepted < everything / 2, "what is bent must be taken and refused both, or nothing was tried"
    parsers = {name.split(": ")[1] for name in outcomes if name.startswith("parse: ")}
    assert parsers == set(fuzz.PARSERS)


@pytest.mark.parametrize("target", fuzz.TARGETS)
@given(random=st.randoms(use_true_random=False))
def test_nothing_is_found_by_hypothesis_which_makes_a_finding_small(target: str, random: Random) -> None:
    fuzz.TARGETS[target](random)


def test_one_seed_is_one_run() -> None:
    assert fuzz.run("again", executions=300).outcomes == fuzz.run("again", executions=300).outcomes


def test_it_finds_a_check_that_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(self: Unverified, key: MacKey | None, body: bytes) -> SignatureFacts:
        return self.claims

    monkeypatch.setattr(Unverified, "check", lenient)
    monkeypatch.setattr(fuzz, "TARGETS", {**fuzz.TARGETS, "body": fuzz.a_request, "parse": fuzz.a_response})
    with pytest.raises(fuzz.Finding, match=r"accepted, and not what was signed|a nonce was spent|refused as"):
        fuzz.run("planted", executions=3000)


def test_it_finds_a_parser_that_is_lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "_DECODER", json.JSONDecoder(parse_constant=float))  # takes a name twice
    with pytest.raises(fuzz.Finding, match="strict_json differs"):
        fuzz.run("planted", executions=6000)


def test_it_finds_an_exception_that_nobody_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(host: str, scheme: str) -> str:
        return host.encode("ascii").decode().lower()

    monkeypatch.setattr(signatures, "normal_authority", broken)
    with pytest.raises(fuzz.Finding, match="UnicodeEncodeError"):
        fuzz.run("planted", executions=20_000)


def test_a_finding_names_the_execution_that_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "MAX_DEPTH", 1000)
    with pytest.raises(fuzz.Finding, match=r"--seed planted --at (\d+): ") as found:
        fuzz.run("planted", executions=6000)
    number = int(str(found.value).split("--at ")[1].split(":")[0])
    with pytest.raises(fuzz.Finding, match="strict_json differs"):
        fuzz.run_one("planted", number)


def test_the_command_tells_what_it_did() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.adversarial.fuzz", "--seconds", "0.2", "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("seed 7: ")
    assert "executions in " in done.stdout
    assert "/s, no finding" in done.stdout
