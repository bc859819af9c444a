"""The site's TLS at Mozilla's intermediate level, by sslyze, which has an environment of its own."""

from __future__ import annotations

import datetime
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socket import create_server, socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.compose.site import Site
from tests.image.engine import ROOT

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("compose")]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FOLDER = f".venv/scan-{PYTHON}"
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


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
    server, authority = _certificates(folder)
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


def _certificates(folder: Path) -> tuple[Path, Path]:
    """A server's key and certificate, and that of its authority."""
    key, authority_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = (
        _certificate("authority", authority_key.public_key(), "authority")
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    own = (
        _certificate("localhost", key.public_key(), "authority")
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(by, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    server, trusted = folder / "server.pem", folder / "authority.pem"
    server.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + own.public_bytes(pem))
    trusted.write_bytes(authority.public_bytes(pem))
    return server, trusted


def _certificate(subject: str, key: ec.EllipticCurvePublicKey, issuer: str) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
    )
    builder = builder.public_key(key).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
        now + datetime.timedelta(days=30)
    )


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
