"""What `--help` says where docstrings are gone, as they are in the image."""

from __future__ import annotations

from pathlib import Path

from control_plane import location, master_key
from control_plane.cli import serve
from tests.image.helps import helps


def test_help_reads_the_same_without_docstrings() -> None:
    told = helps("control-plane", "control_plane.cli:commands", "-OO")
    assert {"control-plane", "control-plane serve", "control-plane nodes approve-move"} <= told.keys()
    assert [path for path, (text, _) in told.items() if not text] == []
    assert told == helps("control-plane", "control_plane.cli:commands")


def test_every_variable_and_option_of_the_server_is_in_its_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "control-plane.md").read_text(encoding="utf-8")
    for parameter in serve.command.params:
        names = {f"`{parameter.envvar}`"} if parameter.envvar else set()
        if parameter.opts[0] not in ("--verbose", "--help"):
            names.add(f"`{parameter.opts[0]}`")
        assert {name for name in names if name not in document} == set()
    for variable in (location.DATABASE_PASSWORD_FILE, location.REDIS_PASSWORD_FILE, master_key.FILE_VARIABLE):
        assert f"`{variable}`" in document
