"""Makes of a folder of packages one that holds bytecode and no source: what an image carries.

    pip install --target /build/lib --require-hashes -r requirements.txt
    SOURCE_DATE_EPOCH=1767225600 python compile_bytecode.py /build/lib /opt/lib \\
        --optimize-for node_agent=2 --entry node-agent=node_agent.cli:main --launchers /opt/bin \\
        --drop 'ccxt/test/*' --manifest /opt/MANIFEST

Each `module.py` becomes a `module.pyc` in the same place, which Python imports as it would the source. Data files are
copied. Sources of any language, caches, the programs in bin/ and what pip notes for itself are left out; of *.dist-info
stay METADATA, entry_points.txt and the licences. Symbolic links are refused.

The same sources give the same bytes, whatever machine, folder or time it is: code knows its file by the path inside of
SOURCE, every file has the time SOURCE_DATE_EPOCH (0 unless it is set), and bytecode is written in the one form that
`steady` describes. In which column of a line something stands is left out: that is told beside the source alone.

A launcher is a zip that Python runs, with bytecode in it: `node-agent` is no source either. It imports from the
standard library and from TARGET alone, whatever the environment says.

TARGET is whole, or it is not there. It fails, with exit code 1, when a file does not compile, when something that may
be source is left, and when an entry does not import from TARGET. Exit code 2: wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import marshal
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path, PurePosixPath
from typing import Any, Final

_COMPILED: Final = ".py"
# fmt: off
_SOURCES: Final = frozenset((
    ".py", ".pyi", ".pyw", ".pyx", ".pxd", ".pxi", ".ipynb", ".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx",
    ".s", ".asm", ".f", ".f90", ".rs", ".go", ".java",
))
# fmt: on
_LEFT_OUT: Final = _SOURCES | {".pyc", ".pyo", ".pth", ".a", ".o"}
"""A .pth is read in site-packages alone, and may hold source."""
_HIDE_SOURCES: Final = frozenset({".whl", ".egg", ".pyz", ".zip"})
_OF_DIST_INFO: Final = ("METADATA", "entry_points.txt")
_LICENCES: Final = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
_MOST_OF_A_SHEBANG: Final = 127
"""Bytes of the first line that every Linux reads."""
_WITHOUT_COLUMNS: Final = {"PYTHONNODEBUGRANGES": "1"}
"""Python takes it at its start alone."""

_CHECK: Final = """
import importlib, sys
sys.path.append(sys.argv[1])
module = importlib.import_module(sys.argv[2])
if not (module.__file__ or "").startswith(sys.argv[1]):
    sys.exit(f"it comes from {module.__file__}")
if not callable(getattr(module, sys.argv[3], None)):
    sys.exit(f"there is no function {sys.argv[3]}")
"""
_MAIN: Final = """
import sys
sys.path[:] = [*sys.path[1:], {path!r}]
from {module} import {function}
sys.exit({function}())
"""


class Failed(Exception):
    """No tree is made. `hints` say what to do; `code` is the exit code."""

    def __init__(self, message: str, *hints: str, code: int = 1) -> None:
        super().__init__(message)
        self.hints = hints
        self.code = code


@dataclass(frozen=True, slots=True)
class Entry:
    """A function that a launcher runs."""

    name: str
    module: str
    function: str

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Raises ValueError unless it is NAME=MODULE:FUNCTION."""
        name, _, target = text.partition("=")
        module, _, function = target.partition(":")
        if not all(each.isidentifier() for each in (name.replace("-", "_"), *module.split("."), function)):
            raise ValueError("NAME=MODULE:FUNCTION")
        return cls(name, module, function)


def _level(text: str) -> tuple[str, int]:
    package, _, level = text.partition("=")
    if not package.isidentifier() or level not in {"0", "1", "2"}:
        raise ValueError("PACKAGE=LEVEL")
    return package, int(level)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    asked = _parser().parse_args(arguments)
    try:
        _run(asked)
    except Failed as error:
        return _say(str(error), error.hints, error.code)
    except OSError as error:
        return _say(f"{error.filename or 'no file'}: {(error.strerror or str(error)).lower()}", (), 1)
    return 0


def _say(message: str, hints: Sequence[str], code: int) -> int:
    sys.stderr.write(f"compile_bytecode: error: {message}\n")
    sys.stderr.writelines(f"hint: {hint}\n" for hint in hints)
    return code


