"""compile_bytecode.py as the program that it is, on small trees, and on our own packages with all that they need."""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from compile_bytecode import compiled, steady
from tests.image.trees import Made, compiled_tree, process, run, snapshot, tree

MODULE: Final = '''"""About."""

def greet():
    """Says it."""
    assert not greet, 'it is checked'
    return "hello"

def fail():
    raise ValueError("of the module")
'''
MANY_VALUES: Final = f'''
A = ("a text", 'x', "ä", "\\ud800", b"bytes", 1, -1, 2**40, -2**90, 1.5, -0.0, 2j, None, True, ..., ("a text", (1,)))
def f(a, *b, c=((), ()), **e):
    """A text that stands here for the first time."""
    def g():
        return a, lambda: (a, c, "a text")
    return A in {{"one", "two", 3, 4.0, None, (5, "six")}}, [g for g in b if g not in ("one", "two")]
class C:
    def m(self):
        self.one = self.two = self.three = self.four = self.five = self.six = "a text"
LONG_TEXT = "{"a long text " * 40}"
MANY = ({", ".join(f"'{number} is a text'" for number in range(300))})
'''


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as pip leaves one: two packages, a module, and what pip and compilers leave around them."""
    return tree(
        tmp_path / "source",
        {
            "ours/__init__.py": "",
            "ours/words.py": MODULE,
            "ours/py.typed": "",
            "ours/limits.toml": "a = 1\n",
            "theirs/__init__.py": "",
            "theirs/words.py": MODULE,
            "theirs/values.py": MANY_VALUES,
            "theirs/words.pyi": "def greet() -> str: ...\n",
            "theirs/fast.pyx": "x",
            "theirs/fast.c": "x",
            "theirs/fast.h": "x",
            "theirs/fast.so": b"\x7fELF of a kind",
            "theirs/__pycache__/words.cpython-311.pyc": b"old",
            "theirs/stale.pyc": b"old",
            "theirs/test/test_words.py": "",
            "alone.py": "import theirs.words\n",
            "alone.pth": "import alone\n",
            "bin/greet": "#!/usr/bin/python\n",
            "theirs-1.dist-info/METADATA": "Name: theirs\nVersion: 1\n",
            "theirs-1.dist-info/RECORD": "x",
            "theirs-1.dist-info/INSTALLER": "pip\n",
            "theirs-1.dist-info/direct_url.json": '{"url": "file:///home/someone"}',
            "theirs-1.dist-info/licenses/vendored/free.txt": "free",
            "theirs-1.dist-info/entry_points.txt": "[console_scripts]\n",
        },
    )


@pytest.fixture
def made(source: Path, tmp_path: Path) -> Made:
    """That tree, compiled, with a launcher."""
    return compiled_tree(source, tmp_path / "opt", "--optimize-for", "ours=2", "--entry", "greet=ours.words:greet")


def python(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Python alone with the standard library."""
    command = [sys.executable, "-ISB", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=cwd)


