"""The signature profile: one legal form of an HTTP message signature (RFC 9421) over JSON, with HMAC-SHA256.

A message has one signature, labelled `node`, over a fixed list of components in a fixed order:

    request    "@method" "@authority" "@path" "content-type" "content-digest"
    response   "@status" "content-type" "content-digest" "signature";req;key="node"

with the parameters created, nonce, keyid, alg and tag, each once, in any order. Whoever reads does so in three steps:

    1. form      `parse_request`, `parse_response`: the headers have the one legal form; gives `Unverified`
    2. MAC       `Unverified.check`: signature and digest, each compared once in constant time; gives `SignatureFacts`
    3. meaning   freshness, nonce and what follows are the verifier's: there is no clock here

`verify_request` and `verify_response` are steps 1 and 2 for who has one key at hand. Every refusal is `Refused` with
the code `unauthenticated`; only its `reason`, for logs, tells one from another. Signing the illegal raises `Misuse`.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Final, Literal, TypeAlias

from node_protocol.encoding import b64url_encode
from node_protocol.refusals import PROBLEM_CONTENT_TYPE, Code, Misuse, Refused

TAG_NODE: Final = "trading-node"
"""The `tag` of all messages of an enrolled node."""

TAG_ENROLL: Final = "trading-node-enroll"
"""The `tag` of an enrolment and of its answer, whose key is the token's secret."""

JSON_CONTENT_TYPE: Final = "application/json"
ALGORITHM: Final = "hmac-sha256"
KEY_BYTES: Final = 32
"""Length of a key, and the least that `MacKey` takes."""

Headers: TypeAlias = Collection[tuple[str, str]]
"""Header lines as they came, name and value; a name may come twice, and then it is seen to."""

Scheme: TypeAlias = Literal["https", "http"]

_REQUEST_COMPONENTS: Final = '("@method" "@authority" "@path" "content-type" "content-digest")'
_RESPONSE_COMPONENTS: Final = '("@status" "content-type" "content-digest" "signature";req;key="node")'

# In the next four nothing is found by going back into a repetition: possessive, they are quicker.
_KEY_ID: Final = r"[A-Za-z0-9._~-]{1,64}+"
_NONCE: Final = r"[A-Za-z0-9_-]{21}+[AQgw]"  # 22 characters are 132 bits: the last four are clear
_SHA256_BASE64: Final = r"[A-Za-z0-9+/]{42}+[AEIMQUYcgkosw048]="  # 43 are 258: the last two are clear
_PARAMETERS: Final = (
    r"created=(0|[1-9][0-9]{0,14}+)",
    rf'nonce="({_NONCE})"',
    rf'keyid="({_KEY_ID})"',
    rf'alg="{ALGORITHM}"',
    rf'tag="({TAG_NODE}|{TAG_ENROLL})"',
)
_IN_OUR_ORDER: Final = f";{';'.join(_PARAMETERS)}"
# Five parameters, and each of the five is among them: each is there once, in whatever order, and no other is.
_IN_ANY_ORDER: Final = (
    "".join(rf"(?=.*;{name}=)" for name in ("created", "nonce", "keyid", "alg", "tag"))
    + f"(?:;{'|;'.join(_PARAMETERS)}){{5}}"
)
_SIGNATURE: Final = f"node=:({_SHA256_BASE64}):"
_DIGEST: Final = f"sha-256=:({_SHA256_BASE64}):"


def _signed_form(components: str) -> tuple[re.Pattern[str], ...]:
    """The digest, the signature and its input, a line each: read in one go, for each has one form and no line break.

    The order in which we write parameters ourselves is tried first: it is the quicker one to read.
    """
    before = f"{_DIGEST}\n{_SIGNATURE}\nnode=({re.escape(components)}"
    return tuple(re.compile(f"{before}{parameters})", re.ASCII) for parameters in (_IN_OUR_ORDER, _IN_ANY_ORDER))


_REQUEST_FORM: Final = _signed_form(_REQUEST_COMPONENTS)
_RESPONSE_FORM: Final = _signed_form(_RESPONSE_COMPONENTS)
_METHOD: Final = re.compile(r"[A-Z]{1,16}", re.ASCII)
# No query, no escapes, no empty and no dot segments: nothing that two readers could see as two paths. At most 2048
# characters: good ones are remembered.
_PATH: Final = re.compile(r"(?=.{1,2048}\Z)/(?:(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+(?:/|\Z))*", re.ASCII)
_AUTHORITY: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)

