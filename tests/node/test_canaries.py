"""No secret of a node leaves it or is written down: canaries planted, then every byte searched, on a node of its own.

Without a real exchange: its key lies in the vault, and the node trades on paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from node_agent import exchange_keys
from node_agent.enrol import node_key_name
from node_agent.exchange_keys import ExchangeKey
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.vault import Vault, VaultKey
from node_protocol.handshake import parse_token
from tests import tap
from tests.control_plane.support import ServerProcess
from tests.node.secrets_written import PEM, encoded, lines, spelled
from tests.node.values import START
from tests.support import CANDLES, NodeDir, NodeProcess, node_agent, until

PASSPHRASE = "canary of a passphrase, with blanks"
EXCHANGE_KEY = {"key": "canary-organization/api+key", "secret": PEM}


wire, server = tap.wire, tap.server


def forms(secret: str | bytes) -> Iterator[bytes]:
    """A secret as it could be written."""
    if isinstance(secret, bytes):
        yield from (secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode())
        secret = secret.decode("latin-1")
    for each in (*spelled(secret), *encoded(secret), *(form for line in lines(secret) for form in spelled(line))):
        yield each.encode()


def betrayed(place: bytes, secrets: Mapping[str, str | bytes]) -> set[str]:
    """Which secrets are there, in whatever form."""
    return {name for name, secret in secrets.items() if any(form in place for form in forms(secret))}


@pytest.mark.parametrize("write", [str, str.encode, repr])
def test_the_search_finds_what_is_there(write: type) -> None:
    for secret in (PASSPHRASE, *EXCHANGE_KEY.values()):
        assert betrayed(f"... {write(secret)} ...".encode(), {"it": secret}) == {"it"}
    assert betrayed(b"... " + bytes(range(32)).hex().encode(), {"it": bytes(range(32))}) == {"it"}
    assert betrayed(b"nothing of it", {"it": PASSPHRASE}) == set()


@pytest.mark.parametrize("opened_by", ["key file", "passphrase"])
def test_no_secret_of_a_node_is_in_a_byte_that_is_sent_said_or_kept(
    tmp_path: Path, wire: tap.Tap, server: ServerProcess, opened_by: str
) -> None:
    node = NodeDir(tmp_path / "node", tmp_path / "vault.key")
    said: list[str] = []
    environ: dict[str, str] = {}

    def agent(code: int, *arguments: str | Path, **more: str) -> None:
        done = node_agent(*arguments, "--data-dir", node.path, **environ | more)
        assert done.returncode == code, done.stderr
        said.append(done.stdout + done.stderr)

    with_key: tuple[str | Path, ...] = ("--vault-key-file", node.key_file)
    if opened_by == "passphrase":
        environ, with_key = {"NODE_VAULT_PASSPHRASE": PASSPHRASE}, ()
    agent(0, "init", "--paper", "--candles", CANDLES, "--non-interactive", *with_key)
    key = VaultKey.from_file(node.key_file) if with_key else VaultKey.from_passphrase(SecretStr(PASSPHRASE))
    parts = {name: SecretStr(part) for name, part in EXCHANGE_KEY.items()}
    exchange_keys.keep(Vault.open(node.path / "vault.json", key), ExchangeKey("coinbase", parts, START))

    token = server.token()
    register = ("register", "--server", wire.url, "--insecure-loopback", "--token")
    agent(2, *register, token[:-1])
    agent(0, *register, token)
    agent(3, *register, token, "--replace")
    agent(0, "keys", "list")
    agent(2, "run", NODE_VAULT__KEY_FILE=str(CANDLES), NODE_VAULT_PASSPHRASE="")
    with NodeProcess(node, "--speed", "6000", NODE_LOG__LEVEL="debug", **environ) as process:
        until(lambda: node.status()["events"]["acknowledged"] or None, "reports that the server has")
        process.stop()

    with Journal.open_read_only(node.path / JOURNAL_FILE) as journal:
        registration = journal.registration()
    assert registration is not None
    node_key = Vault.open(node.path / "vault.json", key).get(node_key_name(registration.key_id))
    assert node_key is not None
    secrets: dict[str, str | bytes] = {
        **EXCHANGE_KEY,
        "token": token.split("_", 2)[2],
        "token's bytes": parse_token(token).secret,
        "node key": node_key.get_secret_value(),
        "vault": node.key_file.read_text().strip() if with_key else PASSPHRASE,
    }
    assert registration.key_id.encode() in wire.sent
    assert betrayed(wire.sent, secrets) == set()
    assert betrayed("".join(said).encode(), secrets) == set()
    kept = [each for home in (node.path, server.data_dir) for each in home.rglob("*") if each.is_file()]
    assert {"run.log", JOURNAL_FILE, "vault.json"} <= {each.name for each in kept}
    for each in kept:
        assert betrayed(each.read_bytes(), secrets) == set(), each.name
