"""`release.json` and `SHA256SUMS`: what a release consists of, each telling on the other.

`release.json` holds the hash of every file but the two, and a hash of itself; `SHA256SUMS`
follows from it alone. So a fault in either can be told from a fault in a file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from uls_data.errors import UlsDataError
from uls_data.io import sha256_bytes

RECORD = "release.json"
SUMS = "SHA256SUMS"
MARK = "LOCAL-ONLY-DO-NOT-UPLOAD.txt"
LOCAL = "LOCAL-ONLY"
PART_NAME = re.compile(rf"(?P<source>[a-z][a-z0-9_]*)(-{LOCAL})?-part-[0-9]{{3,}}\.tar")
_SUM_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<path>.+)")
_LARGEST_BYTES = 1 << 26
_SHA256 = r"^[0-9a-f]{64}$"


def safe_path(path: str) -> str:
    """Return a path that stays below the release's root.

    Raises
    ------
    ValueError
        It does not.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or not path.isprintable():
        raise ValueError("a path that leads out of the release")
    return path


_Path = Annotated[str, AfterValidator(safe_path)]
_Hash = Annotated[str, Field(pattern=_SHA256)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileRecord(_Model):
    """One file of the release: path from its root, size and SHA-256."""

    path: _Path
    bytes: int
    sha256: _Hash


class PartRecord(FileRecord):
    """One tar: the VOIs from `first_voi` to `last_voi` of a source, whole."""

    source: str
    first_voi: str
    last_voi: str
    vois: int


class SourceRecord(_Model):
    """What a source adds: numbers of ok rows' lesions and VOIs, of all rows, terms, roots."""

    lesions: int
    vois: int
    rows: int
    licence: str
    redistributable: bool | None
    payload_root: _Hash
    provenance_root: _Hash


class Record(_Model):
    """Content of `release.json`; `release_sha256` is the hash of the rest."""

    format: Literal[1] = 1
    version: str
    software_version: str
    local_only: bool
    payload_root: _Hash
    payload_columns: list[str]
    provenance_root: _Hash
    part_bytes_at_most: int
    left_out: dict[str, int]
    sources: dict[str, SourceRecord]
    files: list[FileRecord]
    parts: list[PartRecord]
    release_sha256: str = ""

    def text(self) -> bytes:
        """Bytes of `release.json`."""
        content = self.model_dump(mode="json")
        content["release_sha256"] = self.own_sha256()
        return _json(content)

    def own_sha256(self) -> str:
        """Hash over everything but itself: the one number that names this release."""
        return sha256_bytes(_json(self.model_dump(mode="json", exclude={"release_sha256"})))

    def sums(self) -> dict[str, str]:
        """SHA-256 of every file of the release but `SHA256SUMS`, by path."""
        found = {file.path: file.sha256 for file in (*self.files, *self.parts)}
        return {**found, RECORD: sha256_bytes(self.text())}

    def sums_text(self) -> bytes:
        """Bytes of `SHA256SUMS`, as `sha256sum -c` takes them."""
        lines = [f"{sha256}  {path}\n" for path, sha256 in sorted(self.sums().items())]
        return "".join(lines).encode()


def stamp(path: Path) -> list[int]:
    """Return what changes when anything writes to a file: size, times in ns, inode."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def read_record(path: Path) -> Record:
    """Read `release.json`.

    Raises
    ------
    UlsDataError
        Missing, or not as it was written: its own hash does not fit.
    """
    data = _read(path)
    try:
        record = Record.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UlsDataError(f"{path}: {place}: {first['msg']}") from error
    if record.text() != data:
        raise UlsDataError(f"{path}: its own hash does not fit: changed since it was written")
    return record


def read_sums(path: Path) -> dict[str, str]:
    """Read `SHA256SUMS`: hash of each file by path; lines that are none are left out.

    Raises
    ------
    UlsDataError
        It is missing or too large.
    """
    found = {}
    for line in _read(path).decode("utf-8", "replace").splitlines():
        match = _SUM_LINE.fullmatch(line)
        if match:
            try:
                found[safe_path(match["path"])] = match["sha256"]
            except ValueError:
                continue
    return found


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UlsDataError(f"{path}: no such file; expected the folder of a release")
        if path.stat().st_size > _LARGEST_BYTES:
            raise UlsDataError(f"{path}: larger than it can be")
        return path.read_bytes()
    except OSError as error:
        raise UlsDataError(f"{path}: cannot be read: {error.strerror}") from error
