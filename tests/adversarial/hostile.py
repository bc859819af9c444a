"""The hostile lists as requests: what the words of `hostile_*.json` mean, and nothing of who judges them."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import pytest

from node_protocol.refusals import Code
from node_protocol.signatures import TAG_NODE, nonce_from, sign_request, sign_response, signature_of
from tests.protocol.signed import Request

Case: TypeAlias = dict[str, Any]


def _listed(theme: str) -> Any:
    return json.loads((Path(__file__).parent / f"hostile_{theme}.json").read_text("utf-8"))


CASES: Final[list[Case]] = _listed("requests")["cases"]
ANSWERS: Final[list[Case]] = _listed("requests")["answers"]
ENROLMENTS: Final[list[Case]] = _listed("enrolments")["enrolments"]
ROTATIONS: Final[list[Case]] = _listed("enrolments")["rotations"]
UNSIGNED: Final = (Code.UNAUTHENTICATED, Code.TOO_LARGE)
"""The refusals that come before the signature was seen to be good."""


@dataclass(frozen=True)
class Sender:
    """A node's key, and what it signs for."""

    key: bytes
    key_id: str
    authority: str
    now: int
    """The judge's clock."""
    other_key_id: str
    """Of another node that the judge knows."""
    path: str = "/v1/sync"
    tag: str = TAG_NODE

    def sign(self, body: bytes, nonce: str, signed: Mapping[str, Any]) -> Request:
        """A request with a good signature, made with the values that the list calls `signed`."""
        values = {name: _filled(value, self.values) for name, value in signed.items() if name != "seconds"}
        path, method = values.get("path", self.path), values.get("method", "POST")
        authority = values.get("authority", self.authority)
        headers = sign_request(
            bytes(32) if signed.get("key") == "of zeros" else self.key,
            key_id=values.get("keyid", self.key_id),
            method=method,
            authority=authority,
            path=path,
            body=body,
            created=self.now + signed.get("seconds", 0),
            nonce=nonce,
            tag=values.get("tag", self.tag),
        )
        return Request(method=method, path=path, headers=(("host", authority), *headers), body=body)

    @property
    def values(self) -> dict[str, str]:
        """The placeholders that stand for who and where."""
        node = self.key_id.partition(".")[0]
        return {"{other-keyid}": self.other_key_id, "{node}": node, "{authority}": self.authority}

    def signed_as_sent(self, request: Request) -> Request:
        """The request with a MAC over just what is sent: its form alone is left to be refused."""
        found = {name.lower(): value for name, value in request.headers}
        parameters = found.get("signature-input", "").removeprefix("node=")
        names = ("content-type", "content-digest")
        lines = [f'"@method": {request.method}', f'"@authority": {found.get("host", "")}', f'"@path": {request.path}']
        lines += [f'"{name}": {found.get(name, "")}' for name in names]
        base = "\n".join((*lines, f'"@signature-params": {parameters}'))
        mac = b64encode(hmac.digest(self.key, base.encode("utf-8", "surrogatepass"), "sha256")).decode()
        return request.replaced("signature", f"node=:{mac}:")


def each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """A test of each of these cases, by its name."""
    return pytest.mark.parametrize("case", list(cases), ids=lambda case: case["name"])


def code_of(case: Case) -> str:
    """What is to come of a case: a code, or `accepted`."""
    return str(case.get("code", Code.UNAUTHENTICATED))


def both(case: Case, sender: Sender, message: Mapping[str, Any], nonces: tuple[str, str], **more: str) -> Both:
    """The good request, and what the case makes of it; `more` are placeholders of its body."""
    good = sender.sign(json.dumps(message).encode(), nonces[0], {})
    evil = good
    if "body" in case or "signed" in case:
        values = {f"{{{name.replace('_', '-')}}}": value for name, value in more.items()}
        nonce = nonces[0 if "again" in case else 1]
        evil = sender.sign(body_of(case.get("body", {}), message, values), nonce, case.get("signed", {}))
    evil = bent(evil, case, sender.values)
    return Both(good, sender.signed_as_sent(evil) if "as_sent" in case else evil)


class Both(NamedTuple):
    """A request as it should be, and as a case has it."""

    good: Request
    evil: Request


def body_of(words: Mapping[str, Any], message: Mapping[str, Any], values: Mapping[str, str]) -> bytes:
    """The bytes that the list's `body` stands for, made from a good message."""
    value = json.loads(json.dumps(message))
    for path, what in words.get("set", {}).items():
        place, last = _place(value, path)
        place[last] = _value(_filled(what, values))
    for path in words.get("without", ()):
        place, last = _place(value, path)
        del place[last]
    text = json.dumps(value)
    for before, after in words.get("replace", ()):
        assert before in text, before
        text = text.replace(before, _filled(after, values), 1)
    text = words.get("text", "{message}").replace("{message}", text)
    body: bytes = text.encode(words.get("encoding", "utf-8"), "surrogatepass")
    body = bytes.fromhex(words.get("hex_before", "")) + body + bytes.fromhex(words.get("hex_behind", ""))
    return body.ljust(int(words.get("size", 0)))


def _place(value: Any, path: str) -> tuple[Any, str]:
    *way, last = path.split(".")
    for step in way:
        value = value[step]
    return value, last


