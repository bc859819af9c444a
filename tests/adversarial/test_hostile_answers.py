"""A node takes no answer but the signed one to its own request: nothing else ends in more than a fault of the line."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import pytest

from node_agent.client import Clock, LineFault, ServerAddress, ServerRefused, SignedClient, SigningKey
from node_protocol.refusals import Code, Refused
from node_protocol.signatures import TAG_NODE, MacKey, sign_request, verify_response
from tests.adversarial.hostile import ANSWERS, Case, answered, code_of, each
from tests.protocol.signed import Request
from tests.verifier.nodes import AUTHORITY, NOW, Node, nonce

NODE: Final = Node()
AHEAD: Final = 3600
"""Seconds: the server's clock, which the node learns from what verifies and from nothing else."""
GOOD: Final = next(case for case in ANSWERS if case["name"] == "a good answer")


@each(ANSWERS)
def test_verify_response_knows_why(case: Case) -> None:
    headers = sign_request(
        NODE.secret,
        key_id=NODE.key_id,
        method="POST",
        authority=AUTHORITY,
        path="/v1/sync",
        body=b"{}",
        created=NOW,
        nonce=nonce(),
    )
    asked = Request(headers=(("host", AUTHORITY), *headers), body=b"{}")
    answer = answered(case, NODE.secret, NODE.key_id, asked, NOW)

    def look() -> None:
        verify_response(
            NODE.secret,
            key_id=NODE.key_id,
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            request_signature=asked.mac,
        )

    if code_of(case) == "accepted":
        look()
        return
    with pytest.raises(Refused) as refused:
        look()
    assert (refused.value.code, refused.value.reason) == (Code.UNAUTHENTICATED, case["reason"])


@each(ANSWERS)
def test_a_node_acts_on_none_of_it_and_takes_the_good_answer_after_it(case: Case) -> None:
    asyncio.run(_asked_twice(case))


async def _asked_twice(case: Case) -> None:
    """A client whose first request gets the case's answer, and whose second one gets a good one."""
    left = [case, GOOD]
    server = await asyncio.start_server(lambda *both: _serve(left, *both), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clock = Clock(time.time)
    client = SignedClient(ServerAddress.parse(f"http://127.0.0.1:{port}", insecure_loopback=True), clock)
    key = SigningKey(NODE.key_id, MacKey(NODE.secret), TAG_NODE)
    try:
        if code_of(case) != "accepted":
            with pytest.raises(LineFault):
                await client.post("/v1/sync", b"{}", key)
            assert clock.offset == 0, "a clock was set by what did not verify"
        elif case.get("signed", {}).get("status", 200) >= 400:
            with pytest.raises(ServerRefused):
                await client.post("/v1/sync", b"{}", key)
        else:
            assert await client.post("/v1/sync", b"{}", key)
        assert await client.post("/v1/sync", b"{}", key) == b'{"protocol":1,"commands":[]}'
        assert abs(clock.offset - AHEAD) <= 2
    finally:
        await client.close()
        server.close()


async def _serve(left: list[Case], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request with the next case, as it is, and hangs up."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = tuple((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines))
    method, path, _ = first.split(" ")
    asked = Request(method, path, headers, await reader.readexactly(int(dict(headers)["content-length"])))
    answer = answered(left.pop(0), NODE.secret, NODE.key_id, asked, int(time.time()) + AHEAD)
    told = [f"HTTP/1.1 {answer.status} Told", *(f"{name}: {value}" for name, value in answer.headers)]
    length = f"content-length: {len(answer.body)}"
    writer.write("\r\n".join((*told, length, "connection: close", "", "")).encode("latin-1") + answer.body)
    await writer.drain()
    writer.close()