def imported(lib: Path, statement: str) -> str:
    """What a statement prints that imports from a folder."""
    done = python("-c", f"import sys; sys.path.append({str(lib)!r}); {statement}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def said(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of an error; the test fails when it is told in another way."""
    assert done.returncode == code, done.stderr
    first, *hints = done.stderr.splitlines()
    assert first.startswith("compile_bytecode: error: "), done.stderr
    assert all(each.startswith("hint: ") for each in hints), done.stderr
    return first.partition("error: ")[2]


# What is in the tree.


def test_each_module_is_bytecode_where_its_source_was_and_only_data_is_beside_it(made: Made) -> None:
    assert list(snapshot(made.lib)) == [
        "alone.pyc",
        "ours/__init__.pyc",
        "ours/limits.toml",
        "ours/words.pyc",
        "theirs-1.dist-info/METADATA",
        "theirs-1.dist-info/entry_points.txt",
        "theirs-1.dist-info/licenses/vendored/free.txt",
        "theirs/__init__.pyc",
        "theirs/fast.so",
        "theirs/test/test_words.pyc",
        "theirs/values.pyc",
        "theirs/words.pyc",
    ]
    assert (made.lib / "ours/limits.toml").read_text() == "a = 1\n"


def test_bytecode_is_of_a_kind_that_is_never_held_against_a_source(made: Made) -> None:
    for path in made.lib.rglob("*.pyc"):
        assert path.read_bytes()[4:8] == b"\x01\0\0\0", path  # PEP 552: by hash, unchecked


def test_packages_are_compiled_each_at_its_level(made: Made) -> None:
    docs = "from {0} import words; print(words.__doc__, words.greet.__doc__)"
    assert imported(made.lib, docs.format("ours")) == "None None"
    assert imported(made.lib, docs.format("theirs")) == "About. Says it."
    assert imported(made.lib, "from ours import words; print(words.greet())") == "hello"
    assert b"it is checked" in (made.lib / "theirs/words.pyc").read_bytes()


def test_a_traceback_names_the_path_inside_of_the_tree_and_no_folder_of_the_build(made: Made, source: Path) -> None:
    done = python("-c", f"import sys; sys.path.append({str(made.lib)!r}); from ours import words; words.fail()")
    assert 'File "ours/words.py", line 9, in fail' in done.stderr
    for path in made.lib.rglob("*"):
        assert path.is_dir() or str(source).encode() not in path.read_bytes(), path


def test_no_column_of_a_source_that_is_not_there_is_kept(made: Made) -> None:
    asked = "from ours import words; print({place[2:] for place in words.fail.__code__.co_positions()})"
    assert imported(made.lib, asked) == "{(None, None)}"


def test_globs_leave_out_and_take_back_and_the_last_that_fits_counts(source: Path, tmp_path: Path) -> None:
    rules = (
        "--drop",
        "theirs/*",
        "--keep",
        "theirs/w*",
        "--keep",
        "*/test/*",
        "--drop",
        "*/test_*",
        "--drop",
        "none/*",
    )
    made = compiled_tree(source, tmp_path / "opt", *rules)
    assert [path for path in snapshot(made.lib) if path.startswith("theirs/")] == ["theirs/words.pyc"]
    assert [line.split(maxsplit=1) for line in made.told.splitlines() if "left out" in line] == [
        ["1", "files left out: --drop */test_*"],
        ["0", "files left out: --drop none/*"],
        ["8", "files left out: --drop theirs/*"],
        ["7", "files left out: never taken along"],
    ]


def test_it_says_how_much_it_made(made: Made) -> None:
    size = sum(path.stat().st_size for path in made.lib.rglob("*") if path.is_file())
    words = [line.split(maxsplit=1) for line in made.told.splitlines()]
    assert ["2", "modules compiled at level 2"] in words
    assert ["5", "modules compiled at level 0"] in words
    assert ["5", "data files copied"] in words
    assert ["1", "launchers"] in words
    assert [f"{size:,}", f"bytes in {made.lib}"] in words


# The same bytes.


def test_another_machine_process_and_order_make_the_same_bytes(source: Path, made: Made, tmp_path: Path) -> None:
    elsewhere = tmp_path / "another/home/of/sources"
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file():
            copy = elsewhere / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            os.utime(copy, (1, 1))
            copy.chmod(0o600)
    again = compiled_tree(
        elsewhere,
        tmp_path / "opt2",
        *("--optimize-for", "ours=2", "--entry", "greet=ours.words:greet", "--runs-at", made.lib),
        environ={"PYTHONHASHSEED": "12345", "PYTHONOPTIMIZE": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo"},
    )
    assert snapshot(again.root) == snapshot(made.root)


def test_modes_and_times_are_the_trees_own(source: Path, tmp_path: Path) -> None:
    (source / "ours/limits.toml").chmod(0o777)
    (source / "ours").chmod(0o700)
    options = ("--entry", "greet=ours.words:greet")
    made = compiled_tree(source, tmp_path / "opt", *options, environ={"SOURCE_DATE_EPOCH": "1767225600"})
    for path in (made.lib, *made.lib.rglob("*"), made.launcher("greet"), made.manifest):
        about = path.stat()
        assert about.st_mtime_ns == 1767225600 * 10**9, path
        runs = path.is_dir() or path == made.launcher("greet")
        assert stat.S_IMODE(about.st_mode) == (0o755 if runs else 0o644), path


def test_bytecode_reads_back_as_what_was_compiled() -> None:
    for level in (0, 1, 2):
        code = compile(MANY_VALUES, "many.py", "exec", dont_inherit=True, optimize=level)
        written = compiled(MANY_VALUES.encode(), "many.py", level)
        assert marshal.loads(written[16:]) == code  # noqa: S302  (of our own)
        assert steady(written[16:]) == written[16:]


def test_bytecode_that_does_not_read_back_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    other = marshal.dumps(compile("2", "x.py", "exec"))
    monkeypatch.setattr("compile_bytecode.steady", lambda _: other)
    with pytest.raises(ValueError, match="does not read back"):
        compiled(b"1", "x.py", 0)


def test_bytes_do_not_tell_what_the_process_did_before() -> None:
    def looked_at(source: str) -> bytes:
        code = compile(source, "many.py", "exec", dont_inherit=True)
        held = list(everything(code))
        assert held
        for each in held:
            if isinstance(each, str):
                sys.intern(each)
        return marshal.dumps(code, 4)

    def everything(code: object) -> Iterator[object]:
        yield code
        if isinstance(code, tuple | frozenset):
            for each in code:
                yield from everything(each)
        for name in ("co_code", "co_consts", "co_names", "co_varnames", "co_linetable"):
            if hasattr(code, name):
                yield from everything(getattr(code, name))

    fresh = marshal.dumps(compile(MANY_VALUES, "many.py", "exec", dont_inherit=True), 4)
    assert looked_at(MANY_VALUES) != fresh  # else this shows nothing
    assert steady(looked_at(MANY_VALUES)) == steady(fresh)


def test_equal_values_are_the_same_bytes_however_they_are_shared() -> None:
    one, other = ["a long text"], ["a long "]
    other[0] += "text"
    assert one[0] is not other[0]
    assert marshal.dumps((one[0], one[0])) != marshal.dumps((one[0], other[0]))
    assert steady(marshal.dumps((one[0], one[0]))) == steady(marshal.dumps((one[0], other[0])))
    assert steady(b">\2\0\0\0z\1az\1b") == steady(b">\2\0\0\0Z\1bz\1a")  # {"a", "b"}
    assert len(steady(marshal.dumps(tuple(one * 100)))) < 600


def test_what_bytecode_never_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="not known here"):
        steady(marshal.dumps([1]))


# The manifest and the launchers.


def test_the_manifest_lists_every_file_as_sha256sum_reads_it(made: Made) -> None:
    lines = made.manifest.read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.relative_to(made.root).as_posix() for path in made.root.rglob("*") if path.is_file()}
    assert listed.keys() == files - {"MANIFEST"}
    assert list(listed) == sorted(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((made.root / name).read_bytes()).hexdigest() == digest
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "MANIFEST"], check=True, cwd=made.root, timeout=60)
    (made.lib / "ours/limits.toml").write_text("a = 2\n")
    check = ["sha256sum", "--check", "--quiet", "MANIFEST"]
    assert subprocess.run(check, capture_output=True, cwd=made.root, timeout=60, check=False).returncode == 1