class _Parser(argparse.ArgumentParser):
    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        return [] if not arg_line or arg_line.startswith("#") else [arg_line]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="compile_bytecode.py",
        description=__doc__,
        epilog="@FILE stands for the options in that file, one a line; lines that begin with # are comments.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="a folder of packages, as `pip install --target` makes it")
    add("target", type=Path, metavar="TARGET", help="the folder to make; not there yet, or empty")
    add(
        "--optimize-for",
        type=_level,
        action="append",
        default=[],
        metavar="PACKAGE=LEVEL",
        help="compile this package at level 1 (no assert) or 2 (no docstrings either); all others are at 0",
    )
    add(
        "--drop",
        dest="rules",
        type=lambda glob: ("--drop", glob),
        action="append",
        default=[],
        metavar="GLOB",
        help="leave out files whose path in SOURCE fits, such as 'ccxt/test/*'; * stands for slashes too",
    )
    add(
        "--keep",
        dest="rules",
        type=lambda glob: ("--keep", glob),
        action="append",
        metavar="GLOB",
        help="take along what an earlier --drop leaves out: of all that fit a path, the last one counts; a --keep that"
        " fits nothing is an error",
    )
    add(
        "--entry",
        type=Entry.parse,
        action="append",
        default=[],
        metavar="NAME=MODULE:FUNCTION",
        help="see that this function can be imported from TARGET, by --python",
    )
    add("--launchers", type=Path, metavar="FOLDER", help="write a program NAME for each entry into this folder")
    add("--runs-at", type=Path, metavar="PATH", help="where TARGET will lie when launchers run (TARGET)")
    add("--python", type=Path, default=Path(sys.executable), metavar="PATH", help="what runs launchers (this Python)")
    add(
        "--manifest", type=Path, metavar="PATH", help="list all files made, for `sha256sum -c` in the list's own folder"
    )
    return parser


