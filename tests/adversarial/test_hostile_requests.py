"""Every spelling of a request but the one legal one is refused: by the library each for its own reason, by the server
with one answer for all. The cases are data, so that another language could run them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_protocol.refusals import Code, Refused
from tests.control_plane.support import Node, Reply, ServerProcess, enrolled, exchange, request_bytes
from tests.protocol.signed import Request, signed, verified

CASES = json.loads((Path(__file__).parent / "hostile_requests.json").read_text())["cases"]


def each(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of a server that is there for all cases: none of them may change anything."""
    server = ServerProcess(tmp_path_factory.mktemp("hostile") / "server").start()
    yield enrolled(server.address, server.token())
    server.end()


def bent(request: Request, case: dict[str, Any]) -> Request:
    """The good request with this case's one fault."""
    created, nonce, key_id = re.findall(
        r'created=(\d+);nonce="(.+)";keyid="(.+)";alg', request.header("signature-input")
    )[0]
    values = {
        "{created}": created,
        "{nonce}": nonce,
        "{nonce-of-21}": nonce[:-1],
        "{keyid}": key_id,
        "{input}": request.header("signature-input"),
        "{signature}": request.header("signature"),
        "{digest}": request.header("content-digest"),
        "{mac}": request.header("signature").removeprefix("node=:").removesuffix(":"),
    }

    def filled(text: str) -> str:
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    if "without" in case:
        return request.without(case["without"])
    if "plus" in case:
        return request.plus(case["plus"][0], filled(case["plus"][1]))
    if "header" in case:
        return request.replaced(case["header"], filled(case["value"]))
    if "append" in case:
        return request.replaced("signature-input", values["{input}"] + filled(case["append"]))
    if "replace" in case:
        before, after = map(filled, case["replace"])
        assert before in values["{input}"]
        return request.replaced("signature-input", values["{input}"].replace(before, after))
    return request._replace(path=case.get("path", request.path), method=case.get("method", request.method))


def test_the_request_that_is_bent_is_good() -> None:
    assert verified(signed()).tag == "trading-node"


@each(CASES)
def test_the_library_refuses_it_and_knows_why(case: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        verified(bent(signed(), case))
    assert (refused.value.code, refused.value.reason) == (Code.UNAUTHENTICATED, case["reason"])


@each([case for case in CASES if "no_http" not in case])
def test_the_server_refuses_it_like_all_others_and_takes_the_good_one_after_it(
    node: Node, case: dict[str, Any]
) -> None:
    body = json.dumps(node.message()).encode()
    good = Request(headers=tuple(node.signer.sign("/v1/sync", body)), body=body)
    refused = over_the_line(node, bent(good, case))
    assert refused.refusal == (401, "unauthenticated", False)
    assert sorted(refused.json) == ["code", "status", "title", "type"]
    taken = over_the_line(node, good)
    assert taken.status == 200, "the same request without the fault: the refused one has spent and moved nothing"
    node.ticket = taken.json["ticket"]


def over_the_line(node: Node, request: Request) -> Reply:
    """The server's answer to exactly these bytes."""
    message = request_bytes(request.path, request.headers, request.body, method=request.method)
    return exchange(node.signer.address, message)
