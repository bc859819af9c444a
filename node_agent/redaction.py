"""What never shows: secrets by their value however it is written, by the name of their field, and by their form.

    by value   whoever brings a secret into the process calls `hide`; from then on it is nowhere to be read, as it is or
               as JSON, Python, a URL, hex or base64 would write it, alone or with something before and behind it. What
               was cut off is still known by its beginning.
    by name    `secret`, `API-Sign`, `apiKey`, `OK-ACCESS-PASSPHRASE` …: whatever stands in a field of such a name
    by form    tokens, keys and signatures that are told by how they look, or by the word before them

`configure` holds for logs, ours and those of libraries; `watch_output` for all else that a process prints, a crash
included. A value of less than 8 characters is not hidden by value: it would go from every other word too.
"""

from __future__ import annotations

import json
import re
import string
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from node_agent import spellings

if TYPE_CHECKING:
    from pydantic import SecretBytes, SecretStr
    from structlog.typing import EventDict, Processor, WrappedLogger

_HIDDEN: Final = "[redacted]"
_SHORTEST: Final = 8
_HEAD: Final = 24
"""So many characters are enough to know a secret by."""
_DEEPEST: Final = 50

_SAFE_NAMES: Final = frozenset(("key_id",))
_NAMES: Final = re.compile(
    r"(?:^|[-_. ])(?:key|apikey|secret|token|jwt|passphrase|password|passwd|pwd|authorization|cookie"
    r"|sig|sign|signature|private|mnemonic|seed|credentials?)(?:$|[-_. ])"
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_IS: Final = r"""\\*["']?\s*[:=]\s*"""
_VALUE: Final = r"""(?:b?\\*["'])?+(?!(?:null|none|true|false)\b)([^\s"'\\&,;<>(){}\[\]]+)"""
_FORMS: Final = (
    (("nt_",), r"nt_[a-z2-7]{16}_[A-Za-z0-9_-]{8,}"),  # an enrolment token
    (("gaaaa",), r"gAAAA[A-Za-z0-9_-]{20,}={0,2}"),  # a Fernet token
    (("bearer ",), r"(?i)(?<=bearer )[A-Za-z0-9._~+/-]{8,}=*"),
    (("authorization",), rf"""(?i)authorization{_IS}(?:b?\\*["'])?+([^"'\r\n\\]+)"""),
    (("node=:",), r"node=:[A-Za-z0-9+/]{16,}=*:"),  # a signature
    (("eyj",), r"eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"),  # a JWT
    (
        ("-----begin ",),
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    ),
    (("://",), r"""(?<=://)[^/\s?#"'<>]+(?=@)"""),  # user and password in a URL
    (  # headers and settings: API-Sign, OK-ACCESS-PASSPHRASE, x-signature, api_key, privateKey
        ("sig", "secret", "pass", "token", "key"),
        r"(?i)(?<![\w-])(?:[a-z0-9]+(?:[-_]+[a-z0-9]+)*?[-_]+"
        r"(?:sig|sign|signature|secret|passphrase|password|token|key|apikey)"
        r"|(?:api|private|secret|access|refresh|listen)(?:key|secret|token)|passphrase|password|passwd)"
        rf"{_IS}{_VALUE}",
    ),
    (  # the same words alone are also English: there must be a `=` or quotes, or a value that is no word
        ("sig", "secret", "token", "pwd", "mnemonic"),
        r"(?i)(?<![\w-])(?:sig|sign|signature|secret|token|pwd|mnemonic)"
        rf"""(?:(?:=|\\*["']\s*[:=]\s*){_VALUE}|: *([A-Za-z0-9+/=_-]{{16,}}))""",
    ),
)
"""What must be there in small letters, and the form itself: it is looked for, and compiled, only where that is."""

_ENCODED: Final = string.ascii_letters + string.digits + "+/-_"
_TO_ITS_END: Final = re.compile(r"[A-Za-z0-9+/=_%-]+")


class Secrets:
    """The secrets that one process knows of. They do not print."""

    def __init__(self) -> None:
        self._adding = threading.Lock()
        self._known: set[str | bytes] = set()
        self._written: dict[str, tuple[str, ...]] = {}
        """How they are written, by how that begins."""
        self._encoded: tuple[str, ...] = ()
        """How they begin in hex and base64: there the whole word is hidden, for more of them may be in it."""
        self._bytes: tuple[bytes, ...] = ()
        self._name = lru_cache(1024)(self._text)

    def hide(self, secret: SecretStr | SecretBytes | str | bytes) -> None:
        """Let a secret never show from now on. Of a JSON object, what stands under the name of a secret is one."""
        value: str | bytes = secret if isinstance(secret, str | bytes) else secret.get_secret_value()
        try:
            text = value if isinstance(value, str) else value.decode()
        except UnicodeDecodeError:
            self._add(spellings.as_bytes(value))
            return
        for each in _credentials(text):
            self._add(each)

    def redacted(self, value: Any, *, depth: int = 0) -> Any:
        """The value with every secret in it hidden, however deep."""
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(self._readable(bytes(value)))
        if depth > _DEEPEST:
            return _HIDDEN
        if isinstance(value, dict | Mapping):
            return {
                self._key(name): _HIDDEN
                if each is not None and _is_secret(_told(name))
                else self.redacted(each, depth=depth + 1)
                for name, each in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.redacted(each, depth=depth + 1) for each in value]
        return self._text(_told(value))

    def __repr__(self) -> str:
        return "Secrets(…)"

    def _add(self, value: str | bytes) -> None:
        if len(value) < _SHORTEST or value in self._known:
            return
        by_head: dict[str, set[str]] = {}
        for each in spellings.spelled(value):
            by_head.setdefault(each[:_HEAD], set()).add(each)
        heads = {each[:_HEAD] for each in spellings.encoded(value)}
        # Whoever reads meanwhile goes on with what there was.
        with self._adding:
            self._known.add(value)
            self._written = {
                **self._written,
                **{head: (*self._written.get(head, ()), *those) for head, those in by_head.items()},
            }
            self._encoded = (*self._encoded, *heads.difference(self._encoded))
            if isinstance(value, bytes):
                self._bytes = (*self._bytes, value)
            self._name.cache_clear()

    def _key(self, name: object) -> object:
        if isinstance(name, str):
            return self._name(name)
        return name if name is None or isinstance(name, bool | int | float) else self._text(_told(name))

    def _readable(self, value: bytes) -> str:
        for each in self._bytes:
            value = value.replace(each, _HIDDEN.encode())
        return value.decode("utf-8", errors="backslashreplace")

    def _text(self, text: str) -> str:
        if len(text) < _SHORTEST:
            return text
        spans = list(self._spans(text))
        return _masked(text, spans) if spans else text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """From where to where there is a secret; some may overlap."""
        for head, written in self._written.items():
            if head in text:
                for at in _places(text, head):
                    yield at, at + max(_agreeing(each, text, at) for each in written)
        for head in self._encoded:
            if head in text:
                yield from _words(text, head)
        small = text.lower()
        for marks, form in _FORMS:
            for mark in marks:
                if mark in small:
                    for found in re.finditer(form, text):
                        yield found.span(found.lastindex or 0)
                    break


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with one mask for all that touches."""
    shown: list[str] = []
    end = -1
    for start, stop in sorted(spans):
        if start > end:
            shown += (text[max(end, 0) : start], _HIDDEN)
        end = max(end, stop)
    return "".join((*shown, text[end:]))


def _words(text: str, part: str) -> Iterator[tuple[int, int]]:
    """The encoded words that a part is in."""
    end = 0
    while (at := text.find(part, end)) >= 0:
        start = end + len(text[end:at].rstrip(_ENCODED))
        rest = _TO_ITS_END.match(text, at)
        end = at + len(part) if rest is None else rest.end()
        yield start, end


def _places(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _agreeing(whole: str, text: str, at: int) -> int:
    """For how many characters a text has this from a place on: less than all where it was cut off."""
    if text.startswith(whole, at):
        return len(whole)
    there = zip(whole, text[at : at + len(whole)], strict=False)
    length = next((n for n, (one, other) in enumerate(there) if one != other), len(text) - at)
    return len(whole[:length].rstrip("\\"))  # a backslash belongs to what it escapes


def _credentials(text: str) -> list[str]:
    """The secrets in what is kept as one."""
    text = text.strip()
    if text.startswith("{"):
        with suppress(ValueError, RecursionError):
            named = [each.strip() for each in _under_names(json.loads(text), secret=False)]
            return [each for each in named if len(each) >= _SHORTEST] or [text]
    return [text]


def _under_names(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _under_names(each, secret=secret or _is_secret(name))
    elif isinstance(value, list):
        for each in value:
            yield from _under_names(each, secret=secret)
    elif secret and isinstance(value, str):
        yield value


@lru_cache(1024)
def _is_secret(name: str) -> bool:
    name = _HUMP.sub("_", name).lower()
    return name not in _SAFE_NAMES and _NAMES.search(name) is not None


def _told(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} that does not print>"


_secrets: Final = Secrets()
hide: Final = _secrets.hide
redacted: Final = _secrets.redacted


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last processor before an event is written."""
    clean: EventDict = redacted(event)
    return clean


def configure(*, json: bool, level: str) -> None:
    """Send all logs to standard error, redacted: ours, and those of libraries. `level` is a name of `logging`'s."""
    import logging  # noqa: PLC0415  (a command that only prints pays for no log)

    import structlog  # noqa: PLC0415

    watch_output()
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    # What `redact` has seen need not be looked at once more.
    beneath = cast(TextIO, _Patient(sys.stderr.stream if isinstance(sys.stderr, _Watched) else sys.stderr))
    structlog.configure(
        processors=[*shared, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(beneath),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(beneath)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def watch_output() -> None:
    """Let nothing that this process prints from now on show a secret, whoever prints it: what commands say, warnings,
    the last words of a crash in whatever thread or task.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Watched):
            setattr(sys, name, _Watched(stream))
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed
    sys.unraisablehook = _went_wrong_unseen


class _Watched:
    """A stream on which no secret shows. It has no `buffer`: bytes would go past."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(redacted(text) if isinstance(text, str) else text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.stream, name)


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


# Python's own hooks write what belongs together in pieces, and a secret could be in two of them.


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _last_words("", kind, error, trace)


def _thread_crashed(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is not SystemExit:
        name = "?" if told.thread is None else told.thread.name
        _last_words(f"Exception in thread {name}:\n", told.exc_type, told.exc_value, told.exc_traceback)


def _went_wrong_unseen(told: sys.UnraisableHookArgs) -> None:
    where = f"{told.err_msg or 'Exception ignored in'}: {_told(told.object)}\n"
    _last_words(where, told.exc_type, told.exc_value, told.exc_traceback)


def _last_words(
    where: str, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if sys.stderr is not None:
        words = "".join((where, *traceback.format_exception(kind, error, trace)))
        with suppress(OSError, ValueError):
            print(redacted(words), end="", file=sys.stderr, flush=True)  # noqa: T201  (where a crash is told)
