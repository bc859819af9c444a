"""Recorded candles: a CSV file, plain or gzipped, read line by line."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from node_agent.config import ConfigError
from node_agent.core.market import Candle

_COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
_EPOCH: Final = re.compile(r"(\d{9,11})(\d{3})?", re.ASCII)
_HINT: Final = f"the file has the columns {', '.join(_COLUMNS)}, in this order or named in its first line"


def read(path: Path, symbol: str, *, volume_in_quote: bool) -> Iterator[Candle]:
    """The candles of a recording, in order. Raises ConfigError, naming file and line, for what is none.

    Times are UTC: `2021-12-31 23:01:00`, ISO with `T` and `Z`, or seconds or milliseconds since the epoch.
    """
    before: datetime | None = None
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            rows = csv.reader(file)
            columns = list(_COLUMNS)
            for line, row in enumerate(rows, start=1):
                if line == 1 and "open" in (header := [name.strip().lower() for name in row]):
                    columns = header
                    if missing := [name for name in _COLUMNS if name not in columns]:
                        raise ConfigError(f"{path}: no column {missing[0]}", _HINT)
                    continue
                candle = _candle(dict(zip(columns, row, strict=False)), symbol, f"{path}:{line}", volume_in_quote)
                if before is not None and candle.at <= before:
                    raise ConfigError(f"{path}:{line}: not later than the line before")
                before = candle.at
                yield candle
    except (OSError, EOFError) as error:
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
    except (ValueError, InvalidOperation, OverflowError):
        raise ConfigError(f"{where}: not a candle", _HINT) from None
    sane = all(price.is_finite() and price > 0 for price in prices.values()) and volume.is_finite() and volume >= 0
    if not sane or not prices["low"] <= min(prices["open"], prices["close"]):
        raise ConfigError(f"{where}: prices that cannot be")
    if prices["high"] < max(prices["open"], prices["close"]):
        raise ConfigError(f"{where}: prices that cannot be")
    return Candle(symbol=symbol, at=at, volume=volume / prices["close"] if volume_in_quote else volume, **prices)


def _time(text: str) -> datetime:
    if epoch := _EPOCH.fullmatch(text.strip()):
        return datetime.fromtimestamp(int(epoch[1]), UTC) + timedelta(milliseconds=int(epoch[2] or 0))
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
