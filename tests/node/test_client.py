"""The node's signed line against servers that do not answer as they should: it always ends, and says why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from node_agent import client
from node_agent.client import Clock, LineFault, ServerAddress, SignedClient, SigningKey
from node_protocol.signatures import TAG_NODE, MacKey

KEY = SigningKey("n_abcdefghijklmnopqr23.1", MacKey(bytes(32)), TAG_NODE)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def fault_of(answer: Answer) -> LineFault:
    """What the client makes of a server that answers like this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = ServerAddress.parse(f"http://127.0.0.1:{port}", insecure_loopback=True)
    line = SignedClient(address, Clock(time.time))
    try:
        with pytest.raises(LineFault) as fault:
            await line.post("/v1/sync", b"{}", KEY)
        return fault.value
    finally:
        await line.close()
        server.close()


async def drips(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    for _ in range(1000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def drips_its_head(writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.01)


async def says_nothing(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


@pytest.mark.parametrize("answer", [drips, drips_its_head, says_nothing])
def test_an_answer_has_its_time_however_it_comes(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 0.3)
    began = time.monotonic()
    assert "no answer in time" in asyncio.run(fault_of(answer)).message
    assert time.monotonic() - began < 5


def test_an_answer_that_is_not_signed_is_told_as_that() -> None:
    async def unsigned(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad")

    fault = asyncio.run(fault_of(unsigned))
    assert (fault.message, fault.status) == ("an answer with status 502 that is not signed", 502)


@pytest.mark.parametrize("created", [10**15 - 1, 253_402_300_799, 0])
def test_a_time_that_no_clock_shows_is_not_learnt(created: int) -> None:
    clock = Clock(lambda: 4e9)
    clock.learn(created)
    assert clock.offset == 0
    clock.learn(4_000_000_600)
    assert clock.offset == 600
