"""By whom the server's certificate is believed: the public authorities, or those in the file that the owner names."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from node_agent.client import Clock, LineFault, ServerAddress, SignedClient, SigningKey
from node_agent.config import ConfigError, load, server_trust
from node_protocol.handshake import Token, format_token, token_id_from
from node_protocol.signatures import TAG_NODE, MacKey
from tests.authority import certificates
from tests.support import NodeDir, node_agent, told

KEY = SigningKey("n_abcdefghijklmnopqr23.1", MacKey(bytes(32)), TAG_NODE)


@pytest.fixture
def node(tmp_path: Path) -> NodeDir:
    return NodeDir.made(tmp_path)


async def fault_of(server: Path, trust: ssl.SSLContext | None) -> LineFault:
    """What comes of asking a server of HTTPS that answers 503 to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    address = ServerAddress.parse(f"https://localhost:{port}", insecure_loopback=False)
    line = SignedClient(address, Clock(time.time), trust=trust)
    try:
        with pytest.raises(LineFault) as fault:
            await line.post("/v1/sync", b"{}", KEY)
        return fault.value
    finally:
        await line.close()
        listening.close()


def test_a_server_is_believed_by_the_authority_that_the_owner_names_and_by_no_other(
    node: NodeDir, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    server, authority = certificates(tmp_path)
    _, other = certificates(tmp_path / "other")
    trusts = {
        name: server_trust(load(node.path, {} if path is None else {"NODE_SERVER__CA_FILE": str(path)}))
        for name, path in (("public", None), ("its own", authority), ("another's", other))
    }
    faults = {name: asyncio.run(fault_of(server, trust)) for name, trust in trusts.items()}
    assert {name: fault.status for name, fault in faults.items()} == {"public": None, "its own": 503, "another's": None}
    assert "certificate" in faults["public"].message
    assert "certificate" in faults["another's"].message


def test_registering_takes_it_too(node: NodeDir, tmp_path: Path) -> None:
    nobody = str(tmp_path / "nobody.pem")
    token = format_token(Token(token_id_from(bytes(10)), bytes(32)))
    asked = ["register", "--data-dir", str(node.path), "--server", "https://localhost:1", "--token", token]
    done = node_agent(*asked, NODE_SERVER__CA_FILE=nobody)
    assert told(done, 2) == f"server.ca_file: cannot be used: no such file or directory: {nobody}"


def test_a_file_that_holds_no_certificate_is_named(node: NodeDir, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(ConfigError, match=r"server\.ca_file: cannot be used: it holds no certificate"):
        server_trust(load(node.path, {"NODE_SERVER__CA_FILE": str(empty)}))
