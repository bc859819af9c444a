"""Recorded candles: a CSV file, plain or gzipped, read line by line."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, TextIO

from node_agent.config import ConfigError
from node_agent.core.market import Candle
from node_protocol.refusals import Malformed

_COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
_EPOCH: Final = re.compile(r"(\d{9,20})(?:\.0+)?", re.ASCII)
_GZIP: Final = b"\x1f\x8b"
_HINT: Final = f"the file has {', '.join(_COLUMNS)} between commas, in this order or as its first line names them"
_TIME_HINT: Final = "times are like 2021-12-31 23:01:00, in UTC, or count from the epoch"


def read(path: Path, symbol: str, *, volume_in_quote: bool) -> Iterator[Candle]:
    """The candles of a recording, in order. Raises ConfigError, naming file and line, for what is none.

    Times are UTC: `2021-12-31 23:01:00`, ISO with `T` and `Z`, or counted from the epoch in seconds, or in their
    thousandths, millionths or billionths.
    """
    before: datetime | None = None
    try:
        with _opened(path) as file:
            rows = csv.reader(file)
            columns: list[str] = []
            for line, row in enumerate(rows, start=1):
                if not row:
                    continue
                if not columns:
                    header = [name.strip().lower() for name in row]
                    columns = header if "open" in header else list(_COLUMNS)
                    if missing := [name for name in _COLUMNS if name not in columns]:
                        raise ConfigError(f"{path}: no column {missing[0]}", _HINT)
                    if columns is header:
                        continue
                candle = _candle(dict(zip(columns, row, strict=False)), symbol, f"{path}:{line}", volume_in_quote)
                if before is not None and candle.at <= before:
                    raise ConfigError(f"{path}:{line}: not later than the line before")
                before = candle.at
                yield candle
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"cannot read the candles {path}: {error}", "name the recorded prices in [paper] candles"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is not a CSV file: {error}", _HINT) from None


def _candle(row: dict[str, str], symbol: str, where: str, volume_in_quote: bool) -> Candle:
    try:
        prices = {name: Decimal(row[name]) for name in ("open", "high", "low", "close")}
        volume = Decimal(row["volume"])
        at = _time(row["timestamp"])
    except KeyError as error:
        raise ConfigError(f"{where}: no {error.args[0]}", _HINT) from None
    except Malformed as error:
        raise ConfigError(f"{where}: {error}", _TIME_HINT) from None
    except (ValueError, InvalidOperation, OverflowError):
        raise ConfigError(f"{where}: not a candle", _HINT) from None
    sane = all(price.is_finite() and price > 0 for price in prices.values()) and volume.is_finite() and volume >= 0
    if not sane or not prices["low"] <= min(prices["open"], prices["close"]):
        raise ConfigError(f"{where}: prices that cannot be")
    if prices["high"] < max(prices["open"], prices["close"]):
        raise ConfigError(f"{where}: prices that cannot be")
    return Candle(
        symbol=symbol,
        at=at,
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        close=prices["close"],
        volume=volume / prices["close"] if volume_in_quote else volume,
    )


def _opened(path: Path) -> TextIO:
    """A file's text, unpacked where it is packed, whatever its name says, and without a mark of byte order."""
    with path.open("rb") as file:
        packed = path.suffix == ".gz" or file.read(2) == _GZIP
    return gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig")


def _time(text: str) -> datetime:
    text = text.strip()
    try:
        if epoch := _EPOCH.fullmatch(text):
            # Eleven digits of seconds last until the year 5138, so the count tells the unit.
            digits = epoch[1]
            unit = 1000 ** ((len(digits) - 9) // 3)
            seconds, rest = divmod(int(digits), unit)
            return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest * 10**6 // unit)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise Malformed(f"{text[:40]!r} is no time") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
