"""The master key: what is taken, what is refused, and what a sealed secret is bound to."""

from __future__ import annotations

import base64
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.master_key import (
    BadMasterKey,
    Purpose,
    SealBroken,
    Sealer,
    from_environment,
    generate,
    parse,
)

KEY = bytes.fromhex("5f3a91c07be2d84466aa1f0c93d7e825b10d4f6e7c8892a3e0f1572b6cd93e48")


@given(st.integers(0, 2**32))
def test_a_random_key_is_taken_in_each_of_its_spellings(seed: int) -> None:
    key = Random(seed).randbytes(32)
    spellings = (
        key.hex(),
        base64.b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode().rstrip("="),
    )
    for text in spellings:
        assert parse(text) == key
        assert parse(f" {text}\n") == key


def test_a_generated_key_is_taken_and_never_twice_the_same() -> None:
    assert len({parse(generate()) for _ in range(10)}) == 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        "changeme",
        "secret" * 10,
        "0" * 64,
        "deadbeef" * 8,
        bytes(range(32)).hex(),
        bytes(range(0, 96, 3)).hex(),
        base64.b64encode(b"correct horse battery staple, four words").decode(),
        base64.b64encode(KEY[:31]).decode(),
        KEY[:31].hex(),
        KEY.hex() + "0",
        "é" * 43,
    ],
)
def test_a_short_or_a_typed_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadMasterKey) as refused:
        parse(text)
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize("text", ["A" * 43, "A" * 44, "A" * 43 + "=", "deadbeef" * 7])
def test_base64_that_looks_like_hex_too_short_is_told_for_what_it_is(text: str) -> None:
    with pytest.raises(BadMasterKey, match="is not random"):
        parse(text)


@pytest.mark.parametrize("lost", range(1, 22))
def test_hex_of_which_digits_are_lost_is_no_base64_key(lost: int) -> None:
    with pytest.raises(BadMasterKey, match="is not 32 or more bytes"):
        parse(KEY.hex()[:-lost])


def test_the_key_comes_from_a_variable_or_from_a_file_and_not_from_both(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    sealed = from_environment({"CONTROL_PLANE_MASTER_KEY": KEY.hex()}).seal(Purpose.TOKEN, "x", b"secret")
    assert from_environment({"CONTROL_PLANE_MASTER_KEY_FILE": str(path)}).open(Purpose.TOKEN, "x", sealed) == b"secret"
    for environ in (
        {},
        {"CONTROL_PLANE_MASTER_KEY": " "},
        {"CONTROL_PLANE_MASTER_KEY": KEY.hex(), "CONTROL_PLANE_MASTER_KEY_FILE": str(path)},
        {"CONTROL_PLANE_MASTER_KEY_FILE": str(tmp_path / "none")},
    ):
        with pytest.raises(BadMasterKey):
            from_environment(environ)


def test_the_first_of_several_keys_seals_and_each_opens() -> None:
    old, new = KEY, KEY[::-1]
    before = Sealer([old]).seal(Purpose.NODE_KEY, "n.1", b"secret")
    both = from_environment({"CONTROL_PLANE_MASTER_KEY": f"{new.hex()},{old.hex()}"})
    assert both.open(Purpose.NODE_KEY, "n.1", before) == b"secret"
    after = both.seal(Purpose.NODE_KEY, "n.1", b"secret")
    assert Sealer([new]).open(Purpose.NODE_KEY, "n.1", after) == b"secret"
    with pytest.raises(SealBroken):
        Sealer([old]).open(Purpose.NODE_KEY, "n.1", after)


def test_a_sealed_secret_opens_for_its_owner_and_its_purpose_alone() -> None:
    sealer = Sealer([KEY])
    sealed = sealer.seal(Purpose.NODE_KEY, "n_a.1", b"\0secret\0")
    assert sealer.open(Purpose.NODE_KEY, "n_a.1", sealed) == b"\0secret\0"
    for purpose, owner in ((Purpose.NODE_KEY, "n_a.2"), (Purpose.NODE_KEY, "n_a"), (Purpose.TOKEN, "n_a.1")):
        with pytest.raises(SealBroken):
            sealer.open(purpose, owner, sealed)
    with pytest.raises(SealBroken):
        sealer.open(Purpose.NODE_KEY, "n_a.1", sealed[:-8] + "AAAAAAA=")


def test_a_sealer_does_not_print_its_keys() -> None:
    assert repr(Sealer([KEY])) == "Sealer(…)"