_REQUEST_HEADERS: Final = frozenset(
    ("host", "content-type", "content-digest", "content-encoding", "signature-input", "signature"),
)
_RESPONSE_HEADERS: Final = _REQUEST_HEADERS - {"host"}
_SEQUENCES: Final = (list, tuple)


class MacKey:
    """A key for HMAC-SHA256 (RFC 2104, FIPS 198-1) that does not print.

    Both halves of the MAC begin with a block that only the key decides, so they are hashed once, here. `minimum` is the
    least length in bytes; below 32 it is for published test vectors alone. Raises Misuse for a shorter key.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, *, minimum: int = KEY_BYTES) -> None:
        if len(key) < minimum:
            raise Misuse(f"a key of {len(key)} bytes; at least {minimum} are needed")
        block = (sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def mac(self, message: bytes) -> bytes:
        """The 32 bytes of HMAC-SHA256 over `message`."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        return "MacKey(…)"

    def __reduce__(self) -> str:
        raise Misuse("a key is not to be pickled")


_DUMMY_KEY: Final = MacKey(bytes(KEY_BYTES))


# One of these is made for each message, and a frozen one would take four times as long.
@dataclass(slots=True)
class SignatureFacts:
    """What a signature says of itself."""

    key_id: str
    created: int
    """Unix seconds, 0 to 15 digits."""
    nonce: str
    """22 characters of base64url."""
    tag: str
    signature: bytes
    """The MAC itself, 32 bytes: a response is bound to its request by it."""


@dataclass(slots=True)
class Unverified:
    """A message of legal form whose signature nobody has looked at yet."""

    claims: SignatureFacts
    base: bytes
    """The signature base (RFC 9421, section 2.5)."""
    digest: bytes
    """The body's SHA-256 as the header has it."""

    def check(self, key: MacKey | None, body: bytes) -> SignatureFacts:
        """The claims, once signature and digest are seen to be good.

        None stands for an unknown key: it costs the same work and is always refused. Raises Refused.
        """
        signature_good = compare_digest((key or _DUMMY_KEY).mac(self.base), self.claims.signature)
        digest_good = compare_digest(sha256(body).digest(), self.digest)
        if key is not None and signature_good and digest_good:
            return self.claims
        if key is None:
            raise _unauthenticated("unknown_key")
        raise _unauthenticated("digest_mismatch" if signature_good else "signature_mismatch")


def nonce_from(random: bytes) -> str:
    """The nonce that 16 random bytes make. Raises Misuse for any other length."""
    if len(random) != 16:
        raise Misuse("a nonce is made of 16 random bytes")
    return b64url_encode(random)


def normal_authority(host: str, scheme: Scheme) -> str:
    """`host[:port]` as RFC 9421, section 2.2.3, has it: lower case, without the scheme's default port."""
    return host.lower().removesuffix(":443" if scheme == "https" else ":80")


def is_authority(text: str) -> bool:
    """Whether a text is `host` or `host:port` in lower case; an IPv6 address stands in brackets."""
    return _AUTHORITY.fullmatch(text) is not None


def sign_request(
    key: bytes | MacKey,
    *,
    key_id: str,
    method: str,
    authority: str,
    path: str,
    body: bytes,
    created: int,
    nonce: str,
    tag: str = TAG_NODE,
) -> list[tuple[str, str]]:
    """The headers that make `body` a signed request.

    `authority` is in normal form (see `normal_authority`); `path` is the request target, without query and escapes;
    `created` is in Unix seconds; `nonce` is new for each message. Raises Misuse for what no verifier would take.
    """
    _require(_METHOD, method, "method")
    _require(_AUTHORITY, authority, "authority")
    _require(_PATH, path, "path")
    digest = _digest_header(body)
    parameters = _parameters(_REQUEST_COMPONENTS, created, nonce, key_id, tag)
    base = _base(_request_lines(method, authority, path), digest, "", parameters)
    return _signed_headers(key, JSON_CONTENT_TYPE, digest, parameters, base)


