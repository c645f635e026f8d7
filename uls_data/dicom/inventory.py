"""Find the DICOM series below a raw root, by the headers of its files alone.

A file counts as DICOM by its content, whatever its name (PS3.10 section 7.1). Of each one
only the elements up to the frame of reference are walked, mostly one read of 16 KiB; with
a cache, files that were seen before are not opened at all.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from sys import intern
from typing import Any, NamedTuple

from uls_data.dicom.elements import Header, Tag, is_uid
from uls_data.dicom.header import NotDicomError, read_header
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io import sha256_file, write_bytes
from uls_data.outcome import Reason
from uls_data.volumes.raw_root import RawRoot, check_inside

# PS3.3 C.7.3.1.1.1, what collections of images and annotations hold. Anything else in that
# element is taken for free text.
_MODALITIES = frozenset(
    (
        *("CT", "MR", "PT", "NM", "CR", "DX", "MG", "US", "RF", "XA", "OT", "SC", "SM", "DOC"),
        *("RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "RTRECORD", "SEG", "SR", "REG", "KO", "PR"),
    )
)
_WANTED = frozenset(
    (
        Tag.SOP_CLASS_UID,
        Tag.SOP_INSTANCE_UID,
        Tag.MODALITY,
        Tag.PATIENT_ID,
        Tag.STUDY_INSTANCE_UID,
        Tag.SERIES_INSTANCE_UID,
        Tag.FRAME_OF_REFERENCE_UID,
    )
)
# Objects that annotate images, by SOP class: they may be in the series of those.
_OBJECTS = {
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "SEG",
    # Reports that may hold measurements: not those of doses, keys or computers.
    **{f"1.2.840.10008.5.1.4.1.1.88.{number}": "SR" for number in (11, 22, 33, 34, 35)},
    **{f"1.2.840.10008.5.1.4.1.1.11.{number}": "PR" for number in range(1, 9)},
}
_SHORTEST = 132
_CACHE_FORMAT = "uls-data dicom index 2"
_MAXIMUM_CACHE_BYTES = 1 << 31
_LONGEST_PATIENT_ID = 64
_ANYTHING, _NOTHING = r"(?s).*", r"(?!)"


@dataclass(frozen=True)
class SeriesFiles:
    """One series below a raw root.

    Attributes
    ----------
    series_instance_uid : str
        Empty for the one entry, if any, that holds the files which name no series or cannot
        be read.
    study_instance_uid, frame_of_reference_uid, sop_class_uid : str
        What most files of the series say; empty where they say none.
    modality : str
        A defined term of PS3.3 C.7.3.1.1.1, such as `CT`, `SEG`, `RTSTRUCT`, or empty: that of
        most files. Objects in the series of their images are an entry of their own.
    patient_key : str or None
        PatientID of the header, for matching against the id pattern of a public
        collection and for nothing else: it must never be written or shown. None where
        the files differ or lack it, where it does not fit the pattern as a whole, and
        always where there is a cache but no pattern.
    files : tuple of Path
        Relative to the root, sorted; of copies of one SOP instance the first.
    copies : tuple of Path
        The other copies.
    sop_instance_uids : frozenset of str
        Of those files.
    problems : tuple of (Reason, str)
        Of each file, why it is in no series.
    """

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    patient_key: str | None = field(repr=False)
    files: tuple[Path, ...]
    frame_of_reference_uid: str
    sop_class_uid: str
    sop_instance_uids: frozenset[str] = field(default=frozenset(), repr=False)
    problems: tuple[tuple[Reason, str], ...] = ()
    copies: tuple[Path, ...] = ()


class _Entry(NamedTuple):
    """What one DICOM file says; all fields but the last are safe to show."""

    series: str
    study: str
    sop: str
    sop_class: str
    frame_of_reference: str
    modality: str
    patient: str | None


class _Unplaced(NamedTuple):
    """Why a file is in no series."""

    reason: Reason
    detail: str
    series: str = ""


class _File(NamedTuple):
    path: str
    size: int
    mtime_ns: int


# None for a file that is not DICOM: it is not opened again either.
_Known = dict[_File, _Entry | None]
_Seen = dict[_File, _Entry | _Unplaced | None]


def find_series(
    raw: RawRoot,
    cache: Path | None = None,
    patient_pattern: str | None = None,
) -> list[SeriesFiles]:
    """Series below a raw root, by their UIDs; files that are not DICOM are passed over.

    Names that start with `.` are passed over, links are followed only while they stay
    inside the root, and only regular files are opened. A file without the DICOM preamble
    counts only with the suffix `.dcm`; with that suffix, a file that is not DICOM is one that
    cannot be read. So is, with that suffix or among DICOM files of its own, a link that leads to
    no file of the root, and among them a file too short to be DICOM. Files of one series, size
    and SOP instance are copies where they show the same position, or hold the same bytes.

    Parameters
    ----------
    raw : RawRoot
    cache : Path, optional
        JSON lines, one a file, by path, size and time of change; read at the start, written
        again where something changed, ignored where damaged. Holds no PatientID but those
        that fit the pattern.
    patient_pattern : str, optional
        Regular expression that a PatientID must fit as a whole.

    Raises
    ------
    SourceError
        The root cannot be read.
    """
    # Without a pattern an id may be handed out, but never be written.
    otherwise = _ANYTHING if cache is None else _NOTHING
    pattern = re.compile(otherwise if patient_pattern is None else patient_pattern)
    known = _read_cache(cache, patient_pattern) if cache is not None else {}
    entries: _Seen = {}
    lost: dict[_File, _Unplaced] = {}
    for file, why in _files(raw, cache):
        if why is not None:
            lost[file] = why
        else:
            entries[file] = known[file] if file in known else _entry(raw.path, file, pattern)
    if cache is not None:
        # Whatever could not be read is tried again.
        lasting = {
            file: entry for file, entry in entries.items() if not isinstance(entry, _Unplaced)
        }
        if lasting != known:
            _write_cache(cache, patient_pattern, lasting)
    by_series: dict[tuple[str, str], list[tuple[_File, _Entry]]] = {}
    for file, entry in entries.items():
        if isinstance(entry, _Entry):
            kind = _OBJECTS.get(entry.sop_class) or entry.modality
            kind = kind if kind in _OBJECTS.values() else ""
            by_series.setdefault((entry.series, kind), []).append((file, entry))
    found = [_series(raw.path, *key, by_series[key]) for key in sorted(by_series)]
    unplaced = {file: entry for file, entry in entries.items() if isinstance(entry, _Unplaced)}
    unplaced |= {file: why for file, why in lost.items() if _named_dicom(file.path)}
    unplaced |= _among_dicom(entries, _too_short(entries) | lost)
    return [_without_series(unplaced), *found] if unplaced else found


def _too_short(entries: _Seen) -> dict[_File, _Unplaced]:
    """Files that are too short for any DICOM."""
    return {
        file: _Unplaced(
            Reason.TRUNCATED_FILE,
            f"{readable(file.path)}: {file.size} bytes, the files beside it are DICOM; get it "
            "again",
        )
        for file, entry in entries.items()
        if entry is None and file.size < _SHORTEST
    }


def _among_dicom(entries: _Seen, doubtful: dict[_File, _Unplaced]) -> dict[_File, _Unplaced]:
    """Those that lie among DICOM files of the same suffix."""
    if not doubtful:
        return {}
    beside = {_kind(file) for file, entry in entries.items() if isinstance(entry, _Entry)}
    return {file: why for file, why in doubtful.items() if _kind(file) in beside}


def _kind(file: _File) -> tuple[str, str]:
    """Folder and suffix."""
    return posixpath.dirname(file.path), posixpath.splitext(file.path)[1]


def _named_dicom(name: str) -> bool:
    return name.lower().endswith(".dcm")


def _without_series(unplaced: dict[_File, _Unplaced]) -> SeriesFiles:
    """Return the entry of files that are in no series."""
    members = sorted(unplaced.items(), key=lambda item: item[0].path.split("/"))
    files = tuple(Path(file.path) for file, _ in members)
    problems = tuple((entry.reason, entry.detail) for _, entry in members)
    return SeriesFiles("", "", "", None, files, "", "", problems=problems)


def _files(raw: RawRoot, cache: Path | None) -> Iterator[tuple[_File, _Unplaced | None]]:
    """Regular files below the root, with size and time of change, and links that lead to none."""
    own = cache.resolve() if cache is not None else None
    for name, entry in raw.entries():
        with suppress(OSError):  # gone since
            if entry.is_symlink() and (why := _astray(raw.path, name)):
                yield _File(name, 0, 0), why
                continue
            status = entry.stat()
            if not S_ISREG(status.st_mode):
                continue
            if own is not None and entry.name == own.name and Path(entry.path).resolve() == own:
                continue
            yield _File(name, status.st_size, status.st_mtime_ns), None


def _astray(root: Path, name: str) -> _Unplaced | None:
    """Why a link leads to no file of the root; None where it does."""
    try:
        check_inside(Path(name), root)
    except CaseError as error:
        return _Unplaced(error.reason, error.detail)
    if (root / name).exists():
        return None
    return _Unplaced(Reason.UNREADABLE, f"{readable(name)}: a link to a file that is not there")


def _entry(root: Path, file: _File, pattern: re.Pattern[str]) -> _Entry | _Unplaced | None:
    name = readable(file.path)
    # What cannot be read must not vanish from a series without a trace.
    try:
        header, _ = read_header(root / file.path, name, _WANTED)
    except NotDicomError:
        if not _named_dicom(name):
            return None
        return _Unplaced(Reason.UNREADABLE, f"{name}: not a DICOM file; get it again")
    except CaseError as error:
        return _Unplaced(error.reason, error.detail)
    except OSError as error:
        return _Unplaced(Reason.IO_ERROR, f"{name}: {error.strerror or type(error).__name__}")
    if not header.uid(Tag.SERIES_INSTANCE_UID):
        if not header.values and Path(name).name.upper() == "DICOMDIR":
            return None  # a directory of a medium, no image
        return _Unplaced(Reason.UNREADABLE, f"{name}: its header names no series")
    patient = header.text(Tag.PATIENT_ID)[:_LONGEST_PATIENT_ID]
    return _Entry(
        # Mostly repeated: one copy of each serves all files.
        intern(header.uid(Tag.SERIES_INSTANCE_UID)),
        intern(header.uid(Tag.STUDY_INSTANCE_UID)),
        header.uid(Tag.SOP_INSTANCE_UID),
        intern(header.uid(Tag.SOP_CLASS_UID)),
        intern(header.uid(Tag.FRAME_OF_REFERENCE_UID)),
        intern(modality_of(header)),
        intern(patient) if patient and pattern.fullmatch(patient) else None,
    )


def modality_of(header: Header) -> str:
    """Modality, where it is a defined term; empty for any other text."""
    text = header.text(Tag.MODALITY)
    return text if text in _MODALITIES else ""


def _series(root: Path, uid: str, kind: str, members: list[tuple[_File, _Entry]]) -> SeriesFiles:
    members.sort(key=lambda member: member[0].path.split("/"))
    members, copies = _without_copies(root, members)
    patients = {entry.patient for _, entry in members}
    return SeriesFiles(
        series_instance_uid=uid,
        study_instance_uid=_most_common(entry.study for _, entry in members),
        modality=kind or _most_common(entry.modality for _, entry in members),
        patient_key=patients.pop() if len(patients) == 1 else None,
        files=tuple(Path(file.path) for file, _ in members),
        frame_of_reference_uid=_most_common(entry.frame_of_reference for _, entry in members),
        sop_class_uid=_most_common(entry.sop_class for _, entry in members),
        sop_instance_uids=frozenset(entry.sop for _, entry in members if entry.sop),
        copies=copies,
    )


def _without_copies(
    root: Path, members: list[tuple[_File, _Entry]]
) -> tuple[list[tuple[_File, _Entry]], tuple[Path, ...]]:
    """Files without the copies of earlier ones, and those.

    De-identification may give all slices one UID: a copy also has the size of its original, and
    its position or, where it has none, its bytes. The reader of the series sees to the others.
    """
    alike = Counter((entry.sop, file.size) for file, entry in members if entry.sop)
    if not alike or alike.most_common(1)[0][1] == 1:
        return members, ()
    kept, copies, seen = [], list[Path](), set[tuple[str, int, str]]()
    for file, entry in members:
        if alike[entry.sop, file.size] > 1:
            key = entry.sop, file.size, _place_of(root, file)
            if key in seen:
                copies.append(Path(file.path))
                continue
            seen.add(key)
        kept.append((file, entry))
    return kept, tuple(copies)


def _place_of(root: Path, file: _File) -> str:
    """Position of a slice as its file states it; of a file without one, the hash of its bytes."""
    tag = Tag.IMAGE_POSITION_PATIENT
    try:
        header, _ = read_header(root / file.path, readable(file.path), frozenset((tag,)))
        return header.text(tag) or sha256_file(root / file.path)
    except (CaseError, OSError):
        return file.path


def _most_common(values: Iterable[str]) -> str:
    return Counter(values).most_common(1)[0][0]


def _read_cache(path: Path, patient_pattern: str | None) -> _Known:
    """Entries of a cache of this version and pattern; none where anything in it is amiss."""
    try:
        if not path.is_file() or path.stat().st_size > _MAXIMUM_CACHE_BYTES:
            return {}
        head, *lines = path.read_bytes().splitlines()
        if json.loads(head) != [_CACHE_FORMAT, patient_pattern]:
            return {}
        uids = {""}
        return dict(_remembered(json.loads(line), patient_pattern, uids) for line in lines)
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def _remembered(
    line: Any, patient_pattern: str | None, known: set[str]
) -> tuple[_File, _Entry | None]:
    """File and entry of a line; `known` are UIDs that were looked at."""
    path, size, mtime_ns, fields = line
    file = _File(path, size, mtime_ns)
    if not (isinstance(path, str) and isinstance(size, int) and isinstance(mtime_ns, int)):
        raise ValueError(file)
    if fields is None:
        return file, None
    series, study, sop, sop_class, frame, modality, patient = fields
    entry = _Entry(
        *(intern(series), intern(study), sop, intern(sop_class), intern(frame), intern(modality)),
        patient,
    )
    new = {series, study, sop, sop_class, frame} - known
    fits = patient is None or (
        patient_pattern is not None and re.fullmatch(patient_pattern, patient) is not None
    )
    if not (all(map(is_uid, new)) and entry.series and fits):
        raise ValueError(file)
    known |= new - {sop}
    if modality and modality not in _MODALITIES:
        raise ValueError(file)
    return file, entry


def _write_cache(path: Path, patient_pattern: str | None, entries: _Known) -> None:
    lines: list[Any] = [[_CACHE_FORMAT, patient_pattern]]
    lines += [[*file, entry] for file, entry in sorted(entries.items(), key=lambda item: item[0])]
    text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
    # It only saves time: a folder that cannot be written is reported when a result is written.
    with suppress(OSError):
        write_bytes(path, text.encode("ascii"))
