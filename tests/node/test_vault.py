"""The vault: what is put in comes out with the right key alone, under its own name alone, and every mistake is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from node_agent.vault import Vault, VaultError, VaultKey

PASSPHRASE = SecretStr("correct horse battery")


@pytest.fixture
def key(tmp_path: Path) -> VaultKey:
    return VaultKey.generate_file(tmp_path / "key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault.json"


def error_of(path: Path, key: VaultKey) -> str:
    with pytest.raises(VaultError) as error:
        Vault.open(path, key)
    assert error.value.hints
    return error.value.message


def test_secrets_come_back_after_it_was_closed(path: Path, key: VaultKey) -> None:
    vault = Vault.create(path, key)
    vault.put("one", b"\0binary\xff")
    vault.put("two", b"")
    vault.put("one", b"newer")
    again = Vault.open(path, key)
    one, two = again.get("one"), again.get("two")
    assert one is not None
    assert two is not None
    assert (one.get_secret_value(), two.get_secret_value()) == (b"newer", b"")
    assert again.names() == ["one", "two"]
    assert again.get("three") is None
    again.remove("one")
    assert Vault.open(path, key).names() == ["two"]


def test_nothing_in_the_file_or_in_what_prints_shows_a_secret(path: Path, key: VaultKey, tmp_path: Path) -> None:
    vault = Vault.create(path, key)
    vault.put("one", b"canary-secret")
    secret = (tmp_path / "key").read_text().strip()
    shown = [path.read_text(), repr(vault.get("one")), str(vault.get("one")), repr(key), repr(vars(vault))]
    assert not any("canary" in each or secret in each for each in shown)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_passphrase_opens_it_and_another_one_does_not(path: Path) -> None:
    Vault.create(path, VaultKey.from_passphrase(PASSPHRASE)).put("one", b"1")
    assert Vault.open(path, VaultKey.from_passphrase(PASSPHRASE)).names() == ["one"]
    assert "does not open" in error_of(path, VaultKey.from_passphrase(SecretStr("correct horse batterie")))


def test_the_wrong_key_and_the_wrong_kind_of_key_are_told_apart(path: Path, key: VaultKey, tmp_path: Path) -> None:
    Vault.create(path, key)
    assert "does not open" in error_of(path, VaultKey.generate_file(tmp_path / "other"))
    assert "key file" in error_of(path, VaultKey.from_passphrase(PASSPHRASE))


def test_a_secret_that_was_moved_to_another_name_does_not_open(path: Path, key: VaultKey) -> None:
    vault = Vault.create(path, key)
    vault.put("one", b"1")
    content = json.loads(path.read_text())
    content["secrets"]["two"] = content["secrets"]["one"]
    path.write_text(json.dumps(content))
    with pytest.raises(VaultError, match="another one's"):
        Vault.open(path, key).get("two")


def test_a_vault_is_not_made_over_another(path: Path, key: VaultKey) -> None:
    Vault.create(path, key)
    with pytest.raises(VaultError, match="already"):
        Vault.create(path, key)


def test_a_newer_vault_is_left_alone(path: Path, key: VaultKey) -> None:
    Vault.create(path, key)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    assert "newer version" in error_of(path, key)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_said_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("vault")
    key = VaultKey.generate_file(folder / "key")
    vault = Vault.create(folder / "vault.json", key)
    vault.put("one", b"1")
    raw = bytearray((folder / "vault.json").read_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (folder / "vault.json").write_bytes(raw)
    try:
        again = Vault.open(folder / "vault.json", key).get("one")
    except VaultError:
        return
    assert again is None or again.get_secret_value() == b"1"


@pytest.mark.parametrize("text", ["", "short", "!" * 44])
def test_a_file_that_holds_no_key_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(VaultError, match="no vault key"):
        VaultKey.from_file(tmp_path / "key")


def test_a_key_file_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    VaultKey.generate_file(tmp_path / "key")
    (tmp_path / "key").chmod(0o666)
    with pytest.raises(VaultError, match="others may write"):
        VaultKey.from_file(tmp_path / "key")


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(VaultError, match="12 characters"):
        VaultKey.from_passphrase(SecretStr("short"))