def sign_response(
    key: bytes | MacKey,
    *,
    key_id: str,
    status: int,
    body: bytes,
    request_signature: bytes,
    created: int,
    nonce: str,
    tag: str = TAG_NODE,
    content_type: str | None = None,
) -> list[tuple[str, str]]:
    """The headers that make `body` the signed answer to the one request whose MAC is `request_signature`.

    `content_type` is by default `application/json` below status 400 and `application/problem+json` from there on.
    Raises Misuse for what no verifier would take.
    """
    if not 100 <= status <= 599:
        raise Misuse(f"{status} is no HTTP status")
    content_type = content_type or _response_content_type(status)
    if content_type not in (JSON_CONTENT_TYPE, PROBLEM_CONTENT_TYPE):
        raise Misuse(f"{content_type!r} is not a content type of a signed answer")
    digest = _digest_header(body)
    parameters = _parameters(_RESPONSE_COMPONENTS, created, nonce, key_id, tag)
    before, behind = _response_lines(status, content_type, request_signature)
    base = _base(before, digest, behind, parameters)
    return _signed_headers(key, content_type, digest, parameters, base)


def parse_request(
    *,
    method: str,
    path: str,
    headers: Headers,
    authorities: Collection[str],
    scheme: Scheme = "https",
    tag: str = TAG_NODE,
) -> Unverified:
    """The form of a request, nothing more. Raises Refused.

    `path` is the raw request target as it was sent. `authorities` are the names, in normal form, that the receiver
    serves: `Host` must be one of them, for a signature that was made for another server proves nothing here.
    """
    found = _single_headers(headers, _REQUEST_HEADERS)
    authority = found.get("host", "")
    if authority not in authorities and (authority := normal_authority(authority, scheme)) not in authorities:
        raise _unauthenticated("foreign_authority")
    if found.get("content-type") != JSON_CONTENT_TYPE:
        raise _unauthenticated("malformed_content_type")
    return _unverified(found, _REQUEST_FORM, tag, _request_lines(method, authority, path))


def parse_response(
    *,
    status: int,
    headers: Headers,
    request_signature: bytes,
    tag: str = TAG_NODE,
) -> Unverified:
    """The form of the answer to the request whose MAC is `request_signature`, nothing more. Raises Refused."""
    found = _single_headers(headers, _RESPONSE_HEADERS)
    content_type = found.get("content-type", "")
    if content_type != _response_content_type(status):
        raise _unauthenticated("malformed_content_type")
    before, behind = _response_lines(status, content_type, request_signature)
    return _unverified(found, _RESPONSE_FORM, tag, before, behind)


def verify_request(
    key: bytes | MacKey,
    *,
    key_id: str,
    method: str,
    authority: str,
    path: str,
    headers: Headers,
    body: bytes,
    tag: str = TAG_NODE,
    scheme: Scheme = "https",
) -> SignatureFacts:
    """The twin of `sign_request`: what the signature says, when it is good and `key_id`'s. Raises Refused.

    Freshness and the nonce are still to be judged: a captured request verifies for ever.
    """
    unverified = parse_request(
        method=method, path=path, headers=headers, authorities=(authority,), scheme=scheme, tag=tag
    )
    return unverified.check(_key_for(unverified, key, key_id), body)


def verify_response(
    key: bytes | MacKey,
    *,
    key_id: str,
    status: int,
    headers: Headers,
    body: bytes,
    request_signature: bytes,
    tag: str = TAG_NODE,
) -> SignatureFacts:
    """The twin of `sign_response`: what the signature says, when it is good and answers that very request.

    Raises Refused. The binding to the request, whose nonce was new, is what makes the answer fresh.
    """
    unverified = parse_response(status=status, headers=headers, request_signature=request_signature, tag=tag)
    return unverified.check(_key_for(unverified, key, key_id), body)


def signature_of(headers: Headers) -> bytes:
    """The 32 bytes in the `signature` header. Raises Refused when there is not exactly one, of legal form."""
    line = _single_headers(headers, _RESPONSE_HEADERS).get("signature", "")
    match = re.fullmatch(_SIGNATURE, line, re.ASCII)
    if match is None:
        raise _unauthenticated("malformed_signature")
    return a2b_base64(match[1])


def _unauthenticated(reason: str) -> Refused:
    return Refused(Code.UNAUTHENTICATED, reason)


