"""Verify a release, packed or unpacked: every file that is missing, extra, changed or moved."""

from __future__ import annotations

import json
import os
import stat
import tarfile
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uls_data.errors import ManifestError, UlsDataError
from uls_data.io import sha256_bytes, sha256_file
from uls_data.io.journal import Journal
from uls_data.manifest.parquet import iterate_rows
from uls_data.outcome import Status
from uls_data.release.finding import Differences, Fault
from uls_data.release.inside import faults_inside
from uls_data.release.parts import content_of, open_part, sha256_stream
from uls_data.release.record import (
    PART_NAME,
    RECORD,
    SUMS,
    Record,
    read_record,
    read_sums,
    safe_path,
    stamp,
)
from uls_data.release.roots import payload_root, root_of

# A file that was written to less than this long ago may be written to again unnoticed.
_SETTLED_NS = 2_000_000_000
_NO_FILE = "no plain file"


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes
    ----------
    findings : list of Fault
        Empty for a release that is whole.
    files : int
        Looked at.
    record : Record or None
        Of the release; None where `release.json` is not as it was written.
    """

    findings: list[Fault]
    files: int
    record: Record | None


def release_verify(
    folder: str | Path,
    *,
    release_sha256: str | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Read every file of a release and compare it with what was released.

    Parts are hashed whole; in a damaged one the members are named that differ. Unpacked VOIs are
    compared with their rows, and so is what a part holds: members that are not plain files, that
    lead out of the root, come twice or differ from the manifest are named. A part may be absent
    if its VOIs are unpacked, and the other way round. Nothing is written into the release.
    Beside it, `.NAME.verify` lists the files that were found right, until the run ends: after a
    kill the next run does not read those again that have not changed since (size, times and inode
    are the same).

    Parameters
    ----------
    folder : path
        A release, or what was unpacked of it.
    release_sha256 : str, optional
        The hash that names the release, from elsewhere: only with it a release is known to be
        the one that was published, and not another one that is whole.

    Raises
    ------
    UlsDataError
        Neither `release.json` nor `SHA256SUMS` is there.
    """
    folder = Path(folder)
    check = _Check(folder)
    if release_sha256 is not None and check.record is not None:
        found = check.record.own_sha256()
        if found != release_sha256:
            check.add("wrong", RECORD, f"this is release {found}, expected {release_sha256}")
    names = sorted(check.wanted | check.present.keys())
    if started is not None:
        started(len(names))
    for name in names:
        check.look(name)
        if progress is not None:
            progress(1)
    check.conclude()
    return Verification(check.findings, len(check.present), check.record)


