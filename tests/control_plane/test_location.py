"""Where the database is: said in one of two ways, and never with its password in what people see."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from control_plane.location import BadLocation, at_url, redis_at
from tests.control_plane.support import ENVIRONMENT, control_plane

URL = "postgresql://keeper@db.example.com:5432/nodes"


@pytest.mark.parametrize("kept", ["sword/fi:sh@ +%", "sword/fi:sh@ +%\n"])
def test_a_password_is_read_from_its_file_but_for_one_newline(tmp_path: Path, kept: str) -> None:
    file = tmp_path / "password"
    file.write_text(kept)
    where = at_url(URL, {"DATABASE_PASSWORD_FILE": str(file)})
    assert where.url.password == "sword/fi:sh@ +%"
    assert (where.name, where.option) == (f"at {URL}", f" --database-url {URL}")
    assert "fi:sh" not in repr(where)
    in_redis = redis_at("redis://cache:6379/1", {"REDIS_PASSWORD_FILE": str(file)})
    options = Redis.from_url(in_redis).connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("cache", 6379, 1)
    assert options["password"] == "sword/fi:sh@ +%"


def test_a_newline_more_is_of_the_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a\n\n")
    assert at_url(URL, {"DATABASE_PASSWORD_FILE": str(tmp_path / "password")}).url.password == "a\n"


def test_a_redis_without_a_password_has_none() -> None:
    options = Redis.from_url(redis_at("redis://cache:6379/0", {})).connection_pool.connection_kwargs
    assert not options.get("password")
    assert not options.get("username")


def test_what_is_no_url_of_a_database_is_told_without_its_password(tmp_path: Path) -> None:
    for text in ("mysql://a:swordfish@b/c", "postgresql://a:swordfish@b", "postgresql+asyncpg://a:swordfish@b/c", "x"):
        with pytest.raises(BadLocation) as told:
            at_url(text, {})
        assert "swordfish" not in str(told.value)
    for text in ("http://:swordfish@b", "redis://", "redis:///0"):
        with pytest.raises(BadLocation) as told:
            redis_at(text, {})
        assert "swordfish" not in str(told.value)


def test_a_password_in_two_places_or_in_none_that_can_be_read_is_told(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for file, said in ((empty, "no password in"), (binary, "not text"), (tmp_path / "none", "cannot be read: no such")):
        with pytest.raises(BadLocation, match=said):
            at_url(URL, {"DATABASE_PASSWORD_FILE": str(file)})
    with pytest.raises(BadLocation, match="one of them decides"):
        at_url(URL.replace("keeper", "keeper:swordfish"), {"DATABASE_PASSWORD_FILE": str(empty)})


def test_a_database_that_cannot_be_reached_is_named_without_its_password() -> None:
    url = "postgresql://keeper:swordfish@127.0.0.1:1/nodes"
    for arguments, environ in ((["--database-url", url], {}), ([], {"DATABASE_URL": url})):
        done = control_plane("nodes", "list", *arguments, environ=ENVIRONMENT | environ)
        assert done.returncode == 1
        assert "the database at postgresql://keeper@127.0.0.1:1/nodes does not answer: " in done.stderr
        assert "swordfish" not in done.stderr


def test_exactly_one_place_is_named(tmp_path: Path) -> None:
    for arguments, environ, said in (
        ([], {}, "where is the database?"),
        ([], {"DATABASE_URL": ""}, "where is the database?"),
        (["--data-dir", tmp_path], {"DATABASE_URL": URL}, "one of them decides"),
        (["--data-dir", tmp_path, "--database-url", URL], {}, "one of them decides"),
    ):
        for command in (["nodes", "list"], ["migrate"], ["serve"], ["token", "create"]):
            done = control_plane(*command, *arguments, environ=ENVIRONMENT | environ)
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
            assert said in done.stderr
            assert "hint: " in done.stderr


def test_what_the_environment_says_needs_no_option_in_a_hint() -> None:
    assert at_url(URL, {"DATABASE_URL": URL}).option == ""
