"""No raw value of the machine leaves it: canaries planted, then every byte to the server and every file searched."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from node_agent import fingerprint
from node_agent.journal import JOURNAL_FILE, Journal
from node_protocol import fingerprints
from node_protocol.encoding import b64url_decode
from tests import tap
from tests.control_plane.support import ServerProcess
from tests.node.planted import HOST, NVME, PlantedProcess, machine, planted_agent
from tests.support import NodeDir, until

wire, server = tap.wire, tap.server


def forms(value: str) -> Iterator[bytes]:
    """A value as it could be written: as it is, hex, base64 at any place in it, URL-encoded, as JSON; or as a hash that
    has no salt, from which a short serial number is found by trying.
    """
    raw = value.encode()
    yield from (raw, raw.lower(), raw.upper(), quote(value, safe="").encode(), json.dumps(value)[1:-1].encode())
    for each in (raw, *(hashlib.new(name, raw, usedforsecurity=False).digest() for name in ("md5", "sha1", "sha256"))):
        yield from (each.hex().encode(), each.hex().upper().encode())
        for before in range(3):
            # The first characters hold bits of what stands before, the last ones of what comes after.
            text = base64.b64encode(bytes(before) + each).rstrip(b"=")[4 if before else 0 : -1]
            yield from (text, text.translate(bytes.maketrans(b"+/", b"-_")))


def betrayed(place: bytes, values: set[str]) -> set[str]:
    """Which of the values are there, in whatever form."""
    return {value for value in values if any(form in place for form in forms(value))}


def canaries(root: Path, data_dir: Path) -> set[str]:
    """Every raw value that is long enough not to be there by chance, and each planted line that it is made of."""
    raw = fingerprint.collect(data_dir, root)
    lines = {line.partition("=")[2] or line for value in raw.values() for line in value.splitlines()}
    planted = {text.strip() for text in (*HOST.values(), *NVME.values()) if "\n" not in text.strip()}
    return {each for each in {*raw.values(), *lines, *planted, raw["storage"].partition(":")[0]} if len(each) >= 8}


@pytest.mark.parametrize("write", [str, str.upper, quote, lambda each: each.encode().hex()])
def test_the_search_finds_what_is_there(write: object) -> None:
    assert callable(write)
    assert betrayed(f"... {write('CANARY NVME')} ...".encode(), {"CANARY NVME"})
    for before in ("", "a", "ab"):
        assert betrayed(base64.urlsafe_b64encode(f"{before}CANARY>>?>NVME and more".encode()), {"CANARY>>?>NVME"})
    assert betrayed(hashlib.sha256(b"CANARY").hexdigest().encode(), {"CANARY"})
    assert not betrayed(b"nothing of it", {"CANARY NVME"})


def test_no_raw_serial_is_in_a_byte_that_is_sent_or_in_a_file_that_is_kept(
    tmp_path: Path, wire: tap.Tap, server: ServerProcess
) -> None:
    root = machine(tmp_path / "root")
    node = NodeDir.made(tmp_path)
    register = ("register", "--data-dir", node.path, "--server", wire.url, "--insecure-loopback")
    done = planted_agent(root, *register, "--token", server.token())
    assert done.returncode == 0, done.stderr
    enrolled = len(wire.sent)
    with PlantedProcess(root, node, NODE_LOG__LEVEL="debug") as process:
        until(lambda: node.status()["last_sync_at"], "a sync")
        process.stop()
    with Journal.open_read_only(node.path / JOURNAL_FILE) as journal:
        registration = journal.registration()
    assert registration is not None
    salt = b64url_decode(registration.salt, length=len(registration.salt) * 3 // 4)
    for name, value in fingerprint.collect(node.path, root).items():
        salted = fingerprints.salted(salt, name, value).encode()
        assert salted in wire.sent[:enrolled], f"the planted machine did not enrol: {name}"
        assert salted in wire.sent[enrolled:], f"the planted machine did not sync: {name}"
    values = canaries(root, node.path)
    assert {"c0ffee00c0ffee11c0ffee22c0ffee33", "CANARY-NVME-SERIAL", "Canary Processor 9000"} <= values
    assert betrayed(wire.sent, values) == set()
    assert betrayed((done.stdout + done.stderr).encode(), values) == set()
    kept = [each for home in (node.path, server.data_dir) for each in home.rglob("*") if each.is_file()]
    assert {"run.log", JOURNAL_FILE, "vault.json"} <= {each.name for each in kept}
    for each in kept:
        assert betrayed(each.read_bytes(), values) == set(), each.name