class _Check:
    """One look at a release.

    Attributes
    ----------
    present : dict of str to bool
        Entries on disk; False: no plain file.
    files, members : dict of str to str
        Hashes that the files of the release, and its VOIs when unpacked, should have.
    groups : list of (set of str, set of str)
        Parts, and the unpacked files that they hold.
    wanted : set of str
        What must be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.findings: list[Fault] = []
        self.present = _entries(folder)
        self.record, self.files = _listed(folder)
        if self.record is None:
            self.present.pop(SUMS, None)  # all that is left to compare with
        self.seen = _Seen(folder, self.files)
        self.roots: dict[str, str] = {}
        self.members: dict[str, str] = {}
        self.groups = self._groups()
        self.wanted = {name for name in self.files if not PART_NAME.fullmatch(name)}
        for packed, unpacked in self.groups:
            if packed - self.present.keys() and unpacked & self.present.keys():
                self.wanted |= unpacked
            else:
                self.wanted |= packed
        self.differ = Differences()

    def add(self, kind: str, file: str, detail: str) -> None:
        """Write down a fault."""
        self.findings.append(Fault(kind, file, detail))

    def look(self, name: str) -> None:
        """Compare one file with its hash."""
        expected = self.files.get(name) or self.members.get(name)
        if expected is not None:
            self.differ.expected[name] = expected
        if name not in self.present:
            return
        path = self.folder / name
        try:
            found = self._hash(path, name, expected) if self.present[name] else _NO_FILE
        except OSError as error:
            found = f"cannot be read: {error.strerror}"
        self.differ.found[name] = found
        if found == expected:
            self.differ.forget(name)
            if PART_NAME.fullmatch(name) and self.record is not None:
                self._look_inside(path, name)

    def _look_inside(self, path: Path, part: str) -> None:
        """Hold the members of a part that is as it was released against its manifest."""
        try:
            self.findings += faults_inside(path, part, self._members_of(part))
        except OSError as error:
            self.add("wrong", part, f"cannot be read: {error.strerror}")

    def _members_of(self, part: str) -> dict[str, str]:
        """Hashes of everything that a part holds: what every part begins with, and its VOIs."""
        source = _source_of(part)
        front = [
            name
            for name in self.files
            if name == f"manifest/{source}.parquet" or name.startswith(f"{source}/")
        ]
        group = next((unpacked for packed, unpacked in self.groups if part in packed), set())
        return {**{n: self.files[n] for n in front}, **{n: self.members[n] for n in group}}

    def _hash(self, path: Path, name: str, expected: str | None) -> str:
        if expected is not None and self.seen.has(name, path):
            return expected
        before = stamp(path)
        found = sha256_file(path)
        if found == expected:
            self.seen.add(name, before)
        return found

    def _groups(self) -> list[tuple[set[str], set[str]]]:
        """Read the manifests; returns which parts hold which unpacked files."""
        groups: list[tuple[set[str], set[str]]] = []
        for name, sha256 in self.files.items():
            if not (name.startswith("manifest/") and name.endswith(".parquet")):
                continue
            source = name.removeprefix("manifest/").removesuffix(".parquet")
            parts = [n for n in self.files if _source_of(n) == source]
            members = self._members(name, sha256, source)
            if members is None:
                # Without its manifest, nobody knows what its unpacked files should be.
                vois = (f"{source}/images/", f"{source}/labels/")
                unknown = [entry for entry in self.present if entry.startswith(vois)]
                for entry in unknown:
                    del self.present[entry]
                if not unknown:
                    groups.append((set(parts), set()))
            elif self.record is None:
                groups.append((set(parts), set(members)))
            else:
                groups += _by_part(self.record, source, members)
            self.members |= members or {}
        return groups

    def _members(self, name: str, sha256: str, source: str) -> dict[str, str] | None:
        try:
            path = self._with_hash(name, sha256)
            if path is None:
                return None
            rows = list(iterate_rows(path))
            self.roots[source] = payload_root(rows)
            # A stranger's row may lack what a row that is ok has: the errors below say so.
            ok: list[Mapping[str, Any]] = [row for row in rows if row["status"] == Status.OK.value]
            return {
                safe_path(row[f"{what}_path"]): row[f"{what}_sha256"]
                for row in ok
                for what in ("image", "label")
            }
        except (ManifestError, OSError, ValueError, AttributeError) as error:
            self.add("wrong", name, f"it is not a manifest of a release: {error}")
            return None

    def _with_hash(self, name: str, sha256: str) -> Path | None:
        """Return the file of this hash: at its place, or wherever it was moved to."""
        sizes = {file.path: file.bytes for file in self.record.files} if self.record else {}
        for place in sorted(self.present, key=lambda entry: (entry != name, entry)):
            path = self.folder / place
            with suppress(OSError):
                likely = place == name or path.stat().st_size == sizes.get(name)
                if likely and self.present[place] and sha256_file(path) == sha256:
                    return path
        return None

    def conclude(self) -> None:
        """Say what became of each file that is not as it should be."""
        for finding in self.differ.findings():
            plain = self.present.get(finding.file, False)
            if finding.kind == "changed" and plain and PART_NAME.fullmatch(finding.file):
                inside, detail = self._inside(finding.file)
                self.add("changed", finding.file, f"{finding.detail}; {detail}")
                self.findings += inside
            else:
                self.findings.append(finding)
        if self.record is not None and not self.findings:
            said = {name: its.payload_root for name, its in self.record.sources.items()}
            if said != self.roots or self.record.payload_root != root_of(said):
                self.add("wrong", RECORD, "its payload roots are not those of the manifests")
        self.seen.remove()

    def _inside(self, part: str) -> tuple[list[Fault], str]:
        """Members of a damaged part that differ, and a word about the part."""
        differ = Differences()
        expected = self._members_of(part)
        detail = "could be read to its end"
        try:
            with open_part(self.folder / part) as tar:
                for info in tar:
                    content = content_of(tar, info)
                    again = " (again)" if info.name in differ.found else ""
                    differ.found[info.name + again] = (
                        _NO_FILE if content is None else sha256_stream(content)
                    )
        except (tarfile.TarError, OSError, ValueError) as error:
            detail = f"can be read up to where it is damaged ({error})"
        if self.record is None:
            # Which of the source's VOIs this part holds is not known.
            expected = {name: expected[name] for name in expected if name in differ.found}
        differ.expected = expected
        for name in [n for n in expected if differ.found.get(n) == expected[n]]:
            differ.forget(name)
        inside = [Fault(its.kind, f"{part}: {its.file}", its.detail) for its in differ.findings()]
        return inside, detail if inside else f"{detail}; every member in it is whole"


def _source_of(name: str) -> str | None:
    match = PART_NAME.fullmatch(name)
    return match["source"] if match else None


def _by_part(
    record: Record, source: str, members: dict[str, str]
) -> list[tuple[set[str], set[str]]]:
    parts = sorted((p for p in record.parts if p.source == source), key=lambda p: p.first_voi)
    first = [part.first_voi for part in parts]
    groups: list[tuple[set[str], set[str]]] = [({part.path}, set()) for part in parts]
    for name in members:
        voi = name.rpartition("/")[2].removesuffix(".nii.gz")
        at = bisect_right(first, voi) - 1
        if at >= 0:
            groups[at][1].add(name)
    return groups


def _listed(folder: Path) -> tuple[Record | None, dict[str, str]]:
    """Hashes of the release's files, from whichever of its two lists is right."""
    for name in (RECORD, SUMS):  # they may have changed places
        with suppress(UlsDataError):
            record = read_record(folder / name)
            return record, {**record.sums(), SUMS: sha256_bytes(record.sums_text())}
    if not (folder / SUMS).is_file():
        read_record(folder / RECORD)  # says why
    return None, read_sums(folder / SUMS)


