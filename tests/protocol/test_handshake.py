"""Tokens, key ids, and the key that both sides come to without sending it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from node_protocol.handshake import (
    KeyId,
    Token,
    derive_node_key,
    enroll_key_id,
    format_token,
    node_id_from,
    parse_enroll_key_id,
    parse_key_id,
    parse_token,
    public_key,
    token_id_from,
)
from node_protocol.refusals import Code, Malformed, Misuse, Refused

secrets = st.binary(min_size=32, max_size=32)
KEY_ID = "n_aaaaaaaaaaaaaaaaaaaa.1"


@given(secrets, secrets, secrets)
def test_both_sides_come_to_one_key(node: bytes, server: bytes, salt: bytes) -> None:
    ours, theirs = public_key(node), public_key(server)
    one = derive_node_key(
        private=node, peer_public=theirs, salt=salt, key_id=KEY_ID, node_public=ours, server_public=theirs
    )
    other = derive_node_key(
        private=server, peer_public=ours, salt=salt, key_id=KEY_ID, node_public=ours, server_public=theirs
    )
    assert one == other
    assert len(one) == 32


def test_the_key_is_the_contracts_hkdf_of_the_shared_secret_of_rfc_7748() -> None:
    # RFC 7748, section 6.1
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob_public = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    info = b"trading-node/v1/node-key\0" + KEY_ID.encode() + b"\0" + public_key(alice) + bob_public
    assert HKDF(SHA256(), length=32, salt=b"s" * 32, info=info).derive(shared) == derive_node_key(
        private=alice,
        peer_public=bob_public,
        salt=b"s" * 32,
        key_id=KEY_ID,
        node_public=public_key(alice),
        server_public=bob_public,
    )


@pytest.mark.parametrize("small", [bytes(32), b"\1" + bytes(31)])
def test_a_public_key_that_shares_nothing_is_refused(small: bytes) -> None:
    with pytest.raises(Refused) as refused:
        derive_node_key(
            private=b"p" * 32, peer_public=small, salt=b"", key_id=KEY_ID, node_public=small, server_public=small
        )
    assert refused.value.code is Code.INVALID_PAYLOAD


@given(st.binary(min_size=10, max_size=10), secrets)
def test_a_token_is_read_as_it_was_written_and_does_not_show_its_secret(random: bytes, secret: bytes) -> None:
    token = Token(token_id_from(random), secret)
    assert parse_token(format_token(token)) == token
    assert format_token(token).split("_", 2)[2] not in repr(token)


@given(st.text(max_size=80))
def test_no_other_text_is_a_token_or_a_key_id(text: str) -> None:
    for parse in (parse_token, parse_key_id, parse_enroll_key_id):
        with pytest.raises(Malformed):
            parse(text)


def test_key_ids_name_node_and_version() -> None:
    node_id = node_id_from(bytes(range(13)))
    assert len(node_id) == 22
    key_id = KeyId(node_id, 1)
    assert parse_key_id(str(key_id.next())) == KeyId(node_id, 2)
    assert parse_enroll_key_id(enroll_key_id(token_id_from(bytes(10)))) == "a" * 16
    for wrong in (f"{node_id}.0", f"{node_id}.01", node_id, f"{node_id}.1\n", node_id.upper() + ".1"):
        with pytest.raises(Malformed):
            parse_key_id(wrong)


def test_too_little_chance_makes_no_name() -> None:
    with pytest.raises(Misuse):
        node_id_from(bytes(12))
