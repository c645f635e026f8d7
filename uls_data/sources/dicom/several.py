"""Several objects of one series: which of them are read, and which reader each belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uls_data.dicom.written import written_at
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.lesions.instances import Mark
from uls_data.outcome import Reason
from uls_data.recipe.reader import DicomObjects, Readers


@dataclass(frozen=True)
class Chosen:
    """Objects of a series that are read.

    Attributes
    ----------
    paths : list of Path
        In order.
    reader_of : dict of Path to int
        Number of the reader, where readers have objects of their own.
    marks : list of Mark
        The others, and why.
    """

    paths: list[Path]
    reader_of: dict[Path, int]
    marks: list[Mark] = field(default_factory=list)


def choose_objects(paths: Sequence[Path], raw: Path, reader: DicomObjects) -> Chosen:
    """Objects of a series that the recipe reads.

    Raises
    ------
    CaseError
        `ambiguous_files`: several, of one reader, where the recipe wants one.
    """
    groups: dict[int | None, list[Path]] = {}
    marks, reader_of = list[Mark](), dict[Path, int]()
    for place, path in enumerate(sorted(paths), 1):
        number = None
        if reader.readers is not None and reader.readers.by == "object":
            number = _reader_of(path, place, reader.readers)
            if number is None:
                detail = f"{readable(path.as_posix())}: fits none of reader.readers.names"
                marks.append(Mark(Reason.ANNOTATION_MISMATCH, detail))
                continue
            reader_of[path] = number
        groups.setdefault(number, []).append(path)
    read = {path for own in groups.values() for path in _wanted(own, raw, reader)}
    for path in (path for own in groups.values() for path in own if path not in read):
        detail = f"{readable(path.as_posix())}: another object of this series was written later"
        marks.append(Mark(Reason.DUPLICATE, detail))
    if reader.readers is not None:
        paths = sorted(paths)
    return Chosen([path for path in paths if path in read], reader_of, marks)


def _reader_of(path: Path, place: int, readers: Readers) -> int | None:
    """Find the reader whose expression a path fits; without any, it is the object's place."""
    if not readers.names:
        return place
    numbered = enumerate(readers.names, 1)
    return next((n for n, pattern in numbered if re.fullmatch(pattern, path.as_posix())), None)


def _wanted(paths: Sequence[Path], raw: Path, reader: DicomObjects) -> Sequence[Path]:
    """Those of some objects that the recipe reads, where there are several."""
    if len(paths) == 1 or reader.several == "all":
        return paths
    names = ", ".join(readable(path.as_posix()) for path in paths[:3])
    if reader.several == "fail":
        raise CaseError(
            Reason.AMBIGUOUS_FILES,
            f"expected one object of this series, found {len(paths)}: {names}; move the others "
            "away, or say `several: all` or `latest` in the recipe",
        )
    written = {path: written_at(raw / path, path.name) for path in paths}
    latest = max(written.values(), key=lambda at: at or "")
    found = [path for path, at in written.items() if at == latest]
    if None in written.values() or len(found) > 1:
        raise CaseError(
            Reason.AMBIGUOUS_FILES,
            f"which of {len(paths)} objects of this series was written last cannot be told by "
            f"their headers: {names}; move the others away",
        )
    return found
