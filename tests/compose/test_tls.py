"""The site's TLS at Mozilla's intermediate level, by sslyze, which has an environment of its own."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socket import create_server, socket

import pytest

from tests.authority import certificates
from tests.compose.site import Site
from tests.image.engine import ROOT

pytestmark = pytest.mark.timeout(1800)

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FOLDER = f".venv/scan-{PYTHON}"


def scanned(port: int, authority: Path) -> tuple[bool, str]:
    """Whether sslyze finds a server on this machine to be as Mozilla's intermediate level has it, and what it says."""
    python = ROOT / FOLDER / "bin/python"
    # `made-of` is the last thing that scripts/venv writes
    if not (ROOT / FOLDER / "made-of").exists():
        pytest.fail(f"{FOLDER}, sslyze's own environment, is not there: scripts/venv python{PYTHON} scan {FOLDER}")
    level = ["--mozilla_config", "intermediate", "--certinfo_ca_file", str(authority)]
    done = subprocess.run(
        [python, "-W", "ignore", "-m", "sslyze", *level, f"localhost:{port}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    verdict = done.stdout.partition("COMPLIANCE")[2]
    assert f"localhost:{port}" in verdict, done.stdout + done.stderr
    return done.returncode == 0 and "OK - Compliant" in verdict, verdict


@contextmanager
def serving(folder: Path, ciphers: str | None) -> Iterator[tuple[int, Path]]:
    """A server of TLS 1.2 and later on loopback, or of TLS 1.2 and these ciphers alone; its port and authority."""
    server, authority = certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    context.set_ecdh_curve("prime256v1")
    # as the intermediate level wants it: a client says what it does best
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(ciphers or "ECDHE+AESGCM:ECDHE+CHACHA20")
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context), daemon=True).start()
        yield listener.getsockname()[1], authority


def _accept(listener: socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            threading.Thread(target=_talk, args=(listener.accept()[0], context), daemon=True).start()


def _talk(connection: socket, context: ssl.SSLContext) -> None:
    connection.settimeout(5)
    with closing(connection), suppress(OSError), context.wrap_socket(connection, server_side=True) as line:
        while line.recv(4096):
            line.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_the_site_is_as_mozillas_intermediate_level_has_it(site: Site) -> None:
    good, verdict = scanned(site.https_port, site.secrets / "ca.crt")
    assert good, verdict


def test_the_same_scan_tells_a_weak_server_from_a_good_one(tmp_path: Path) -> None:
    with serving(tmp_path, None) as (port, authority):
        good, verdict = scanned(port, authority)
        assert good, verdict
    with serving(tmp_path, "ECDHE-ECDSA-AES128-SHA") as (port, authority):
        good, verdict = scanned(port, authority)
        assert not good
        assert "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA" in verdict
