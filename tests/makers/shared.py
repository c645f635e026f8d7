"""Made-up archives and their builds, made once for all test workers."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.sources import make_archives
from uls_data import build
from uls_data.recipe import load_recipe


def linked(source: Path, to: Path) -> Path:
    """Copy a folder as links: files may be replaced there and added, but never written into."""
    return Path(shutil.copytree(source, to, copy_function=os.link, dirs_exist_ok=True))


class Shared:
    """Folders that nobody writes to; copy what you want to change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(exist_ok=True)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self._root / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """Folder that `make` fills; only the first of all test workers calls it."""
        ready = self._root / name
        with self._locked(name):
            if not ready.exists():
                part = self._root / f"{name}.part"
                shutil.rmtree(part, ignore_errors=True)  # of a worker that failed in the middle
                part.mkdir()
                make(part)
                part.rename(ready)
        return ready

    def raw(self, source: str) -> Path:
        """Raw archive of a source."""
        folder = self.once(f"raw-{source}", lambda to: make_archives(to, only=[source]))
        return folder / source

    def out(self, source: str) -> Path:
        """OUT of a build of a source as its users run it, with thumbnails."""
        raw = self.raw(source)
        return self.once(f"out-{source}", lambda to: build(source, raw, to))

    def kits_readers(self, real_data: Path) -> Path:
        """OUT of the real KiTS23 masks with their annotators, labels alone."""
        raw = real_data / "kits23" / "dataset"
        if not raw.is_dir():
            pytest.skip(f"no KiTS masks at {raw}")

        def make(to: Path) -> None:
            content = load_recipe("kits21").recipe.model_dump(mode="json")
            recipe = to / "kits.yaml"
            recipe.write_text(
                json.dumps({**content, "instances": {"rule": "files"}}), encoding="utf-8"
            )
            build(recipe, raw, to, labels_only=True)

        return self.once("out-kits-readers", make)

    def vois(self, to: Path, *sources: str) -> Path:
        """OUT of the builds of several sources, whose files may be replaced."""
        for source in sources:
            linked(self.out(source), to)
        return to
