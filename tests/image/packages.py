"""Our packages with what is installed here of a lock file: what an image's build has before it compiles."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parent.parent.parent


def sources(folder: Path, lock: str, *ours: str) -> Path:
    """The folder, with the packages `ours` and all that `build/requirements/<lock>.txt` names for this machine."""
    for line in (ROOT / "build/requirements" / f"{lock}.txt").read_text().splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        wanted = Requirement(line.removesuffix("\\"))
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        for file in distribution(wanted.name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                to = folder / file
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), to)
    for name in ours:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
