"""The challenge's stacks: many VOIs in one MetaImage, one behind the other along z.

What its containers read and write: 256 x 256 x (128 N) voxels in one `.mha`, VOI i on the slices
from 128 i, voxels of each in RAS order. The stack's own spacing means nothing; those of the VOIs
are a JSON list of [x, y, z] in mm, in the same order. Order is identity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.io import atomic_write
from uls_data.outcome import Reason
from uls_data.voi import VOI_SHAPE
from uls_data.volumes.itk import read_voxels

IMAGES = "images/stacked-3d-ct-lesion-volumes"
MASKS = "images/ct-binary-uls"
SPACINGS = "stacked-3d-volumetric-spacings.json"
_NAMES = {
    np.dtype(code): name
    for name, code in (
        ("MET_CHAR", "i1"),
        ("MET_UCHAR", "u1"),
        ("MET_SHORT", "i2"),
        ("MET_USHORT", "u2"),
        ("MET_INT", "i4"),
        ("MET_UINT", "u4"),
        ("MET_FLOAT", "f4"),
        ("MET_DOUBLE", "f8"),
    )
}
# Voxels are in RAS order, so x and y run against ITK's; a width of its own for the number of
# slices lets it be written when the VOIs are.
_HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = -1 0 0 0 -1 0 0 0 1
Offset = 0 0 0
CenterOfRotation = 0 0 0
ElementSpacing = 1 1 1
DimSize = 256 256 {slices:<10d}
ElementType = {kind}
ElementDataFile = LOCAL
"""


class Stack:
    """VOIs of one stack, read one at a time.

    Parameters
    ----------
    path : Path
        `.mha`; not compressed it is mapped, else it is unpacked whole.
    root : Path, optional
        Folder that the file may not lead out of; its own by default.

    Raises
    ------
    CaseError
        `voi_shape`: not 256 x 256 x (128 N); else as `read_volume`.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = path
        try:
            voxels = read_voxels(path, root or path.parent)
            _check_end(path, voxels)
        except OSError as error:
            raise CaseError(
                Reason.IO_ERROR, f"{path.name}: {error.strerror or type(error).__name__}"
            ) from error
        if voxels.shape[:2] != VOI_SHAPE[:2] or voxels.shape[2] % VOI_SHAPE[2]:
            raise CaseError(
                Reason.VOI_SHAPE,
                f"{path.name}: expected 256 x 256 x (128 N) voxels, found {voxels.shape}",
            )
        self._voxels = voxels

    def __len__(self) -> int:
        return int(self._voxels.shape[2]) // VOI_SHAPE[2]

    def __getitem__(self, number: int) -> NDArray[Any]:
        """VOI of a number (from 0), shape (256, 256, 128), RAS, as stored; maybe read-only."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.path.name} holds {len(self)} VOIs, not number {number}")
        at = number * VOI_SHAPE[2]
        voi: NDArray[Any] = self._voxels[:, :, at : at + VOI_SHAPE[2]]
        return voi


def _check_end(path: Path, voxels: NDArray[Any]) -> None:
    """Refuse mapped voxels with something behind them: the stack holds more than it says."""
    if not isinstance(voxels, np.memmap):
        return
    expected, found = voxels.offset + voxels.nbytes, Path(str(voxels.filename)).stat().st_size
    if found != expected:
        raise CaseError(
            Reason.TRUNCATED_FILE, f"{path.name}: expected {expected:,} bytes, found {found:,}"
        )


class _Writer:
    def __init__(self, file: BinaryIO, dtype: np.dtype[Any]) -> None:
        self._file, self._dtype = file, dtype
        self.count = 0
        self.header()

    def header(self) -> None:
        slices = self.count * VOI_SHAPE[2]
        text = _HEADER.format(slices=slices, kind=_NAMES[self._dtype])
        self._file.seek(0)
        self._file.write(text.encode("ascii"))

    def put(self, voxels: NDArray[Any]) -> None:
        """Add one VOI, shape (256, 256, 128), RAS; its values must fit the stack's type."""
        if voxels.shape != VOI_SHAPE:
            raise CaseError(
                Reason.VOI_SHAPE, f"expected a VOI of {VOI_SHAPE}, found {voxels.shape}"
            )
        kept = voxels.astype(self._dtype.newbyteorder("<"), order="F", copy=False)
        if kept.dtype != voxels.dtype and not np.array_equal(kept, voxels):
            raise CaseError(Reason.HU_OUT_OF_RANGE, f"expected values that {self._dtype} holds")
        # A failed write leaves bytes behind the end; the next VOI overwrites them.
        self._file.write(kept.ravel(order="F").data)
        self.count += 1


@contextmanager
def writing(path: Path, dtype: str = "int16") -> Iterator[_Writer]:
    """Write a stack; `put` adds a VOI, and the file appears under its name at the end.

    Parameters
    ----------
    dtype : str
        int16 for images (int32 where HU need it), uint8 for masks.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        writer = _Writer(file, np.dtype(dtype))
        yield writer
        writer.header()


def read_spacings(path: Path, count: int) -> list[tuple[float, float, float]]:
    """Spacings (x, y, z, mm) of the VOIs of a stack of `count`.

    Raises
    ------
    CaseError
        `unreadable`: no JSON list of `count` times three positive numbers.
    """
    found = read_json(path)
    try:
        spacings = [(float(x), float(y), float(z)) for x, y, z in found]
    except (TypeError, ValueError) as error:
        raise _no_spacings(path, count) from error
    if len(spacings) != count or not all(0 < value < 1e6 for each in spacings for value in each):
        raise _no_spacings(path, count)
    return spacings


def _no_spacings(path: Path, count: int) -> CaseError:
    return CaseError(
        Reason.UNREADABLE, f"{path.name}: expected a list of {count} spacings [x, y, z] in mm"
    )


def read_json(path: Path) -> Any:
    """Read a JSON file of the challenge; its own example holds // comments.

    Raises
    ------
    CaseError
        `unreadable`.
    """
    try:
        return json.loads(re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise CaseError(Reason.UNREADABLE, f"{path.name}: no JSON: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write one JSON file of the challenge."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
