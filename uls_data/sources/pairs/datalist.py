"""Images and labels that a JSON file lists: of MONAI, of the Decathlon, and of nnU-Net."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os.path import normpath
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError, SourceError
from uls_data.outcome import Reason
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.dataset_json import MOST_BYTES
from uls_data.sources.format import Search
from uls_data.sources.patterns import split_suffix
from uls_data.volumes.raw_root import check_inside
from uls_data.volumes.volume import suffix_of

_MOST_ENTRIES = 200_000
_LONGEST_NAME_BYTES = 120


@dataclass(frozen=True)
class Entry:
    """One item of a list.

    Attributes
    ----------
    place : str
        Where it is in the list: `training[3]`.
    name : str
        Of the case, where the list gives one.
    image, label : str or None
        Paths as the list has them; None where there is none.
    problem : str
        Why it is not a pair of paths; empty where it may be one.
    """

    place: str
    name: str
    image: str | None
    label: str | None
    problem: str = ""


def read_datalist(path: Path) -> list[Entry]:
    """Entries of a list, in its order; none where the file lists nothing.

    Raises
    ------
    SourceError
        It cannot be read, or is not a JSON object or list.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SourceError(f"{path}: larger than a list of cases can be (64 MiB)")
        content = json.loads(data)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not a JSON file: {str(error)[:200]}") from error
    entries = list(_entries(content))
    if len(entries) > _MOST_ENTRIES:
        raise SourceError(f"{path}: lists {len(entries)} cases; at most {_MOST_ENTRIES} are read")
    return entries


def _entries(content: Any) -> Iterator[Entry]:
    parts: dict[str, Any] = content if isinstance(content, dict) else {"": content}
    for part, items in parts.items():
        if isinstance(items, list) and any(isinstance(item, dict) for item in items):
            for at, item in enumerate(items):
                yield _entry(f"{_plain(part)}[{at}]", "", item, "image")
        elif part == "dataset" and isinstance(items, dict):
            for name, item in items.items():
                yield _entry(f"{part}.{_plain(name)}", name, item, "images")


def _entry(place: str, name: str, item: Any, key: str) -> Entry:
    found: list[str | None] = []
    for field in (key, "label"):
        value = item.get(field) if isinstance(item, dict) else None
        # Channels of one scan: the first one is read.
        value = value[0] if isinstance(value, list) and value else value
        found.append(value if isinstance(value, str) and value else None)
    if found == [None, None]:
        return Entry(place, name, None, None, f"names neither {key} nor label as a path")
    return Entry(place, name, found[0], found[1])


def _plain(text: str) -> str:
    """Text of a list as names and messages can hold it: its end, without what is not printable."""
    plain = "".join(one if one.isprintable() else "_" for one in text)
    return plain.encode()[-_LONGEST_NAME_BYTES:].decode(errors="ignore")


def listed_pairs(search: Search, datalist: str) -> list[CaseFiles]:
    """Cases that a list below the raw root names, sorted by name.

    Raises
    ------
    SourceError
        The list cannot be read, leads out of the root, or names no case.
    """
    found = listed_files(search.raw.path, Path(datalist), need_images=search.need_images)
    if not found:
        raise SourceError(
            f"{search.raw.path / datalist}: lists no case; expected items with `image` and "
            "`label`, as in a MONAI datalist"
        )
    cases = sorted(found.values(), key=lambda case: natural_key(case.case_id))
    search.selected.update(path for case in cases for path in case.files())
    return cases


def listed_files(root: Path, datalist: Path, *, need_images: bool = True) -> dict[str, CaseFiles]:
    """Cases of a list by name, in its order; a pair that is listed twice is one case.

    Parameters
    ----------
    root : Path
        No file of a case may lie outside of it.
    datalist : Path
        Relative to the root.

    Raises
    ------
    SourceError
        The list cannot be read, or leads out of the root.
    """
    try:
        check_inside(datalist, root)
    except CaseError as error:
        raise SourceError(f"{root / datalist}: {error.detail}") from error
    pairs: dict[tuple[str, ...], Entry] = {}
    for entry in read_datalist(root / datalist):
        pairs.setdefault((entry.image or entry.place, entry.label or entry.place), entry)
    entries = [*pairs.values()]
    return {
        name: _case(root, datalist.parent, entry, name, need_images)
        for entry, name in zip(entries, _names(entries), strict=True)
    }


def _names(entries: list[Entry]) -> list[str]:
    """Name of each case: its own, that of its image, or the image's path where names repeat."""
    paths = [entry.image or entry.label or entry.place for entry in entries]
    short = [
        entry.name or split_suffix(Path(path).name)[0] or path
        for entry, path in zip(entries, paths, strict=True)
    ]
    counts = Counter(short)
    taken: set[str] = set()
    names = []
    for name, path in zip(short, paths, strict=True):
        if counts[name] > 1:
            name = split_suffix(normpath(path))[0]
        name = _plain(name).strip("./ ").replace("/", "_") or "case"
        number, free = 2, name
        while free in taken:
            free, number = f"{name}-{number}", number + 1
        taken.add(free)
        names.append(free)
    return names


def _case(root: Path, folder: Path, entry: Entry, name: str, need_images: bool) -> CaseFiles:
    case = CaseFiles(name)
    try:
        if entry.problem:
            raise CaseError(Reason.ANNOTATION_UNREADABLE, f"{entry.place} {entry.problem}")
        image = None if entry.image is None else _file(root, folder, entry.image, entry.place)
        mask = None if entry.label is None else _file(root, folder, entry.label, entry.place)
        if mask is None:
            raise CaseError(Reason.NOT_ANNOTATED, f"{entry.place} has an image and no label")
        if image is None and need_images:
            raise CaseError(Reason.IMAGE_MISSING, f"{entry.place} has a label and no image")
        case = replace(case, image=image, mask=mask)
        for path, reason in ((image, Reason.IMAGE_MISSING), (mask, Reason.MASK_MISSING)):
            if path is not None and not _is_there(root / path):
                what = f"{_plain(path.as_posix())}, which {entry.place} names, is not there"
                raise CaseError(reason, what)
    except CaseError as error:
        return replace(case, problem=(error.reason, error.detail))
    return case


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have so long a name
        return False


def _file(root: Path, folder: Path, text: str, place: str) -> Path:
    """Path of a listed file relative to the root.

    Raises
    ------
    CaseError
        It leads out of the root, or is not a volume.
    """
    if not text.isprintable():
        raise CaseError(Reason.UNREADABLE, f"{place} names a path with control characters")
    # Absolute where the list was written for one machine. `..` goes by name: no link is followed.
    path = Path(normpath(folder / text))
    if path.is_absolute() and path.is_relative_to(root.absolute()):
        path = path.relative_to(root.absolute())
    if path.is_absolute() or ".." in path.parts:
        raise CaseError(
            Reason.PATH_LEAVES_ROOT,
            f"{place} names {_plain(text)}, which lies outside of the folder that is read; give a "
            "folder that holds the list and all its files",
        )
    if not suffix_of(path):
        detail = f"{place} names {_plain(text)}, which is not a volume"
        raise CaseError(Reason.UNSUPPORTED_FORMAT, detail)
    check_inside(path, root)
    return path
