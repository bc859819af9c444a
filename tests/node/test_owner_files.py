"""Files by which the owner speaks: a STOP that is there holds, whatever it is and whether it can be looked at."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node_agent.core.events import StopFile
from node_agent.owner_files import OwnerFiles

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def stops(files: OwnerFiles) -> list[tuple[bool, bool]]:
    """Whether there is one, and whether it says flatten; nothing when that is as before."""
    return [(each.there, each.flatten) for each in files.news(NOW) if isinstance(each, StopFile)]


@pytest.mark.parametrize(
    ("text", "flatten"),
    [("", False), ("flatten", True), ("FLATTEN\n", True), ("please flatten it\n", True), ("unflattened", False)],
)
def test_the_word_flatten_closes_positions_however_it_is_written(tmp_path: Path, text: str, flatten: bool) -> None:
    (tmp_path / "STOP").write_text(text)
    assert stops(OwnerFiles(tmp_path)) == [(True, flatten)]


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_whatever_is_named_stop_stops_and_holds_up_nobody(tmp_path: Path, kind: str) -> None:
    stop = tmp_path / "STOP"
    if kind == "pipe":
        os.mkfifo(stop)
    else:
        stop.mkdir()
    assert stops(OwnerFiles(tmp_path)) == [(True, False)]


def test_a_stop_that_cannot_be_looked_at_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a volume of somebody else's a file may be stale for a while."""
    stop = tmp_path / "STOP"
    stop.touch()
    files = OwnerFiles(tmp_path)
    assert stops(files) == [(True, False)]
    with monkeypatch.context() as patch:

        def stale(path: Path, **how: bool) -> os.stat_result:
            raise OSError(errno.ESTALE, "Stale file handle")

        patch.setattr(Path, "stat", stale)
        assert stops(files) == []
    stop.unlink()
    assert stops(files) == [(False, False)]
