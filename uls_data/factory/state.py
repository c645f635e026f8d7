"""What a build has finished, case by case: the same command continues from here.

Each finished case has one small file below `OUT/.uls-data/<source>/`, written
after all files of the case. It holds the case's rows and the key of what made
them (options, recipe, and name, size and time of the inputs).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from uls_data.factory.options import Row
from uls_data.io import write_bytes
from uls_data.outcome import Status


@dataclass(frozen=True)
class Finished:
    """One finished case."""

    case_id: str
    options_key: str
    key: str
    rows: list[Row]

    def is_sound(self) -> bool:
        """Whether a record that was read from disk has the types it was written with."""
        texts = (self.case_id, self.options_key, self.key)
        return (
            all(isinstance(text, str) for text in texts)
            and isinstance(self.rows, list)
            and all(
                isinstance(row, dict)
                and row.get("case_id") == self.case_id
                and all(isinstance(row.get(c), str | None) for c in ("image_path", "label_path"))
                and row.get("status") in set(Status)
                for row in self.rows
            )
        )

    def files(self) -> set[str]:
        """Files of its VOIs, relative to OUT."""
        return {
            row[column]
            for row in self.rows
            for column in ("image_path", "label_path")
            if row.get(column) is not None
        }


class State:
    """Finished cases of one source in one output folder."""

    def __init__(self, out: Path, source: str) -> None:
        self.out = out
        self.folder = out / ".uls-data" / source

    def load(self) -> dict[str, Finished]:
        """All finished cases; a damaged record counts as not finished."""
        found: dict[str, Finished] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                record = Finished(**json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                continue
            if record.is_sound() and path == self._path(record.case_id):
                found[record.case_id] = record
        return found

    def is_whole(self, record: Finished) -> bool:
        """Whether every file that a record names is there."""
        return all((self.out / name).is_file() for name in record.files())

    def save(self, record: Finished, before: Finished | None) -> None:
        """Record a finished case; removes files of its former build that it no longer has."""
        text = json.dumps(record.__dict__, ensure_ascii=False, separators=(",", ":"))
        write_bytes(self._path(record.case_id), text.encode("utf-8"))
        if before is not None:
            self._remove_files(before.files() - record.files())

    def drop(self, record: Finished) -> None:
        """Remove a case that is no longer in the raw data, and its files."""
        self._remove_files(record.files())
        self._path(record.case_id).unlink(missing_ok=True)

    def _remove_files(self, names: set[str]) -> None:
        for name in names:
            path = (self.out / name).resolve()
            if path.is_relative_to(self.out.resolve()):
                path.unlink(missing_ok=True)

    def _path(self, case_id: str) -> Path:
        # A case's name may hold anything; its hash is always a file name.
        return self.folder / f"{hashlib.sha256(case_id.encode()).hexdigest()[:32]}.json"
