"""Parts of an unfinished release, so that the same command goes on after a kill."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from uls_data.release.record import stamp

JOURNAL = ".parts.jsonl"


class Journal:
    """Finished parts in a folder, until the release is finished.

    A part is taken as it is if it has the same members and nothing wrote to it since: size,
    times and inode are the same.

    Attributes
    ----------
    known : dict of str to dict
        By file name: `key` of its members, `sha256`, `stamp`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self.known: dict[str, dict[str, object]] = {}
        if self.path.is_file():
            for line in self.path.read_text("utf-8", "replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    self.known[str(entry["name"])] = entry

    def sha256_of(self, path: Path, key: str) -> str | None:
        """Hash of a part that is finished; None where it is to be written."""
        entry = self.known.get(path.name)
        if entry is None or entry.get("key") != key or not path.is_file():
            return None
        return str(entry["sha256"]) if entry.get("stamp") == stamp(path) else None

    def add(self, path: Path, key: str, sha256: str) -> None:
        """Write down a part that has its name."""
        entry = {"name": path.name, "key": key, "sha256": sha256, "stamp": stamp(path)}
        with self.path.open("a", encoding="utf-8") as file:
            # A line cut short by a kill must not swallow the next one.
            file.write("\n" + json.dumps(entry) + "\n")

    def remove(self) -> None:
        """Forget it all: the release is finished."""
        self.path.unlink(missing_ok=True)