PROGRAM: Final = """
import sys
def main():
    print(__name__, sys.argv[0].rpartition("/")[2], sys.argv[1:], "".join(sys.path[-1:]).rpartition("/")[2])
    return 3
"""


def test_a_launcher_runs_its_function_from_anywhere_and_is_no_source(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", {"ours.py": PROGRAM, "json.py": "raise ImportError"})
    made = compiled_tree(source, tmp_path / "opt", "--entry", "say-it=ours:main")
    launcher = made.launcher("say-it")
    hostile = tree(tmp_path / "elsewhere", {"ours.py": "", "sitecustomize.py": "raise SystemExit(9)"})
    environ = {"PYTHONPATH": str(hostile), "PATH": os.environ["PATH"], "PYTHONSTARTUP": "x"}
    done = subprocess.run(
        [launcher, "a", "b c"], capture_output=True, text=True, check=False, timeout=60, cwd=hostile, env=environ
    )
    assert (done.returncode, done.stdout) == (3, "ours say-it ['a', 'b c'] lib\n"), done.stderr
    with zipfile.ZipFile(launcher) as archive:
        assert archive.namelist() == ["__main__.pyc"]
    assert launcher.read_bytes().startswith(f"#!{sys.executable} -IBS\n".encode())


def test_a_launcher_looks_where_the_tree_will_lie(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", {"ours.py": PROGRAM})
    made = compiled_tree(source, tmp_path / "opt", "--entry", "say-it=ours:main", "--runs-at", tmp_path / "final/lib")
    early = subprocess.run([made.launcher("say-it")], capture_output=True, text=True, check=False, timeout=60)
    assert "No module named 'ours'" in early.stderr
    made.root.rename(tmp_path / "final")
    command = [tmp_path / "final/bin/say-it"]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 3


# What it refuses. Nothing is left of what it began.


def refused(source: Path, tmp_path: Path, *options: str | Path, code: int = 1) -> str:
    """What is said of a tree that cannot be made."""
    before = snapshot(source)
    error = said(process(source, tmp_path / "opt", *options), code)
    left = tmp_path / "opt"
    assert not left.exists() or list(left.iterdir()) == [], error
    assert snapshot(source) == before
    return error


def test_a_module_that_does_not_compile_is_named_with_its_line_and_so_are_others(source: Path, tmp_path: Path) -> None:
    tree(
        source,
        {"theirs/old.py": "import os\nprint 'two'\n", "theirs/nul.py": "a = '\0'", "theirs/bad.py": b"a = '\xff'\n"},
    )
    done = process(source, tmp_path / "opt")
    assert said(done, 1).startswith("does not compile: theirs/bad.py:")
    assert "hint: nor does theirs/nul.py" in done.stderr
    assert "hint: nor does theirs/old.py:2: Missing parentheses" in done.stderr
    assert list((tmp_path / "opt").iterdir()) == []
    drops = [f"--drop=theirs/{name}.py" for name in ("old", "nul", "bad")]
    assert "theirs/old.pyc" not in snapshot(compiled_tree(source, tmp_path / "opt", *drops).lib)


@pytest.mark.parametrize("name", ["words.whl", "words.zip", "run"])
def test_what_may_be_source_and_is_not_known_as_such_is_not_left(name: str, source: Path, tmp_path: Path) -> None:
    tree(source, {f"theirs/{name}": "#!/bin/sh\n" if name == "run" else "PK"})
    assert refused(source, tmp_path) == f"source would be left: theirs/{name}"
    compiled_tree(source, tmp_path / "opt", "--drop", f"theirs/{name}")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("nothing.here:main", "ModuleNotFoundError: No module named 'nothing'"),
        ("ours.words:shout", "there is no function shout"),
        ("ours.words:__doc__", "there is no function __doc__"),
        ("alone:theirs", "there is no function theirs"),
        ("json:loads", "it comes from "),
        ("lacking:main", "ModuleNotFoundError: No module named 'click'"),
    ],
)
def test_an_entry_that_does_not_import_from_the_tree_alone_is_an_error(
    entry: str, why: str, source: Path, tmp_path: Path
) -> None:
    tree(source, {"lacking.py": "import click\ndef main(): pass\n"})
    error = refused(source, tmp_path, "--entry", f"x={entry}")
    assert error.startswith(f"entry x: {entry} does not import: {why}")