def _require(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise Misuse(f"{value!r} is not a {what} that can be signed")


def _key_for(unverified: Unverified, key: bytes | MacKey, key_id: str) -> MacKey | None:
    if unverified.claims.key_id != key_id:
        return None
    return key if isinstance(key, MacKey) else MacKey(key)


def _response_content_type(status: int) -> str:
    return JSON_CONTENT_TYPE if status < 400 else PROBLEM_CONTENT_TYPE


def _base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode("ascii")


def _digest_header(body: bytes) -> str:
    return f"sha-256=:{_base64(sha256(body).digest())}:"


def _parameters(components: str, created: int, nonce: str, key_id: str, tag: str) -> str:
    parameters = f';created={created};nonce="{nonce}";keyid="{key_id}";alg="{ALGORITHM}";tag="{tag}"'
    if not re.fullmatch(_IN_OUR_ORDER, parameters, re.ASCII):
        raise Misuse(f"created {created!r}, nonce, key id {key_id!r} or tag {tag!r} is not of the form that is signed")
    return components + parameters


@lru_cache(maxsize=256)
def _request_lines(method: str, authority: str, path: str) -> str:
    """A base's lines before the digest's; a server is asked for the same few all day.

    Raises Refused for a method or a path of no legal form.
    """
    if not _METHOD.fullmatch(method):
        raise _unauthenticated("malformed_method")
    if not _PATH.fullmatch(path):
        raise _unauthenticated("malformed_path")
    return f'"@method": {method}\n"@authority": {authority}\n"@path": {path}\n"content-type": {JSON_CONTENT_TYPE}\n'


def _response_lines(status: int, content_type: str, request_signature: bytes) -> tuple[str, str]:
    """A base's lines before the digest's, and those behind it."""
    before = f'"@status": {status}\n"content-type": {content_type}\n'
    return before, f'"signature";req;key="node": :{_base64(request_signature)}:\n'


def _base(before: str, digest: str, behind: str, parameters: str) -> bytes:
    """The signature base (RFC 9421, section 2.5)."""
    return f'{before}"content-digest": {digest}\n{behind}"@signature-params": {parameters}'.encode("ascii")


def _signed_headers(
    key: bytes | MacKey, content_type: str, digest: str, parameters: str, base: bytes
) -> list[tuple[str, str]]:
    mac = (key if isinstance(key, MacKey) else MacKey(key)).mac(base)
    return [
        ("content-type", content_type),
        ("content-digest", digest),
        ("cache-control", "no-store, no-transform"),
        ("signature-input", f"node={parameters}"),
        ("signature", f"node=:{_base64(mac)}:"),
    ]


def _single_headers(headers: Headers, wanted: Collection[str]) -> dict[str, str]:
    """Headers by lower-case name, the wanted ones at least. One of those that comes twice is refused, never joined."""
    # A mapping has lost lines already; whatever is neither list nor tuple is read line by line, which a mapping fails.
    found = dict(headers) if isinstance(headers, _SEQUENCES) else {}
    names = "".join(found)
    if len(found) != len(headers) or names != names.lower():
        found = _lower_case(headers, wanted)
    if "content-encoding" in found:
        raise _unauthenticated("content_encoding")
    return found


def _lower_case(headers: Headers, wanted: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in wanted:
            if lower in found:
                raise _unauthenticated("repeated_header")
            found[lower] = value
    return found


def _unverified(
    found: Mapping[str, str], form: tuple[re.Pattern[str], ...], tag: str, before: str, behind: str = ""
) -> Unverified:
    """What the headers claim; `before` and `behind` are the base's lines around the digest's."""
    digest_line, signature_line = found.get("content-digest", ""), found.get("signature", "")
    lines = f"{digest_line}\n{signature_line}\n{found.get('signature-input', '')}"
    in_our_order, in_any_order = form
    match = in_our_order.fullmatch(lines) or in_any_order.fullmatch(lines)
    if match is None:
        raise _unauthenticated(_malformed(digest_line, signature_line))
    digest, signature, parameters, created, nonce, key_id, claimed_tag = match.groups()
    if claimed_tag != tag:
        raise _unauthenticated("wrong_tag")
    claims = SignatureFacts(key_id, int(created), nonce, tag, a2b_base64(signature))
    return Unverified(claims, _base(before, digest_line, behind, parameters), a2b_base64(digest))


def _malformed(digest_line: str, signature_line: str) -> str:
    """Which of the lines is at fault, for the log."""
    if not re.fullmatch(_DIGEST, digest_line, re.ASCII):
        return "malformed_digest"
    return "malformed_signature_input" if re.fullmatch(_SIGNATURE, signature_line, re.ASCII) else "malformed_signature"