def _run(asked: argparse.Namespace) -> None:
    source, target = asked.source.resolve(), asked.target.resolve()
    epoch = _epoch(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    if not source.is_dir():
        raise Failed(f"there is no folder {asked.source}", code=2)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Failed(f"{asked.target} is there and not empty", "name a new folder, or empty that one")
    beside = [each.resolve() for each in (asked.launchers, asked.manifest) if each is not None]
    for path, folder in [(target, source), *((each, folder) for each in beside for folder in (source, target))]:
        if path.is_relative_to(folder):
            raise Failed(f"{path} cannot be inside of {folder}", code=2)
    levels = dict(asked.optimize_for)
    files, left_out = _chosen(source, asked.rules)
    missing = sorted(levels.keys() - {PurePosixPath(each).parts[0].removesuffix(_COMPILED) for each in files})
    if missing:
        raise Failed(f"--optimize-for {missing[0]}: there is no such package in {asked.source}", code=2)
    launchers = {
        asked.launchers.resolve() / each.name: _launcher(each, asked.python, asked.runs_at or target)
        for each in (asked.entry if asked.launchers is not None else ())
    }

    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    written: list[Path] = []
    try:
        counts = _fill(made, source, files, levels)
        _see_that_no_source_is_left(made)
        for entry in asked.entry:
            _see_that_it_imports(entry, made, asked.python)
        _settle(made, epoch)
        if target.exists():
            target.rmdir()
        made.rename(target)
        written.append(target)
        for path, content in launchers.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(path)
            _write(path, content, 0o755, epoch)
        if asked.manifest is not None:
            listed = _manifest([*_files(target), *launchers], asked.manifest.resolve().parent)
            written.append(asked.manifest)
            asked.manifest.parent.mkdir(parents=True, exist_ok=True)
            _write(asked.manifest, listed.encode(), 0o644, epoch)
    except BaseException:
        for path in (made, *written):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise
    _report(counts, left_out, target, launchers)


def _epoch(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Failed("SOURCE_DATE_EPOCH is no whole number of seconds since 1970", code=2)
    return int(text)


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All that is in a folder that is no folder, by its path there, in order."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda each: each.name)
    for each in entries:
        if each.is_dir(follow_symlinks=False):
            for path, below in _walk(Path(each.path)):
                yield f"{each.name}/{path}", below
        else:
            yield each.name, each


def _files(folder: Path) -> list[Path]:
    return [folder / path for path, _ in _walk(folder)]


def _chosen(source: Path, rules: Sequence[tuple[str, str]]) -> tuple[list[str], Counter[str]]:
    """The paths of what is compiled or copied, and how many files are left out, by what leaves them out."""
    chosen = []
    left_out = Counter({f"--drop {glob}": 0 for what, glob in rules if what == "--drop"})
    fit: set[tuple[str, str]] = set()
    for path, entry in _walk(source):
        fitting = [rule for rule in rules if fnmatchcase(path, rule[1])]
        fit.update(fitting)
        if fitting and fitting[-1][0] == "--drop":
            left_out[" ".join(fitting[-1])] += 1
        elif not _is_taken_along(PurePosixPath(path)):
            left_out["never taken along"] += 1
        elif entry.is_symlink():
            raise Failed(f"{path} is a symbolic link", "an image's files must be its own: put the file itself there")
        elif not entry.is_file(follow_symlinks=False):
            raise Failed(f"{path} is neither file nor folder")
        elif "\\" in path or not path.isprintable():
            raise Failed(f"{path!a} has a name that a manifest cannot hold")
        else:
            chosen.append(path)
    for what, glob in rules:
        if what == "--keep" and (what, glob) not in fit:
            raise Failed(f"--keep {glob} fits no file", f"is it spelt as in {source}?", code=2)
    return chosen, left_out


def _is_taken_along(path: PurePosixPath) -> bool:
    if "__pycache__" in path.parts or path.name == "py.typed" or path.parts[0] == "bin":
        return False
    if path.parts[0].endswith(".dist-info"):
        return path.name in _OF_DIST_INFO or "licenses" in path.parts or path.name.upper().startswith(_LICENCES)
    return path.suffix == _COMPILED or path.suffix.lower() not in _LEFT_OUT


def _fill(made: Path, source: Path, files: Sequence[str], levels: dict[str, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    wrong = []
    for path in files:
        to = made / path
        to.parent.mkdir(parents=True, exist_ok=True)
        content = (source / path).read_bytes()
        if to.suffix != _COMPILED:
            to.write_bytes(content)
            counts["data files copied"] += 1
            continue
        level = levels.get(path.partition("/")[0].removesuffix(_COMPILED), 0)
        try:
            to.with_suffix(".pyc").write_bytes(compiled(content, path, level))
        except SyntaxError as error:
            wrong.append(f"{path}{'' if error.lineno is None else f':{error.lineno}'}: {error.msg}")
        except (ValueError, RecursionError) as error:
            wrong.append(f"{path}: {error}")
        counts[f"modules compiled at level {level}"] += 1
    if wrong:
        others = (f"nor does {each}" for each in wrong[1:])
        raise Failed(f"does not compile: {wrong[0]}", *others, "what is no module of this Python goes by --drop")
    return counts


def compiled(source: bytes, path: str, level: int) -> bytes:
    """The .pyc of a module, which Python takes without asking for its source (PEP 552, unchecked)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's sources
        code = compile(source, path, "exec", dont_inherit=True, optimize=level)
    written = steady(marshal.dumps(code, 4))
    if marshal.loads(written) != code:  # noqa: S302  (written here)
        raise ValueError("its bytecode does not read back as it was written")
    return MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + written


def steady(marshalled: bytes) -> bytes:
    """The same value, in bytes that are a function of nothing but the value.

    `marshal` writes a reference where the process happens to hold one object twice, a mark on what may be referred to
    by how often it is held, and another mark on texts that the process has interned. Here every equal value that is
    longer than a reference is written once and referred to from then on, every text is one to intern, and the
    members of a set are ordered by their own bytes.
    """
    out = bytearray()
    _put(_Reader(marshalled).value(), out, {})
    return bytes(out)


_Value = tuple[Any, ...]
"""A value's bytes, of which the first says what it is, with the values in it where they belong."""
_FIXED: Final = {b"N": 0, b"T": 0, b"F": 0, b".": 0, b"S": 0, b"i": 4, b"g": 8, b"y": 16}
"""Kinds of a size of their own: None, True, False, ..., StopIteration, small integers, floats, complex numbers."""
_TEXTS: Final = {b"s": b"s", b"t": b"t", b"u": b"t", b"a": b"A", b"A": b"A", b"z": b"Z", b"Z": b"Z"}
"""Bytes, and the kinds of text, each as the one that is to be interned."""


class _Reader:
    """Reads marshal's fourth format, as far as code uses it. Raises ValueError for anything else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._known: list[_Value] = []

    def value(self) -> _Value:
        first = self._take(1)[0]
        kind = bytes([first & 0x7F])
        if kind == b"r":
            return self._known[int.from_bytes(self._take(4), "little")]
        place = len(self._known)
        if first & 0x80:
            self._known.append(())
        value = self._after(kind)
        if first & 0x80:
            self._known[place] = value
        return value

    def _after(self, kind: bytes) -> _Value:
        if kind in _FIXED:
            return (kind + self._take(_FIXED[kind]),)
        if kind == b"c":
            return (kind + self._take(20), *self._values(8), self._take(4), *self._values(2))
        size = self._take(1 if kind in b"zZ)" else 4)
        count = int.from_bytes(size, "little", signed=kind == b"l")
        if kind == b"l":
            return (kind + size + self._take(2 * abs(count)),)
        if kind in _TEXTS:
            return (_TEXTS[kind] + size + self._take(count),)
        if kind in b"()":
            return (kind + size, *self._values(count))
        if kind == b">":
            return (kind + size, *sorted(self._values(count), key=_alone))
        raise ValueError(f"marshal has a kind of value that is not known here: {kind!r}")

    def _values(self, count: int) -> list[_Value]:
        return [self.value() for _ in range(count)]

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]


def _alone(value: _Value) -> bytes:
    out = bytearray()
    _put(value, out, {})
    return bytes(out)


def _put(value: _Value, out: bytearray, known: dict[_Value, int]) -> None:
    if value in known:
        out += b"r" + known[value].to_bytes(4, "little")
        return
    head: bytes = value[0]
    if len(value) > 1 or len(head) > 5:
        known[value] = len(known)
        head = bytes([head[0] | 0x80]) + head[1:]
    out += head
    for each in value[1:]:
        if isinstance(each, bytes):
            out += each
        else:
            _put(each, out, known)


def _see_that_no_source_is_left(made: Path) -> None:
    """Looks at what was made, and not at what was meant: by name in any case, and by how scripts begin."""
    for path, entry in _walk(made):
        # and so an editor's copy of one: module.py~, module.py.orig, .module.py.swp
        suffixes = {each.rstrip("~").lower() for each in PurePosixPath(path).suffixes}
        if suffixes & (_SOURCES | _HIDE_SOURCES) or _is_script(Path(entry.path)):
            raise Failed(f"source would be left: {path}", f"if nothing needs it: --drop '{path}'")


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _see_that_it_imports(entry: Entry, made: Path, python: Path) -> None:
    command = [str(python), "-I", "-B", "-S", "-c", _CHECK, str(made), entry.module, entry.function]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Failed(
            f"entry {entry.name}: {entry.module}:{entry.function} does not import: {said}",
            "is it in SOURCE, with all that it needs? does a --drop take part of that?",
        )


def _launcher(entry: Entry, python: Path, path: Path) -> bytes:
    """A program: the line that names its Python, and a zip (PEP 441) with a `__main__` in bytecode."""
    first = f"#!{python} -IBS\n".encode()
    if not python.is_absolute() or b" " in str(python).encode() or len(first) > _MOST_OF_A_SHEBANG:
        raise Failed(f"--python {python}: no launcher can name it", "give a short absolute path without blanks", code=2)
    if not path.is_absolute():
        raise Failed(f"--runs-at {path}: a launcher must find it from anywhere", "give an absolute path", code=2)
    source = _MAIN.format(path=str(path), module=entry.module, function=entry.function).encode()
    out = io.BytesIO()
    out.write(first)
    with zipfile.ZipFile(out, "a") as archive:
        member = zipfile.ZipInfo("__main__.pyc")
        member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
        archive.writestr(member, compiled(source, f"{entry.name}/__main__.py", 0))
    return out.getvalue()


def _write(path: Path, content: bytes, mode: int, epoch: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, (epoch, epoch))


def _settle(folder: Path, epoch: int) -> None:
    """Modes and times, of a folder after those of what is in it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))
    folder.chmod(0o755)
    os.utime(folder, (epoch, epoch))


def _manifest(paths: Sequence[Path], folder: Path) -> str:
    named = sorted((Path(os.path.relpath(path, folder)).as_posix(), path) for path in paths)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in named)


def _report(counts: Counter[str], left_out: Counter[str], target: Path, launchers: dict[Path, bytes]) -> None:
    lines = [f"{count:>9,} {what}" for what, count in sorted(counts.items())]
    lines += [f"{count:>9,} files left out: {what}" for what, count in sorted(left_out.items())]
    lines += [f"{len(launchers):>9,} launchers"]
    lines += [f"{sum(each.stat().st_size for each in _files(target)):>9,} bytes in {target}"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    if not _WITHOUT_COLUMNS.items() <= os.environ.items() or sys.flags.ignore_environment:
        os.execve(sys.executable, [sys.executable, "-BPS", *sys.argv], os.environ | _WITHOUT_COLUMNS)  # noqa: S606
    sys.exit(main())