def test_an_entry_is_imported_by_the_python_that_will_run_it(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 'Error: of another Python' >&2; exit 1\n")
    other.chmod(0o755)
    error = refused(source, tmp_path, "--entry", "x=ours.words:greet", "--python", other)
    assert error.endswith("does not import: Error: of another Python")


def to_outside(source: Path) -> None:
    (source / "theirs/passwords").symlink_to("/etc/passwd")


def to_inside(source: Path) -> None:
    (source / "theirs/others.py").symlink_to("words.py")


def to_a_folder(source: Path) -> None:
    (source / "theirs/others").symlink_to("../ours")


@pytest.mark.parametrize("link", [to_outside, to_inside, to_a_folder])
def test_symbolic_links_are_refused(link: Callable[[Path], None], source: Path, tmp_path: Path) -> None:
    link(source)
    assert refused(source, tmp_path).endswith("is a symbolic link")


def test_what_is_neither_file_nor_folder_is_refused(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "ours/pipe")
    done = process(source, tmp_path / "opt")
    assert said(done, 1) == "ours/pipe is neither file nor folder"


def test_a_name_that_would_spoil_the_manifest_is_refused(source: Path, tmp_path: Path) -> None:
    tree(source, {"ours/two\nlines.toml": ""})
    assert refused(source, tmp_path) == r"'ours/two\nlines.toml' has a name that a manifest cannot hold"


def test_a_target_that_holds_something_is_left_as_it_is(source: Path, tmp_path: Path) -> None:
    tree(tmp_path / "opt/lib", {"precious": "1"})
    done = process(source, tmp_path / "opt")
    assert said(done, 1) == f"{tmp_path / 'opt/lib'} is there and not empty"
    assert list(snapshot(tmp_path / "opt")) == ["lib/precious"]


def test_an_empty_target_is_filled(source: Path, tmp_path: Path) -> None:
    (tmp_path / "opt/lib").mkdir(parents=True)
    assert snapshot(compiled_tree(source, tmp_path / "opt").lib)


def test_a_launcher_that_cannot_be_written_takes_the_tree_with_it(source: Path, tmp_path: Path) -> None:
    tree(tmp_path / "opt", {"bin": "a file where the folder should be"})
    done = process(source, tmp_path / "opt", "--entry", "x=ours.words:greet")
    assert said(done, 1) == f"{tmp_path / 'opt/bin'}: file exists"
    assert list(snapshot(tmp_path / "opt")) == ["bin"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--keep", "theirs/wrods.py"), "--keep theirs/wrods.py fits no file"),
        (("--optimize-for", "uors=2"), "--optimize-for uors: there is no such package in "),
        (("--entry", "x=ours.words:greet", "--python", "python3"), "--python python3: no launcher can name it"),
        (("--entry", "x=ours.words:greet", "--python", "/a b/python"), "--python /a b/python: no launcher can name it"),
        (("--entry", "x=ours.words:greet", "--python", f"/{'p' * 130}"), f"--python /{'p' * 130}: no launcher can"),
        (("--entry", "x=ours.words:greet", "--runs-at", "lib"), "--runs-at lib: a launcher must find it from anywhere"),
    ],
)
def test_an_option_that_cannot_be_meant_is_wrong_usage(
    options: tuple[str, ...], error: str, source: Path, tmp_path: Path
) -> None:
    assert refused(source, tmp_path, *options, code=2).startswith(error)


