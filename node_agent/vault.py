"""The vault: named secrets in one file, each encrypted with Fernet under a key that the owner keeps elsewhere.

The key comes from a file, or from a passphrase through scrypt (RFC 7914); there is no default. A secret is bound to its
name inside the ciphertext, so a token that was moved to another name does not open. Every write is durable and whole: a
new file takes the old one's place, or nothing happened.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretBytes, SecretStr

from node_agent import redaction
from node_agent.errors import Explained
from node_protocol.encoding import b64url_decode, b64url_encode
from node_protocol.refusals import Malformed

_VERSION: Final = 1
_SCRYPT: Final[Mapping[str, int]] = {"n": 2**16, "r": 8, "p": 1}
_SCRYPT_MEMORY: Final = 128 * 1024 * 1024
_LEAST_PASSPHRASE: Final = 12
_CHECK: Final = "check"
"""A value under this name opens with the right key alone; so a wrong key is told from a damaged secret."""


class VaultError(Explained):
    """The vault cannot be used."""


class VaultKey:
    """What opens a vault: a key, or a passphrase that makes one with the vault's own salt. It does not print."""

    __slots__ = ("_key", "_passphrase")

    def __init__(self, *, key: bytes | None = None, passphrase: SecretStr | None = None) -> None:
        self._key = key
        self._passphrase = passphrase
        if key is not None:
            redaction.hide(key)
        if passphrase is not None:
            redaction.hide(passphrase)

    @classmethod
    def generate_file(cls, path: Path) -> VaultKey:
        """A new key in a new file that its owner alone may read. Raises VaultError when the file is there already."""
        key = Fernet.generate_key()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise VaultError(f"cannot write the vault's key file {path}: {error.strerror}") from None
        return cls(key=key)

    @classmethod
    def from_file(cls, path: Path) -> VaultKey:
        """The key in a file. Raises VaultError when there is none, or others may write to it."""
        try:
            if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise VaultError(f"others may write to the vault's key file {path}", f"chmod 600 {path}")
            key = path.read_bytes().strip().rstrip(b"=")
            key += b"=" * (-len(key) % 4)
            Fernet(key)
        except OSError as error:
            raise VaultError(
                f"cannot read the vault's key file {path}: {error.strerror}",
                "name it with --vault-key-file, vault.key_file in config.toml, or NODE_VAULT__KEY_FILE",
            ) from None
        except ValueError:
            raise VaultError(
                f"{path} holds no vault key: that is 32 bytes in base64url",
                "name the file that `node-agent init` wrote, or restore it from your backup",
            ) from None
        return cls(key=key)

    @classmethod
    def from_passphrase(cls, passphrase: SecretStr) -> VaultKey:
        """The key that a passphrase of at least 12 characters makes. Raises VaultError for a shorter one."""
        if len(passphrase.get_secret_value()) < _LEAST_PASSPHRASE:
            raise VaultError(f"a vault's passphrase has at least {_LEAST_PASSPHRASE} characters")
        return cls(passphrase=passphrase)

    def derivation(self) -> dict[str, Any]:
        """How a new vault is to come to its key, as its file says it."""
        if self._passphrase is None:
            return {"name": "file"}
        return {"name": "scrypt", "salt": b64url_encode(secrets.token_bytes(16)), **_SCRYPT}

    def fernet(self, derivation: Mapping[str, Any]) -> Fernet:
        """The cipher of a vault that says so of its key. Raises VaultError when this is the wrong kind of key."""
        if derivation["name"] == "file":
            if self._key is None:
                raise VaultError("this vault is opened by a key file, not by a passphrase", "give --vault-key-file")
            return Fernet(self._key)
        if self._passphrase is None:
            raise VaultError(
                "this vault is opened by a passphrase, not by a key file",
                "set NODE_VAULT_PASSPHRASE_FILE to a file that holds it",
            )
        key = hashlib.scrypt(
            self._passphrase.get_secret_value().encode(),
            salt=b64url_decode(derivation["salt"], length=16),
            n=derivation["n"],
            r=derivation["r"],
            p=derivation["p"],
            maxmem=_SCRYPT_MEMORY,
            dklen=32,
        )
        made = urlsafe_b64encode(key)
        redaction.hide(made)
        return Fernet(made)

    def __repr__(self) -> str:
        return "VaultKey(…)"


class Vault:
    """An open vault. Make it with `create` or `open`."""

    def __init__(self, path: Path, fernet: Fernet, content: dict[str, Any]) -> None:
        self._path = path
        self._fernet = fernet
        self._content = content

    @classmethod
    def create(cls, path: Path, key: VaultKey) -> Self:
        """A new, empty vault. Raises VaultError when there is a file already."""
        if path.exists():
            raise VaultError(f"there is a vault already: {path}")
        derivation = key.derivation()
        vault = cls(path, key.fernet(derivation), {"version": _VERSION, "key": derivation, "secrets": {}})
        vault.put(_CHECK, b"")
        return vault

    @classmethod
    def open(cls, path: Path, key: VaultKey) -> Self:
        """The vault in a file. Raises VaultError: not there, not readable, damaged, or the wrong key."""
        try:
            content = json.loads(path.read_bytes())
            if content["version"] > _VERSION:
                raise VaultError(f"{path} was written by a newer version", "upgrade this one")
            vault = cls(path, key.fernet(content["key"]), content)
            checked = vault.get(_CHECK)
        except OSError as error:
            raise VaultError(
                f"cannot read the vault {path}: {error.strerror}",
                "make a node with `node-agent init`, or restore vault.json from your backup",
            ) from None
        except (ValueError, KeyError, TypeError, Malformed):
            raise VaultError(f"the vault {path} is damaged", "restore vault.json from your backup") from None
        if checked is None:
            raise VaultError(f"the vault {path} is damaged: its check is missing", "restore it from your backup")
        return vault

    def names(self) -> list[str]:
        """The secrets' names."""
        return sorted(name for name in self._content["secrets"] if name != _CHECK)

    def get(self, name: str) -> SecretBytes | None:
        """The secret of this name; None when there is none. Raises VaultError when it does not open."""
        token = self._content["secrets"].get(name)
        if token is None:
            return None
        try:
            bound, _, value = self._fernet.decrypt(token.encode()).partition(b"\0")
        except InvalidToken:
            if name == _CHECK:
                raise VaultError(
                    f"the vault {self._path} does not open with this key",
                    "give the key file or passphrase that it was made with",
                ) from None
            raise VaultError(f"the secret {name!r} in {self._path} is damaged", "restore it from your backup") from None
        if bound != name.encode():
            raise VaultError(f"the secret {name!r} in {self._path} is another one's", "restore it from your backup")
        redaction.hide(value)
        return SecretBytes(value)

    def put(self, name: str, value: bytes) -> None:
        """Keep a secret under a name, durably, in place of what was there."""
        redaction.hide(value)
        token = self._fernet.encrypt(name.encode() + b"\0" + value).decode("ascii")
        self._write({**self._content["secrets"], name: token})

    def remove(self, name: str) -> None:
        """Forget a secret; nothing happens when there is none."""
        self._write({each: token for each, token in self._content["secrets"].items() if each != name})

    def _write(self, tokens: Mapping[str, str]) -> None:
        content = {**self._content, "secrets": dict(tokens)}
        written: Path | None = None
        try:
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, prefix=".vault-", delete=False) as file:
                written = Path(file.name)
                json.dump(content, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            written.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            if written is not None:
                written.unlink(missing_ok=True)
            raise VaultError(f"cannot write the vault {self._path}: {error.strerror}") from None
        self._content = content
