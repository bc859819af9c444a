"""What `--help` says where docstrings are gone, as they are in the image."""

from __future__ import annotations

from tests.image.helps import helps


def test_help_reads_the_same_without_docstrings() -> None:
    told = helps("control-plane", "control_plane.cli:commands", "-OO")
    assert {"control-plane", "control-plane serve", "control-plane nodes approve-move"} <= told.keys()
    assert [path for path, (text, _) in told.items() if not text] == []
    assert told == helps("control-plane", "control_plane.cli:commands")
