"""Parts of an unfinished release, so that the same command continues after a kill."""

from __future__ import annotations

from pathlib import Path

from uls_data.io.journal import Journal
from uls_data.release.record import stamp

PARTS = ".parts.jsonl"


class Unfinished:
    """Finished parts in a folder, until the release is finished.

    A part is taken as it is if it has the same members and nothing wrote to it since: size,
    times and inode are the same.

    Attributes
    ----------
    known : dict of str to dict
        By file name: `key` of its members, `sha256`, `stamp`.
    """

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / PARTS)
        self.known: dict[str, dict[str, object]] = {}
        for _, entry in self._journal.lines():
            match entry:
                case {"name": str(name), "key": str(), "sha256": str()}:
                    self.known[name] = entry

    def sha256_of(self, path: Path, key: str) -> str | None:
        """Hash of a part that is finished; None where it is to be written."""
        entry = self.known.get(path.name)
        if entry is None or entry["key"] != key or not path.is_file():
            return None
        return str(entry["sha256"]) if entry.get("stamp") == stamp(path) else None

    def add(self, path: Path, key: str, sha256: str) -> None:
        """Write down a part that has its name."""
        self._journal.add({"name": path.name, "key": key, "sha256": sha256, "stamp": stamp(path)})
        self._journal.close()  # parts are large, and the next may fail

    def remove(self) -> None:
        """Forget it all: the release is finished."""
        self._journal.remove()
