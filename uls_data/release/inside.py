"""Look inside a part whose hash is right: nobody else says what its members are."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path

from uls_data.io import CHUNK_BYTES
from uls_data.release.finding import Fault
from uls_data.release.parts import Member, content_of, open_part, part_bytes

_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.DIRTYPE: "a folder",
}


def faults_inside(path: Path, part: str, expected: Mapping[str, str]) -> list[Fault]:
    """Faults of a part: a member that is not as `release build` packs it, missing or too many.

    Members must be plain files, each once, with the hash that the manifest says and nothing else
    in their headers; nothing may follow the last.

    Parameters
    ----------
    expected : mapping of str to str
        Hashes of the members, by their path from the release's root.

    Raises
    ------
    OSError
    """
    faults: list[Fault] = []

    def fault(name: str, detail: str) -> None:
        faults.append(Fault("wrong", f"{part}: {_printable(name)}", detail))

    seen: dict[str, Member] = {}
    try:
        with open_part(path) as tar:
            for info in tar:
                if info.name not in expected:
                    fault(info.name, "does not belong to this part")
                if info.name in seen:
                    fault(info.name, "is in it again")
                content = content_of(tar, info)
                if content is None:
                    fault(info.name, f"is {_KINDS.get(info.type, 'no plain file')}")
                    continue
                plain = Member(info.name, "", info.size, None)
                if not _as_packed(info, plain):
                    fault(info.name, "its header has another mode, owner or time than a release's")
                digest = hashlib.sha256()
                while piece := content.read(CHUNK_BYTES):
                    digest.update(piece)
                if info.name in expected and digest.hexdigest() != expected[info.name]:
                    fault(info.name, "is not the file of the manifest")
                seen[info.name] = plain
    except (tarfile.TarError, ValueError) as error:
        faults.append(Fault("wrong", part, f"is not a tar of a release: {error}"))
        return faults
    for name in sorted(expected.keys() - seen.keys()):
        fault(name, "is not in it")
    if not faults and part_bytes(list(seen.values())) != path.stat().st_size:
        faults.append(Fault("wrong", part, "holds bytes that belong to no member"))
    return faults


def _printable(name: str) -> str:
    """Name that can be shown: what steers a terminal, or hides letters, is escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _as_packed(info: tarfile.TarInfo, plain: Member) -> bool:
    """Whether a header says what that of a release's member does."""
    ours = plain.info()
    names = ("mode", "mtime", "uid", "gid", "uname", "gname", "linkname", "devmajor", "devminor")
    extra = info.pax_headers.keys() - {"path"}
    return not extra and all(getattr(info, name) == getattr(ours, name) for name in names)
