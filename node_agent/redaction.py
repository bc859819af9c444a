"""What never shows in a log: secrets by the name of their field, and secrets by their form wherever they stand."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_HIDDEN: Final = "[redacted]"
_NAMES: Final = re.compile(
    r"(?i)(^|_)(key|secret|token|passphrase|password|authorization|signature|private|mnemonic|seed|credentials?)($|_)"
)
_SAFE_NAMES: Final = frozenset(("key_id",))
_FORMS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"nt_[a-z2-7]{16}_[A-Za-z0-9_-]{8,}",  # an enrolment token
        r"gAAAA[A-Za-z0-9_-]{20,}={0,2}",  # a Fernet token
        r"(?i)(?<=bearer )[A-Za-z0-9._~+/-]{8,}=*",
        r"node=:[A-Za-z0-9+/]{16,}=*:",  # a signature
        r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?",  # a JWT
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",  # user and password in a URL
    )
)


def redacted(value: Any) -> Any:
    """The value with every secret in it hidden, however deep."""
    if isinstance(value, str):
        for form in _FORMS:
            value = form.sub(_HIDDEN, value)
        return value
    if isinstance(value, bytes):
        return redacted(value.decode("utf-8", errors="replace"))
    if isinstance(value, Mapping):
        return {
            name: _HIDDEN if _hidden(str(name)) and each is not None else redacted(each) for name, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last processor before an event is written."""
    clean: EventDict = redacted(event)
    return clean


def configure(*, json: bool, level: str) -> None:
    """Send all logs to standard error, redacted: ours, and those of libraries. `level` is a name of `logging`'s."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Patient(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


class _Patient:
    """A stream whose reader may be gone, or whose disk is full: a line of the log that is lost must end nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def _hidden(name: str) -> bool:
    return name not in _SAFE_NAMES and _NAMES.search(name) is not None
