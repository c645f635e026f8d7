"""What a build has finished, case by case: the same command continues from here.

While a build runs, `OUT/.uls-data/<source>/journal.jsonl` gains one line per
finished case, after all files of the case: its key (of the options, and of name,
size and time of its inputs) and its rows. When a build ends, the rows move into
`rows.parquet`, of which the manifest is a copy, the keys into `cases.jsonl`, both
sorted, and the journal goes. A kill at any instant leaves a state from which the same
command gives the same end; at worst the case at work is done again.
"""

from __future__ import annotations

import heapq
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from uls_data.errors import ManifestError, SourceError
from uls_data.factory.options import Built
from uls_data.ids import readable
from uls_data.io import TEMPORARY_PREFIX, atomic_write
from uls_data.io.journal import Journal
from uls_data.manifest.parquet import iterate_rows, read_table, row_key, stream_manifest
from uls_data.manifest.row import Row
from uls_data.outcome import Status
from uls_data.pictures.thumbnail import thumbnail_path

_PATHS: tuple[Literal["image_path", "label_path"], ...] = ("image_path", "label_path")


@dataclass(frozen=True)
class Finished:
    """A finished case: its keys, and where its rows are.

    Attributes
    ----------
    at : int or None
        Byte offset of its line in the journal; None if they are in `rows.parquet`.
    size : int or None
        Bytes of its VOI files together; None where an earlier version did not write it down.
    """

    case_id: str
    options_key: str
    key: str
    at: int | None = None
    size: int | None = None


