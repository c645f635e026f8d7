"""Text headers of MetaImage and NRRD, without the library that reads the voxels.

The header of a hostile file is looked at before any library may follow what it says,
and by the process that must not crash (formats: itk.org MetaIO, teem.sf.net NRRD).
"""

from __future__ import annotations

import bz2
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

from uls_data.errors import CaseError
from uls_data.io import CHUNK_BYTES
from uls_data.outcome import Reason

_HEADER_BYTES = 1 << 20
_MET_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "LONG": 8, "DOUBLE": 8}
_NRRD_BYTES = {"char": 1, "int8": 1, "short": 2, "int16": 2, "int": 4, "int32": 4, "float": 4}
_WIDEST_BYTES = 8
_AUTOMATIC = 47  # zlib's word for "zlib or gzip, look at the first bytes"


@dataclass(frozen=True)
class Header:
    """Fields of a header, and where it ends.

    Attributes
    ----------
    fields : tuple of (key, value)
        In their order; keys in lower case, without spaces.
    end : int
        Offset of the byte after it: of the voxels, unless they are in another file.
    """

    fields: tuple[tuple[str, str], ...]
    end: int

    def get(self, key: str) -> str:
        """Last value of a key; empty where there is none."""
        return dict(self.fields).get(key, "")

    def files(self) -> list[str]:
        """Every value that names a voxel file, or `LOCAL`."""
        return [value for key, value in self.fields if key in ("elementdatafile", "datafile")]


def read_header(path: Path) -> Header:
    """Read the header of a .mha, .mhd or .nrrd file.

    Raises
    ------
    CaseError
        `unreadable`: the header does not end in sight.
    """
    with path.open("rb") as file:
        lines = file.read(_HEADER_BYTES).split(b"\n")
    nrrd = path.suffix.lower() == ".nrrd"
    fields: list[tuple[str, str]] = []
    end = 0
    for raw in lines[:-1]:
        end += len(raw) + 1
        line = raw.removesuffix(b"\r").decode("latin-1")
        if nrrd and not line:
            return Header(tuple(fields), end)
        # In NRRD `key:=value` is a note of the user's, `key: value` a field.
        key, sign, value = line.partition(": " if nrrd else "=")
        key = key.lower().replace(" ", "").strip()
        if sign and not line.startswith("#"):
            fields.append((key, value.strip()))
        if not nrrd and key == "elementdatafile":
            return Header(tuple(fields), end)
    raise CaseError(
        Reason.UNREADABLE, f"{path.name}: its header does not end within {_HEADER_BYTES:,} bytes"
    )


def declared_size(path: Path) -> tuple[int, int]:
    """Voxels that a header declares, and their bytes twice over, for ITK's copy and ours.

    Raises
    ------
    CaseError
        `unreadable`: it declares no size.
    """
    header = read_header(path)
    sizes = (header.get("dimsize") or header.get("sizes")).split()
    if not sizes or not all(size.isascii() and size.isdigit() and len(size) < 20 for size in sizes):
        raise CaseError(Reason.UNREADABLE, f"{path.name}: its header declares no size")
    voxels = math.prod(map(int, sizes))
    kind = header.get("elementtype").removeprefix("MET_").removeprefix("U")
    nrrd_kind = header.get("type").split("_")[0].split()[-1:]
    nrrd_bytes = _NRRD_BYTES.get(nrrd_kind[0].removeprefix("u") if nrrd_kind else "", _WIDEST_BYTES)
    return voxels, 2 * voxels * _MET_BYTES.get(kind, nrrd_bytes)


def voxel_files(root: Path, path: Path) -> list[Path]:
    """Files that hold the voxels of a .mhd, relative to the root like it; none for others."""
    if path.suffix.lower() != ".mhd":
        return []
    try:
        names = read_header(root / path).files() if (root / path).is_file() else []
    except (CaseError, OSError):
        return []
    return [path.parent / name for name in names if name.upper() != "LOCAL" and "\0" not in name]


def check_packed(path: Path, header: Header, files: list[Path], expected_bytes: int) -> None:
    """Unpack compressed voxels once, for their check sum: ITK does not look at it.

    Parameters
    ----------
    files : list of Path
        The header's file, and the voxel files that it names.
    expected_bytes : int
        Of the voxels; no more than that is unpacked.

    Raises
    ------
    CaseError
        `unreadable` or `truncated_file`.
    """
    packing = header.get("encoding").lower()
    if packing in ("gzip", "gz") or header.get("compresseddata").lower() in ("true", "1", "t"):
        decoder: zlib._Decompress | bz2.BZ2Decompressor = zlib.decompressobj(_AUTOMATIC)
    elif packing in ("bzip2", "bz2"):
        decoder = bz2.BZ2Decompressor()
    else:
        return
    if len(files) > 2 or any(key in ("lineskip", "byteskip") for key, _ in header.fields):
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{path.name}: expected compressed voxels in one piece, found several files or bytes "
            "to skip; write it anew",
        )
    unpacked = 0
    try:
        with files[-1].open("rb") as file:
            file.seek(header.end if len(files) == 1 else 0)
            while not decoder.eof and unpacked <= expected_bytes:
                data = getattr(decoder, "unconsumed_tail", b"")
                if not data and getattr(decoder, "needs_input", True):
                    data = file.read(CHUNK_BYTES)
                piece = decoder.decompress(data, CHUNK_BYTES)
                if not data and not piece and not decoder.eof:
                    raise CaseError(
                        Reason.TRUNCATED_FILE,
                        f"{path.name}: its compressed voxels end too early; download it again",
                    )
                unpacked += len(piece)
    except (zlib.error, OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CaseError(
            Reason.UNREADABLE, f"{path.name}: damaged compressed voxels ({error}); get it again"
        ) from error
    if unpacked != expected_bytes:
        more = "more" if unpacked > expected_bytes else "fewer"
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{path.name}: its header needs {expected_bytes:,} bytes of voxels, it holds {more}",
        )