def test_nothing_is_written_into_what_is_read_or_beside_what_the_manifest_lists(source: Path, tmp_path: Path) -> None:
    inside = source / "lib"
    assert said(run(source, inside), 2) == f"{inside} cannot be inside of {source}"
    target = tmp_path / "opt/lib"
    for option in ("--launchers", "--manifest"):
        done = run(source, target, option, target / "x")
        assert said(done, 2) == f"{target / 'x'} cannot be inside of {target}"
    assert said(run(tmp_path / "none", target), 2) == f"there is no folder {tmp_path / 'none'}"


@pytest.mark.parametrize("epoch", ["yesterday", "-1", "1.5", ""])
def test_a_time_that_is_none_is_wrong_usage(epoch: str, source: Path, tmp_path: Path) -> None:
    done = process(source, tmp_path / "opt", environ={"SOURCE_DATE_EPOCH": epoch})
    assert said(done, 2) == "SOURCE_DATE_EPOCH is no whole number of seconds since 1970"


@pytest.mark.parametrize("option", [("--entry", "x=../y:z"), ("--entry", "../x=y:z"), ("--optimize-for", "ours=3")])
def test_an_option_of_another_form_is_told_by_its_form(option: tuple[str, str], source: Path, tmp_path: Path) -> None:
    done = run(source, tmp_path / "opt/lib", *option)
    assert done.returncode == 2
    assert f"argument {option[0]}: invalid" in done.stderr
    assert option[1] in done.stderr


def test_help_shows_a_whole_call() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "--optimize-for node_agent=2 --entry node-agent=node_agent.cli:main" in done.stdout
