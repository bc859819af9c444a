"""`node-agent fingerprint`: what was found and what would make it more, before `init` and after, and nothing raw."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from node_agent import fingerprint
from node_agent.journal import JOURNAL_FILE, Journal, Registration
from node_agent.lock import LOCK_FILE, DirectoryLock
from node_protocol import fingerprints
from node_protocol.encoding import b64url_encode
from tests.node.planted import CONTAINER, HOST, machine, planted_agent
from tests.support import NodeDir, told

SALT = hashlib.sha256(b"salt").digest()
MOUNT = "-v /etc/machine-id:/etc/machine-id:ro"
RAW = ("c0ffee", "CANARY", "Canary", "0xca7a", "ca0a51ba")


def facts_of(root: Path, *arguments: str | Path) -> dict[str, Any]:
    done = planted_agent(root, "fingerprint", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.fixture
def registered(tmp_path: Path) -> Path:
    """The data directory of a node that is enrolled."""
    node = NodeDir.made(tmp_path)
    with Journal.open(node.path / JOURNAL_FILE) as journal:
        journal.save_registration(
            Registration(
                server="https://bots.example",
                authority="bots.example",
                insecure_loopback=False,
                node_id="n_abcdefghijklmnopqr23",
                key_id="n_abcdefghijklmnopqr23.1",
                salt_id="s1",
                salt=b64url_encode(SALT),
                ticket="1.AAAAAAAAAAAAAAAAAAAAAA",
                registered_at=datetime(2026, 1, 5, tzinfo=UTC),
            )
        )
    return node.path


def test_a_container_is_told_what_it_has_what_it_lacks_and_which_mount_brings_it(tmp_path: Path) -> None:
    done = planted_agent(machine(tmp_path, CONTAINER), "fingerprint", "--data-dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.split()[0] in fingerprints.WEIGHTS] == list(fingerprints.WEIGHTS)
    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "machine_id 30 missing there is no /etc/machine-id"
    assert MOUNT in words[1]
    assert words[2].startswith("storage 25 found lasts ")
    assert words[-2] == "found 62 of 100; a verdict needs 35: enough"
    assert lines[-1].startswith("collected")
    assert " ms; no raw serial leaves this machine" in lines[-1]


def test_before_init_all_but_the_storage_is_told(tmp_path: Path) -> None:
    root = machine(tmp_path / "root")
    for arguments, why in (
        ((), "no data directory was named"),
        (("--data-dir", tmp_path / "node"), f"there is no {tmp_path / 'node'}"),
    ):
        facts = facts_of(root, *arguments)
        missing = [each for each in facts["components"] if not each["found"]]
        assert [(each["name"], each["why_missing"]) for each in missing] == [("storage", why)]
        assert "--data-dir" in missing[0]["to_have_it"]
        assert (facts["weight"], facts["of"], facts["needed"], facts["enough"]) == (75, 100, 35, True)
        assert (facts["server"], facts["digest"]) == (None, None)
        assert 0 < facts["seconds"] < 60
    assert not (tmp_path / "node").exists()


def test_too_little_for_a_verdict_is_a_no_that_says_what_helps(tmp_path: Path) -> None:
    root = machine(tmp_path, {"proc/cpuinfo": CONTAINER["proc/cpuinfo"]})
    for options in ((), ("--json",)):
        done = planted_agent(root, "fingerprint", *options)
        assert told(done, 1) == "found 25 of 100, and a verdict needs 35"
        assert f"hint: machine_id: in a container, add {MOUNT}" in done.stderr
        assert "hint: storage: " in done.stderr
        assert "too little" in done.stdout or not json.loads(done.stdout)["enough"]


def test_once_registered_it_shows_what_the_server_knows_and_nothing_raw(tmp_path: Path, registered: Path) -> None:
    root = machine(tmp_path / "root")
    raw = fingerprint.collect(registered, root)
    salted = fingerprint.salted(raw, SALT)
    facts = facts_of(root, "--data-dir", registered)
    assert {each["name"]: each["salted"] for each in facts["components"]} == salted
    assert (facts["server"], facts["salt_id"]) == ("https://bots.example", "s1")
    assert facts["digest"] == fingerprints.digest(salted)
    text = planted_agent(root, "fingerprint", "--data-dir", registered).stdout
    for shown in (*salted.values(), facts["digest"], "https://bots.example"):
        assert shown in text
    for canary in (*RAW, raw["storage"]):
        assert canary not in text + json.dumps(facts)


def test_it_answers_while_the_node_runs_and_writes_nothing(tmp_path: Path, registered: Path) -> None:
    root = machine(tmp_path / "root")
    with DirectoryLock(registered), Journal.open(registered / JOURNAL_FILE):
        before = (registered / LOCK_FILE).read_bytes(), sorted(registered.iterdir())
        assert facts_of(root, "--data-dir", registered)["weight"] == 100
        assert ((registered / LOCK_FILE).read_bytes(), sorted(registered.iterdir())) == before


def test_a_word_too_many_or_a_file_for_a_directory_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments, why in ((("all",), "unexpected extra argument"), (("--data-dir", tmp_path / "file"), "is a file")):
        assert why in told(planted_agent(tmp_path, "fingerprint", *arguments), 2)


def test_a_journal_that_cannot_be_read_ends_in_one_line(tmp_path: Path, registered: Path) -> None:
    (registered / JOURNAL_FILE).write_bytes(b"no journal" * 500)
    done = planted_agent(machine(tmp_path / "root", HOST), "fingerprint", "--data-dir", registered)
    assert JOURNAL_FILE in told(done, 1)
