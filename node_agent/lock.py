"""One process a data directory: a lock that the kernel takes back when its holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from node_agent.errors import Explained

LOCK_FILE: Final = "node.lock"
_PATIENCE: Final = 0.5
"""Seconds: `status` holds the lock for a moment to see whether it is free."""


class LockError(Explained):
    """The directory is not ours."""


class DirectoryLock:
    """Holds the data directory for this process, from `with` to its end. Raises LockError."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LOCK_FILE
        self._file: int | None = None

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self._path, error) from error
        if not _locked(self._file, patience=_PATIENCE):
            holder = os.read(self._file, 32).decode("ascii", "replace").strip()
            self._close()
            raise LockError(
                f"another node-agent{f' (process {holder})' if holder else ''} is running on {self._path.parent}",
                "stop it first, or name another --data-dir",
            )
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self._close()
            raise _unusable(self._path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _unusable(path: Path, error: OSError) -> LockError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "make room on the disk" if full else "name a data directory that exists and that the node may write to"
    return LockError(f"{path} cannot be {'written' if full else 'opened'}: {(error.strerror or '').lower()}", hint)


def is_held(data_dir: Path) -> bool:
    """Whether a process is running on the directory now."""
    try:
        file = os.open(data_dir / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _locked(file, patience=0, kind=fcntl.LOCK_SH)
    finally:
        os.close(file)


def _locked(file: int, *, patience: float, kind: int = fcntl.LOCK_EX) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True