class State:
    """Finished cases of one source in one output folder."""

    def __init__(self, out: Path, source: str) -> None:
        self.out = out
        self.source = source
        self.manifest = out / "manifest" / f"{source}.parquet"
        self.folder = out / ".uls-data" / source
        self.stored = self.folder / "rows.parquet"
        self.cases = Journal(self.folder / "cases.jsonl")
        self.journal = Journal(self.folder / "journal.jsonl")
        self.headers = self.folder / "dicom-headers.jsonl"
        # Files wait here until they get their names: on the disk of the VOIs.
        self.staging = out / source / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        self._unowned: set[str] = set()

    def load(self) -> dict[str, Finished]:
        """Return the finished cases whose files are all there and whole, by their sizes.

        Damaged records do not count.
        """
        present = self._present()
        self._unowned = set(present)
        found: dict[str, Finished] = {}
        if self.stored.is_file():
            for _, content in self.cases.lines():
                record = _record(content, None)
                if record is not None:
                    found[record.case_id] = record
            for case_id in self._incomplete(present, found):
                found.pop(case_id, None)
        for at, content in self.journal.lines():
            record = _record(content, at)
            if record is None:
                continue
            # A later line of a case replaces an earlier one.
            found.pop(record.case_id, None)
            self._unowned -= _files(content["rows"])
            if content["rows"] and _are_whole(_files(content["rows"]), present, record):
                found[record.case_id] = record
        return found

    def _present(self) -> dict[str, int]:
        """Sizes in bytes of the VOI files on disk, by their names relative to OUT."""
        names: dict[str, int] = {}
        labels = self.out / self.source / "labels"
        for folder in (self.out / self.source / "images", *labels.glob("*")):
            inside = folder.relative_to(self.out).as_posix()
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
                names.update((f"{inside}/{one.name}", one.stat().st_size) for one in entries)
        return names

    def _incomplete(self, present: dict[str, int], expected: dict[str, Finished]) -> set[str]:
        """Cases that lack a file or a part of one, or their rows."""
        broken: set[str] = set()
        seen: set[str] = set()
        rows = iterate_rows(self.stored, ["case_id", *_PATHS])
        try:
            for case_id, group in groupby(rows, key=lambda row: str(row["case_id"])):
                seen.add(case_id)
                files = _files(group)
                self._unowned -= files
                if not _are_whole(files, present, expected.get(case_id)):
                    broken.add(case_id)
        except ManifestError:
            return set(expected)
        return broken | (expected.keys() - seen)

    def files_by_case(self, case_ids: set[str]) -> dict[str, set[str]]:
        """Files that finished or half-finished builds wrote for some cases, relative to OUT."""
        found: dict[str, set[str]] = {case_id: set() for case_id in case_ids}
        if not case_ids:
            return found
        if self.stored.is_file():
            try:
                for row in iterate_rows(self.stored, ["case_id", *_PATHS]):
                    if row["case_id"] in found:
                        found[row["case_id"]].update(_with_pictures(_files([row])))
            except ManifestError:
                pass
        for _, content in self.journal.lines():
            if _record(content, 0) is not None and content["case_id"] in found:
                found[content["case_id"]].update(_with_pictures(_files(content["rows"])))
        return found

    def case_ids(self) -> set[str]:
        """Names of the cases that have rows, once the build has ended."""
        return set(read_table(self.stored, ["case_id"]).column("case_id").to_pylist())

    def rows_of(self, record: Finished) -> list[Row]:
        """Rows of one finished case."""
        if record.at is not None:
            return list(self._rows({record.case_id: record}))
        rows: list[Row] = read_table(
            self.stored, filters=[("case_id", "=", record.case_id)]
        ).to_pylist()
        return rows

    def publish(self, case_id: str, built: Built, own: set[str]) -> None:
        """Give the files of a case their names.

        Parameters
        ----------
        own : set of str
            Files that the case had before, relative to OUT.

        Raises
        ------
        SourceError
            A name is that of a VOI of another case.
        """
        if built.folder is None:
            return
        for number, name in enumerate(built.files):
            path = self.out / name
            # What a killed run left behind belongs to nobody; pictures go with their labels.
            taken = name.endswith(".nii.gz") and name not in own and name not in self._unowned
            if taken and path.exists():
                raise SourceError(
                    f"{readable(name)}: two cases have a VOI of that name, {case_id} and another; "
                    "change `voi_name` in the recipe so that each gets its own"
                )
            self._unowned.discard(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            (built.folder / str(number)).replace(path)
        built.folder.rmdir()

    def forget(self, record: Finished) -> None:
        """Write down that a finished case is so no longer: its files are about to change."""
        self.save(record.case_id, "", "", [])

    def save(self, case_id: str, options_key: str, key: str, rows: list[Row]) -> Finished:
        """Write down a finished case at the end of the journal."""
        line = {"case_id": case_id, "options_key": options_key, "key": key, "rows": rows}
        size = sum((self.out / name).stat().st_size for name in _files(rows))
        at = self.journal.add({**line, "bytes": size})
        return Finished(case_id, options_key, key, at, size)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that no row names any more."""
        inside = self.out.resolve()
        for name in names:
            path = self.out / name
            if path.parent.resolve().is_relative_to(inside):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the journal; what it holds stays."""
        self.journal.close()

    def finish(self, finished: dict[str, Finished]) -> None:
        """Move the rows of finished cases into the manifest, and their keys beside it."""
        self.close()
        stray = {name for name in self._present() if name.endswith(".nii.gz")}

        def rows() -> Iterator[Row]:
            for row in self._rows(finished):
                stray.difference_update(_files([row]))
                yield row

        stream_manifest(rows(), self.stored)
        # Left by a run that was killed inside a case, and not made again since.
        self.remove(_with_pictures(stray))
        self.cases.rewrite(
            {"case_id": r.case_id, "options_key": r.options_key, "key": r.key}
            | ({} if r.size is None else {"bytes": r.size})
            for _, r in sorted(finished.items())
        )
        self.journal.remove()
        self.restore_manifest()

    def restore_manifest(self) -> None:
        """Write the manifest from the rows of finished cases."""
        with atomic_write(self.manifest) as temporary:
            shutil.copyfile(self.stored, temporary)

    def _rows(self, finished: dict[str, Finished]) -> Iterator[Row]:
        """Rows of finished cases in the manifest's order, one case in memory at a time."""
        kept = {record.case_id for record in finished.values() if record.at is None}
        added = sorted(
            (record.case_id, record.at) for record in finished.values() if record.at is not None
        )

        def from_stored() -> Iterator[tuple[str, list[Row]]]:
            if kept:
                rows = iterate_rows(self.stored)
                for case_id, group in groupby(rows, key=lambda row: str(row["case_id"])):
                    if case_id in kept:
                        yield case_id, list(group)

        def from_journal() -> Iterator[tuple[str, list[Row]]]:
            if added:
                contents = self.journal.contents_at(at for _, at in added)
                for (case_id, _), content in zip(added, contents, strict=True):
                    yield case_id, content["rows"]

        for _, rows in heapq.merge(from_stored(), from_journal(), key=lambda item: item[0]):
            yield from sorted(rows, key=row_key)


def _record(content: Any, at: int | None) -> Finished | None:
    """Return the record of a line if it has the types it was written with."""
    if not isinstance(content, dict):
        return None
    texts = [content.get(name) for name in ("case_id", "options_key", "key")]
    if not all(isinstance(text, str) for text in texts):
        return None
    if at is not None:
        rows = content.get("rows")
        if not isinstance(rows, list) or not all(_is_row(row, texts[0]) for row in rows):
            return None
    size = content.get("bytes")
    size = size if isinstance(size, int) else None
    return Finished(str(texts[0]), str(texts[1]), str(texts[2]), at, size)


def _are_whole(files: set[str], present: dict[str, int], record: Finished | None) -> bool:
    """Whether files are there, none of them empty, and have the bytes that were written down."""
    if not all(present.get(name) for name in files):
        return False
    size = record.size if record is not None else None
    return size is None or size == sum(present[name] for name in files)


def _is_row(row: Any, case_id: Any) -> bool:
    return (
        isinstance(row, dict)
        and row.get("case_id") == case_id
        and row.get("status") in set(Status)
        and all(isinstance(row.get(column), str | None) for column in _PATHS)
    )


def files_of(rows: Iterable[Row]) -> set[str]:
    """Files that rows name, with the thumbnails of their labels; relative to OUT."""
    return set(_with_pictures(_files(rows)))


def _with_pictures(names: Iterable[str]) -> Iterator[str]:
    """Names of files, and of the thumbnails that labels among them may have."""
    for name in names:
        if "/labels/" in name:
            # First, so that no kill leaves a picture without its label.
            yield thumbnail_path(name)
        yield name


def _files(rows: Iterable[Row]) -> set[str]:
    return {path for row in rows for column in _PATHS if (path := row.get(column)) is not None}
