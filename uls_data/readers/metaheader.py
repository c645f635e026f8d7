"""Text headers of MetaImage and NRRD, without the library that reads the voxels.

The header of a hostile file is looked at before any library may follow what it says,
and by the process that must not crash (docs: itk.org MetaIO, teem.sf.net NRRD).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from uls_data.errors import CaseError
from uls_data.outcome import Reason

# Fields that name voxel files, as `header_fields` spells them.
NAMES_A_FILE = ("elementdatafile", "datafile")
_HEADER_BYTES = 1 << 20
_MET_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "LONG": 8, "DOUBLE": 8}
_NRRD_BYTES = {"char": 1, "int8": 1, "short": 2, "int16": 2, "int": 4, "int32": 4, "float": 4}
_WIDEST_BYTES = 8


def header_fields(path: Path) -> Iterator[tuple[str, str]]:
    """Yield key (lower case, without spaces) and value of every field of a header.

    Raises
    ------
    CaseError
        `unreadable`: the header does not end in sight.
    """
    with path.open("rb") as file:
        lines = file.read(_HEADER_BYTES).replace(b"\r\n", b"\n").split(b"\n")
    nrrd = path.suffix.lower() == ".nrrd"
    for raw in lines[:-1]:
        line = raw.decode("latin-1")
        if nrrd and not line:
            return
        # In NRRD `key:=value` is a note of the user's, `key: value` a field.
        key, sign, value = line.partition(": " if nrrd else "=")
        key = key.lower().replace(" ", "").strip()
        if sign and not line.startswith("#"):
            yield key, value.strip()
        if not nrrd and key == "elementdatafile":
            return
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
    fields = dict(header_fields(path))
    sizes = (fields.get("dimsize") or fields.get("sizes") or "").split()
    if not sizes or not all(size.isascii() and size.isdigit() and len(size) < 20 for size in sizes):
        raise CaseError(Reason.UNREADABLE, f"{path.name}: its header declares no size")
    voxels = math.prod(map(int, sizes))
    kind = fields.get("elementtype", "").removeprefix("MET_").removeprefix("U")
    nrrd_kind = fields.get("type", "").split("_")[0].split()[-1:]
    nrrd_bytes = _NRRD_BYTES.get(nrrd_kind[0].removeprefix("u") if nrrd_kind else "", _WIDEST_BYTES)
    return voxels, 2 * voxels * _MET_BYTES.get(kind, nrrd_bytes)
