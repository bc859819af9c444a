"""Files in the data directory by which the owner speaks to a node that runs: `policy.toml`, and `STOP`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from node_agent.config import POLICY_FILE, ConfigError, load_policy
from node_agent.core import events

STOP_FILE: Final = "STOP"
_FLATTEN: Final = b"flatten"
_LONGEST: Final = 64


class OwnerFiles:
    """Notices what changed, by the files' numbers, sizes and times. Make it before the limits are first read."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._policy = self._look(POLICY_FILE)
        self._stop: tuple[int, ...] | None = None

    def news(self, at: datetime) -> Iterator[events.PolicyRead | events.PolicyUnreadable | events.StopFile]:
        """What the owner changed since this was last asked; a STOP, or that there is none, at the first time too."""
        policy = self._look(POLICY_FILE)
        if policy != self._policy:
            self._policy = policy
            yield self._read_policy(at)
        stop = self._look(STOP_FILE, otherwise=self._stop or ())
        if stop != self._stop:
            self._stop = stop
            yield events.StopFile(at, there=bool(stop), flatten=bool(stop) and self._says_flatten())

    @property
    def stop_is_there(self) -> bool:
        """Whether a STOP is there now."""
        return bool(self._look(STOP_FILE))

    @property
    def stop_says_flatten(self) -> bool:
        """Whether the STOP that is there now wants positions closed too."""
        return self.stop_is_there and self._says_flatten()

    def _read_policy(self, at: datetime) -> events.PolicyRead | events.PolicyUnreadable:
        try:
            return events.PolicyRead(at, load_policy(self._data_dir))
        except ConfigError as error:
            return events.PolicyUnreadable(at, error.message)

    def _says_flatten(self) -> bool:
        try:
            # Whatever lies there under this name, a pipe too: the node is not to wait for it.
            with open(os.open(self._data_dir / STOP_FILE, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                return _FLATTEN in (file.read(_LONGEST) or b"").lower().split()
        except OSError:
            return False

    def _look(self, name: str, otherwise: tuple[int, ...] = ()) -> tuple[int, ...]:
        try:
            facts = (self._data_dir / name).stat()
        except FileNotFoundError:
            return ()
        except OSError:  # that it cannot be looked at does not say that it is gone
            return otherwise
        return facts.st_ino, facts.st_size, facts.st_mtime_ns
