"""Files that appear whole or not at all, their hashes, and the gzip encoder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import deflate
import numpy as np
from numpy.typing import NDArray

from uls_data.errors import SourceError

TEMPORARY_PREFIX = ".tmp-"
CHUNK_BYTES = 1 << 20
# Zeros at the start of labels that are hashed once for all of them.
_MOST_ZEROS = 16 * CHUNK_BYTES
# libdeflate's output depends on its input and level alone, not on the CPU
# (isal and zlib-ng are faster but choose their hash by instruction set), so a
# tree can be rebuilt to the byte on another machine. Level 1 measured on a CT VOI:
# 3 % larger than zlib's level 6, eight times as fast (`make bench` prints both).
GZIP_LEVEL = 1


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and give it the name.

    An exception removes the temporary file. A kill leaves a file whose name
    starts with `.tmp-`, which the next run removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_temporary_stem(path.name)}{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing_to(to: str | Path, option: str = "--to") -> Iterator[None]:
    """Say of which option a file or folder is that cannot be written.

    Raises
    ------
    SourceError
    """
    try:
        yield
    except OSError as error:
        raise SourceError(f"{option} {to}: cannot be written: {error.strerror or error}") from error


def write_bytes(path: Path, data: bytes | bytearray) -> None:
    """Write `data` to `path` atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _temporary_stem(name: str) -> str:
    # Hashed, so that the longest name a disk can hold has a temporary one too.
    return f"{TEMPORARY_PREFIX}{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}-"


def remove_temporaries(folder: Path) -> None:
    """Remove what killed runs left in a folder that nobody writes to now, whole folders too."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir() and not path.is_symlink():
            remove_folder(path)
        else:
            path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and what is in it, even while somebody still writes there.

    Such a worker then finds no folder to write to. What cannot be removed stays for
    the next run.
    """
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def remove_temporaries_of(path: Path) -> None:
    """Remove what killed runs left of one file that nobody writes now."""
    for leftover in path.parent.glob(f"{_temporary_stem(path.name)}*"):
        leftover.unlink(missing_ok=True)


def gzip(data: bytes | bytearray | memoryview) -> bytes | bytearray:
    """Compress to one gzip member without time or name: same bytes for same data."""
    packed: bytearray = deflate.gzip_compress(data, GZIP_LEVEL)
    return packed


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 (hex) of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_voxels(voxels: NDArray[np.integer], limits: tuple[int, int] | None = None) -> str:
    """SHA-256 (hex) of shape and voxels alone, whatever file or dtype held them.

    The bytes hashed are the shape as ASCII (`256,256,128` and a newline), then
    the voxels with x fastest, little-endian, in the narrowest of uint8, int16
    and int32 that holds them all: a label counts as uint8, a CT as int16, also
    where a file stores them wider.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z), any integer dtype
    limits : tuple of 2 int, optional
        Smallest and largest value, where they are known already.
    """
    if limits is None:
        known = voxels.size == 0 or voxels.dtype == np.uint8
        limits = (0, 0) if known else (int(voxels.min()), int(voxels.max()))
    low, high = limits
    dtype = next(
        dtype
        for dtype in ("u1", "<i2", "<i4")
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max
    )
    data = voxels.astype(dtype, order="F", copy=False).ravel(order="F").view(np.uint8)
    zeros, most = 0, min(len(data), _MOST_ZEROS)
    while zeros + CHUNK_BYTES <= most and not data[zeros : zeros + CHUNK_BYTES].any():
        zeros += CHUNK_BYTES
    digest = _begun(voxels.shape, zeros).copy()
    digest.update(data[zeros:].data)
    return digest.hexdigest()


@lru_cache(maxsize=2 * _MOST_ZEROS // CHUNK_BYTES)
def _begun(shape: tuple[int, ...], zeros: int) -> hashlib._Hash:
    """Hash of a shape and the zeros that most labels begin with, which need no second look."""
    if zeros:
        digest = _begun(shape, zeros - CHUNK_BYTES).copy()
        digest.update(bytes(CHUNK_BYTES))
        return digest
    return hashlib.sha256((",".join(map(str, shape)) + "\n").encode("ascii"))
