"""CT volumes from numbered 16-bit PNG slices, loose in a folder or inside a zip archive.

HU = value - 32768. Slice numbers grow from head to feet, columns to the patient's left, rows to
the back: the convention of DeepLesion. A PNG holds no geometry; the table tells the spacing.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from uls_data.errors import CaseError
from uls_data.geometry import Affine
from uls_data.ids import hash_of, readable
from uls_data.io import sha256_bytes
from uls_data.outcome import Flag, Reason
from uls_data.sources.measurement import StackSpec
from uls_data.volumes.volume import Volume, check_file, check_size

_IsalError: Any = isal_zlib.error
ZERO_HU = 32768
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 33  # signature and IHDR
_MOST_PIXELS = 4096 * 4096
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Beside the pixels, which deflate cannot make much larger.
_OVERHEAD_BYTES = 1 << 16


def read_png_stack(image: Path, stack: StackSpec) -> Volume:
    """Read the slices of a stack.

    Parameters
    ----------
    image : Path
        Folder of the slices, or the zip archive that holds them; nothing is unpacked to disk.
    stack : StackSpec

    Returns
    -------
    Volume
        int16 HU, stored as (column, row, slice), x fastest in memory. The affine puts index 0 of
        the RAS array at 0 mm, as the published files do; without a spacing it says 1 mm. The
        hash is over the sorted hashes of the PNG files.

    Raises
    ------
    CaseError
        `key_slice_missing`, `missing_slices`, `grid_mismatch`, `unsupported_format`,
        `truncated_file`, `unreadable`, `too_large`, `ambiguous_files` or `io_error`.
    """
    columns, rows, count = stack.shape
    check_size(columns * rows * count, image.name)
    hashes = []
    voxels: NDArray[np.int16] | None = None
    with _slices(image, stack) as read:
        for at, name in enumerate(stack.names):
            data = read(name)
            hashes.append(sha256_bytes(data))
            hu = decode_hu(data, (columns, rows), f"{image.name}/{name}")
            if voxels is None:
                voxels = np.empty((count, *hu.shape), dtype=np.int16)
            if hu.shape != voxels.shape[1:]:
                raise CaseError(
                    Reason.GRID_MISMATCH,
                    f"{image.name}/{name}: the slices of a scan have one size; get it again",
                )
            voxels[at] = hu
    assert voxels is not None
    stored = voxels.transpose(2, 1, 0)
    shape = (stored.shape[0], stored.shape[1], stored.shape[2])
    affine, flags = stack_affine(stack, shape), stack_flags(stack)
    return Volume(stored, affine, 1.0, 0.0, hash_of(sorted(hashes)), flags)


def unread_stack(stack: StackSpec) -> Volume:
    """Grid of a stack as its table tells it, with voxels of no memory and no value."""
    stored = np.broadcast_to(np.int16(0), stack.shape)
    return Volume(stored, stack_affine(stack, stack.shape), 1.0, 0.0, "", stack_flags(stack))


def stack_affine(stack: StackSpec, shape: tuple[int, int, int]) -> Affine:
    """Affine, 4x4, of stored (column, row, slice) indices to RAS mm."""
    spacing = np.array(stack.spacing_mm or (1.0, 1.0, 1.0))
    affine = np.diag([*-spacing, 1.0])
    affine[:3, 3] = spacing * (np.array(shape) - 1)
    return affine


def stack_flags(stack: StackSpec) -> tuple[Flag, ...]:
    """Return what is to be known about a stack."""
    flags = [Flag.ARRAY_ORIGIN]
    if stack.spacing_mm is None:
        flags.append(Flag.SPACING_UNKNOWN)
    if stack.neighbours:
        flags.append(Flag.SLICE_GROUP_HAS_NEIGHBOURS)
    return tuple(flags)


def decode_hu(data: bytes, size: tuple[int, int], name: str) -> NDArray[np.int16]:
    """HU of one slice, shape (rows, columns).

    Parameters
    ----------
    data : bytes
        The PNG file.
    size : tuple of 2 int
        Columns and rows that the table states, or the other way round: it does not say which.

    Raises
    ------
    CaseError
        As `read_png_stack` does.
    """
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        raise CaseError(Reason.UNREADABLE, f"{name}: no PNG file; get it again")
    if len(data) < _HEADER_BYTES:
        raise _truncated(name)
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    depth, colour, interlaced = data[24], data[25], data[28]
    if width * height > _MOST_PIXELS or len(data) > _limit(size):
        raise CaseError(
            Reason.TOO_LARGE,
            f"{name}: its header claims {width} x {height} pixels, the table {size[0]} x {size[1]}"
            f", and it has more than {len(data) - 1:,} bytes; get it again",
        )
    if (depth, colour, interlaced) != (16, 0, 0):
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{name}: expected 16-bit grey without interlacing, found {depth} bits, colour type "
            f"{colour}, interlacing {interlaced}; HU cannot be told from it, get the original",
        )
    if sorted((width, height)) != sorted(size):
        raise CaseError(
            Reason.GRID_MISMATCH,
            f"{name}: has {width} x {height} pixels, the table's Image_size is {size[0]} x "
            f"{size[1]}; get both again",
        )
    lines = _unpacked(data, height * (1 + 2 * width), name)
    # Stored, not packed: most of the decoder's time would go into unpacking once more.
    whole = data[:_HEADER_BYTES] + _chunk(b"IDAT", zlib.compress(lines, 0)) + _chunk(b"IEND", b"")
    try:
        with Image.open(io.BytesIO(whole), formats=("PNG",)) as image:
            values = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise CaseError(
            Reason.UNREADABLE, f"{name}: damaged pixels ({type(error).__name__}); get it again"
        ) from error
    # As int32: uint16 would wrap. All 16-bit values give HU that int16 holds.
    return (values.astype(np.int32) - ZERO_HU).astype(np.int16)


def _unpacked(data: bytes, expected: int, name: str) -> bytes:
    """Lines of pixels, each behind the number of its filter, once all check sums were found right.

    The decoder looks at no check sum of the pixels, takes too few of them without a word, and
    need not see what else a file holds.
    """
    packed = []
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(kind) < 4 or end > len(data):
            raise _truncated(name)
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise CaseError(Reason.UNREADABLE, f"{name}: wrong check sum in it; get it again")
        if kind == b"IDAT":
            packed.append(data[at + 8 : end - 4])
        at = end
    decoder = isal_zlib.decompressobj()
    try:
        lines: bytes = decoder.decompress(b"".join(packed), expected + 1)
    except _IsalError as error:
        raise CaseError(Reason.UNREADABLE, f"{name}: damaged pixels; get it again") from error
    if len(lines) != expected or not decoder.eof:
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: its header needs {expected:,} bytes of pixels, it holds "
            f"{'more' if len(lines) > expected else 'fewer'}; get it again",
        )
    return lines


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + check


def _truncated(name: str) -> CaseError:
    return CaseError(Reason.TRUNCATED_FILE, f"{name}: ends too early; download it again")


def _limit(size: tuple[int, int]) -> int:
    """Bytes that a PNG of this size can have."""
    return 3 * size[0] * size[1] + _OVERHEAD_BYTES


@contextmanager
def _slices(image: Path, stack: StackSpec) -> Iterator[Callable[[str], bytes]]:
    """Give a function that reads one slice, up to one byte more than it can have."""
    limit = _limit(stack.shape[:2]) + 1
    try:
        if image.is_dir():
            yield lambda name: _loose(image / name, limit, stack)
        else:
            check_file(image)
            status = image.stat()
            archive = _archive(image, status.st_size, status.st_mtime_ns)
            yield lambda name: archive.read(name, limit, stack)
    except OSError as error:
        raise CaseError(
            Reason.IO_ERROR, f"{image.name}: {error.strerror or type(error).__name__}"
        ) from error


def _loose(path: Path, limit: int, stack: StackSpec) -> bytes:
    if not path.exists():
        raise _missing(path.name, stack)
    check_file(path)
    with path.open("rb") as file:
        return file.read(limit)


def _missing(name: str, stack: StackSpec) -> CaseError:
    number = int(name.rpartition("/")[2].removesuffix(".png"))
    reason = Reason.KEY_SLICE_MISSING if number == stack.key_slice else Reason.MISSING_SLICES
    return CaseError(reason, f"{name}: not there; download the images again")


class _Archive:
    """An open zip archive.

    Its directory is 17,000 names long and takes 0.2 s to read: as long as 40 slices.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise CaseError(
                Reason.UNREADABLE, f"{path.name}: no whole zip archive; download it again"
            ) from error
        names = [entry.filename for entry in self.file.infolist()]
        counts = Counter(names) if len(names) > len(self.file.NameToInfo) else Counter[str]()
        self.twice = frozenset(name for name, count in counts.items() if count > 1)

    def read(self, name: str, limit: int, stack: StackSpec) -> bytes:
        """Bytes of one file in it."""
        entry = self.file.NameToInfo.get(name)
        if entry is None:
            raise _missing(name, stack)
        if name in self.twice:
            raise CaseError(Reason.AMBIGUOUS_FILES, f"{name}: twice in one archive; get it again")
        if entry.flag_bits & 1 or entry.compress_type not in _METHODS:
            raise CaseError(
                Reason.UNSUPPORTED_FORMAT,
                f"{name}: encrypted, or packed by method {entry.compress_type}; get the original",
            )
        try:
            with self.file.open(entry) as file:
                return file.read(limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
            raise CaseError(
                Reason.UNREADABLE, f"{readable(name)}: damaged in its archive; get it again"
            ) from error


@lru_cache(maxsize=2)
def _archive(path: Path, size: int, time_ns: int) -> _Archive:
    """Open an archive, or return it where it is open and unchanged since."""
    return _Archive(path)
