"""The wire between a node and a server: signatures, keys, messages, refusals. Pure: no I/O, no clock, no randomness."""

from typing import Final

PROTOCOL_VERSION: Final = 1
"""The `protocol` member of every message."""

REPLAY_WINDOW: Final = 120
"""Seconds, either way, that `created` may be away from the receiver's clock; exactly this many are accepted."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of the largest body that is taken."""

MAX_EVENTS: Final = 500
"""Events that one sync may carry."""

MAX_WAIT: Final = 25
"""Seconds that a server may hold the answer to a sync."""
