"""Folders of files, and compile_bytecode.py run on them as in an image's build."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import environment

PROGRAM: Final = Path(__file__).parent.parent.parent / "compile_bytecode.py"


def tree(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """The folder, with these files in it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """What is in all files of a folder, by their paths in it."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: files[name].read_bytes() for name in sorted(files)}


@dataclass(frozen=True)
class Made:
    """What an image has in /opt."""

    root: Path
    told: str

    @property
    def lib(self) -> Path:
        """The packages."""
        return self.root / "lib"

    @property
    def manifest(self) -> Path:
        """The list of all files."""
        return self.root / "MANIFEST"

    def launcher(self, name: str) -> Path:
        """A program."""
        return self.root / "bin" / name


def run(*arguments: str | Path, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The program with these arguments, to its end."""
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    clean = {name: value for name, value in environment().items() if name != "SOURCE_DATE_EPOCH"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=clean | dict(environ or {}), umask=0o077
    )


def process(
    source: Path, root: Path, *options: str | Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The program on a folder, with what an image has beside its packages."""
    beside = ("--launchers", root / "bin", "--manifest", root / "MANIFEST")
    return run(source, root / "lib", *beside, *options, environ=environ)


def compiled_tree(source: Path, root: Path, *options: str | Path, environ: Mapping[str, str] | None = None) -> Made:
    """That, where it must succeed."""
    done = process(source, root, *options, environ=environ)
    assert done.returncode == 0, done.stderr
    return Made(root, done.stdout)
