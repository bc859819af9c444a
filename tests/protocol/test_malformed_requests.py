"""Every spelling of a request but the one legal one is refused, each for its own reason. The cases are data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_protocol.refusals import Code, Refused
from tests.protocol.signed import Request, signed, verified

CASES = json.loads((Path(__file__).parent / "data/malformed_requests.json").read_text())["cases"]


def bent(case: dict[str, Any]) -> Request:
    request = signed()
    values = {
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
        return request.replaced("signature-input", values["{input}"] + case["append"])
    if "replace" in case:
        before, after = case["replace"]
        assert before in values["{input}"]
        return request.replaced("signature-input", values["{input}"].replace(before, after))
    return request._replace(path=case.get("path", request.path), method=case.get("method", request.method))


def test_the_request_that_is_bent_is_good() -> None:
    assert verified(signed()).tag == "trading-node"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        verified(bent(case))
    assert (refused.value.code, refused.value.reason) == (Code.UNAUTHENTICATED, case["reason"])