def _value(what: Any) -> Any:
    """A value of `set`: JSON itself, or one of two words for what is too long to write down."""
    match what:
        case {"events": [int(first), int(count)]}:
            return [event(number) for number in range(first, first + count)]
        case {"levels": int(levels)}:
            value: Any = {}
            for _ in range(levels - 1):
                value = {"x": value}
            return value
        case {"copies": [item, int(count)]}:
            return [item] * count
        case _:
            return what


def event(seq: int) -> dict[str, Any]:
    """A good event."""
    at = "2026-11-24T09:00:00.000Z"
    return {"seq": seq, "id": f"ev_{seq}", "at": at, "type": "node.note", "data": {"text": f"note {seq}"}}


def bent(request: Request, case: Mapping[str, Any], more: Mapping[str, str] = MappingProxyType({})) -> Request:
    """A good request with what this case does to it on the way; `more` are further placeholders."""
    values = {**_values_of(request), **more}
    if "without" in case:
        request = request.without(case["without"])
    if "header" in case:
        request = request.replaced(case["header"], _filled(case["value"], values))
    if "plus" in case:
        request = request.plus(case["plus"][0], _filled(case["plus"][1], values))
    if "append" in case:
        request = request.replaced("signature-input", values["{input}"] + _filled(case["append"], values))
    if "replace" in case:
        before, after = (_filled(text, values) for text in case["replace"])
        assert before in values["{input}"], before
        request = request.replaced("signature-input", values["{input}"].replace(before, after))
    if "sent" in case:
        old, new = (text.encode() for text in case["sent"])
        assert old in request.body
        request = request._replace(body=request.body.replace(old, new, 1))
    if case.get("names") == "upper":
        request = request._replace(headers=tuple((name.upper(), value) for name, value in request.headers))
    return request._replace(
        path=_filled(case.get("path", request.path), values), method=case.get("method", request.method)
    )


def _values_of(request: Request) -> dict[str, str]:
    found = re.findall(r'created=(\d+);nonce="(.+)";keyid="(.+)";alg', request.header("signature-input"))
    created, nonce, key_id = found[0]
    mac = request.header("signature").removeprefix("node=:").removesuffix(":")
    digest = request.header("content-digest").removeprefix("sha-256=:").removesuffix(":")
    sha512 = b64encode(hashlib.sha512(request.body).digest()).decode()
    other = b64encode(hashlib.sha256(b"another body").digest()).decode()
    return {
        "{created}": created,
        "{nonce}": nonce,
        "{nonce-of-21}": nonce[:-1],
        "{keyid}": key_id,
        "{input}": request.header("signature-input"),
        "{signature}": request.header("signature"),
        "{digest}": request.header("content-digest"),
        "{host}": request.header("host"),
        "{mac}": mac,
        "{mac-url}": "-_" + mac[2:],
        "{mac-set}": mac[:-2] + _with_set_bit(mac[-2]) + "=",
        "{mac-of-31}": b64encode(b64decode(mac)[:31]).decode(),
        "{mac-of-16}": b64encode(b64decode(mac)[:16]).decode(),
        "{mac-of-33}": b64encode(b64decode(mac) + b"\0").decode(),
        "{mac-open}": mac.rstrip("="),
        "{mac-hex}": b64decode(mac).hex(),
        "{sha256}": digest,
        "{sha256-open}": digest.rstrip("="),
        "{sha256-hex}": b64decode(digest).hex(),
        "{sha256-other}": other,
        "{sha512}": sha512,
        "{sha256-url}": "-_" + digest[2:],
        "{sha256-set}": digest[:-2] + _with_set_bit(digest[-2]) + "=",
    }


def _with_set_bit(letter: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return alphabet[alphabet.index(letter) | 1]


def _filled(text: Any, values: Mapping[str, str]) -> Any:
    """A text with its placeholders filled in; all else as it is."""
    if not isinstance(text, str):
        return text
    for name, value in values.items():
        text = text.replace(name, value)
    text = re.sub(r"\{(\d+) deep\}", lambda found: "[" * int(found[1]) + "]" * int(found[1]), text)
    return re.sub(r"\{(\d+) of (.)\}", lambda found: found[2] * int(found[1]), text)


@dataclass(frozen=True)
class Answered:
    """All of one answer."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def answered(case: Mapping[str, Any], key: bytes, key_id: str, asked: Request, now: int) -> Answered:
    """An answer as the list's `answers` have it: a good one to this request, and its one fault."""
    signed = case.get("signed", {})
    refused = signed.get("status", 200) >= 400
    body = b'{"code":"suspended"}' if refused else b'{"protocol":1,"commands":[]}'
    bound_to = bytes(32) if signed.get("of") == "another request" else signature_of(asked.headers)
    headers = sign_response(
        bytes(32) if signed.get("key") == "of zeros" else key,
        key_id=signed.get("keyid", key_id),
        status=signed.get("status", 200),
        body=body,
        request_signature=bound_to,
        created=now,
        nonce=nonce_from(bytes(16)),
        tag=signed.get("tag", TAG_NODE),
    )
    if case.get("whole") == "the request":
        headers, body = [line for line in asked.headers if line[0] != "host"], asked.body
    more = {"{asked-signature}": asked.header("signature")}
    answer = bent(Request(headers=(("host", "bots.example"), *headers), body=body), case, more)
    kept = [(name, value) for name, value in answer.headers if name != "host"]
    return Answered(case.get("status", signed.get("status", 200)), kept, answer.body)