def _entries(folder: Path) -> dict[str, bool]:
    """Every entry below a folder but the folders, and whether it is a plain file."""
    found = {}
    for at, folders, names in os.walk(folder):
        for name in names + [name for name in folders if (Path(at) / name).is_symlink()]:
            path = Path(at) / name
            plain = stat.S_ISREG(path.lstat().st_mode)
            found[path.relative_to(folder).as_posix()] = plain
    return found


class _Seen:
    """Files that an unfinished run found right; kept beside the release, where that is possible."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        real = folder.resolve()
        self._journal = Journal(real.parent / f".{real.name}.verify")
        self.release = sha256_bytes(json.dumps(files, sort_keys=True).encode())
        self.stamps: dict[str, list[int]] = {}
        with suppress(OSError):
            for _, content in self._journal.lines():
                match content:
                    case [self.release, str(name), list(found)]:
                        self.stamps[name] = found

    def has(self, name: str, path: Path) -> bool:
        """Whether a file was right and nothing has written to it since."""
        return name in self.stamps and self.stamps[name] == stamp(path)

    def add(self, name: str, before: list[int]) -> None:
        """Write down that a file is right, with its stamp from before it was read."""
        if time.time_ns() - max(before[1:3]) < _SETTLED_NS:
            return
        with suppress(OSError):
            self._journal.add([self.release, name, before])
            self._journal.close()

    def remove(self) -> None:
        """Forget it all: the next run reads every file."""
        with suppress(OSError):
            self._journal.remove()
