"""Parts of a release: tar files whose bytes are a function of their members alone.

Members are .nii.gz already, so a part is a plain tar: nothing to compress, no encoder to pin,
readable as a stream, and a damaged byte costs one member. (A zip keeps its list at the end and
says each thing in two places.) Every member has time 1980-01-01, mode 0644, user and group 0
without names; headers are ustar, with a pax header where a name is longer than ustar can hold.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from uls_data.errors import UlsDataError
from uls_data.io import CHUNK_BYTES, atomic_write

_TIME = 315532800  # 1980-01-01: some programs doubt anything earlier
_END_BYTES = 2 * tarfile.BLOCKSIZE
# Our headers are never larger; a tar with a larger one is not read further.
_LONGEST_READ = 1 << 20


@dataclass(frozen=True)
class Member:
    """One file of a part.

    Attributes
    ----------
    name : str
        Path from the release's root.
    sha256 : str
        That the file must have.
    size : int
        Bytes.
    path : Path or None
        Where it is read from; None for a text that is held in `data`.
    """

    name: str
    sha256: str
    size: int
    path: Path | None
    data: bytes = b""

    def open(self) -> IO[bytes]:
        """Open it for reading."""
        return io.BytesIO(self.data) if self.path is None else self.path.open("rb")

    def info(self) -> tarfile.TarInfo:
        """Its tar header."""
        info = tarfile.TarInfo(self.name)
        info.size, info.mtime, info.mode = self.size, _TIME, 0o644
        return info

    @property
    def packed_bytes(self) -> int:
        """What it takes in a tar, header and filling included."""
        header = self.info().tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        return len(header) + -(-self.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def part_bytes(members: Sequence[Member]) -> int:
    """Size of the part that holds these members."""
    filled = sum(member.packed_bytes for member in members) + _END_BYTES
    return -(-filled // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def split(
    front: Sequence[Member], groups: Sequence[Sequence[Member]], limit: int
) -> Iterator[list[Sequence[Member]]]:
    """Share groups of members out to parts, in order; a group is never split.

    Parameters
    ----------
    front : sequence of Member
        What every part begins with.
    limit : int
        Bytes that no part may exceed. Where a part ends depends on members and limit alone.

    Raises
    ------
    UlsDataError
        One group alone does not fit.
    """
    room = limit - limit % tarfile.RECORDSIZE - _END_BYTES - sum(m.packed_bytes for m in front)
    part: list[Sequence[Member]] = []
    filled = 0
    for group in groups:
        wanted = sum(member.packed_bytes for member in group)
        if wanted > room:
            least = part_bytes([*front, *group])
            raise UlsDataError(
                f"--part-size {limit}: {group[0].name} and its masks do not fit into one part; "
                f"they take {least} bytes with licence and manifest"
            )
        if part and filled + wanted > room:
            yield part
            part, filled = [], 0
        part.append(group)
        filled += wanted
    if part:
        yield part


class _Hashing:
    """A file that hashes what passes through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.count = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.count += len(data)
        return self.file.write(data)

    def read(self, wanted: int) -> bytes:
        data = self.file.read(wanted)
        self.digest.update(data)
        return data

    def tell(self) -> int:
        return self.count


def write_part(path: Path, members: Sequence[Member]) -> str:
    """Write one part; returns its SHA-256.

    Raises
    ------
    UlsDataError
        A member changed since its hash was taken; nothing is written.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as raw:
        whole: Any = _Hashing(raw)
        with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for member in members:
                with member.open() as file:
                    source: Any = _Hashing(file)
                    try:
                        tar.addfile(member.info(), source)
                    except OSError as error:
                        raise UlsDataError(f"{path.name}: {member.name}: {error}") from error
                if source.digest.hexdigest() != member.sha256:
                    raise UlsDataError(f"{member.name}: changed while it was packed; try again")
    return str(whole.digest.hexdigest())


class _Careful:
    """A file of which no more than a header's worth is read at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, wanted: int = -1) -> bytes:
        if not 0 <= wanted <= _LONGEST_READ:
            raise tarfile.ReadError(f"a header of {wanted} bytes")
        return self.file.read(wanted)


@contextmanager
def open_part(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a part for reading; nothing is unpacked, and no header can ask for much memory.

    Raises
    ------
    tarfile.TarError, OSError
        No tar.
    """
    with path.open("rb") as file:
        careful: Any = _Careful(file)
        with tarfile.open(fileobj=careful, mode="r:") as tar:
            yield tar


def content_of(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes] | None:
    """Content of a member; None for what is not a plain file, such as a link."""
    # A sparse file claims bytes that it does not have.
    plain = info.type == tarfile.REGTYPE and not info.issparse()
    return tar.extractfile(info) if plain else None


def sha256_stream(file: IO[bytes]) -> str:
    """SHA-256 (hex) of what is left of a stream."""
    digest = hashlib.sha256()
    while piece := file.read(CHUNK_BYTES):
        digest.update(piece)
    return digest.hexdigest()
