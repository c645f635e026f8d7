"""Voxels in b2nd files (Blosc2): a part is read at the cost of the blocks that it touches.

Why these blocks and this codec: docs/training.md, section *A store*.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, SourceError
from uls_data.geometry import Triple
from uls_data.outcome import Reason

SUFFIX = ".b2nd"
Frame = Literal["scan", "voi"]
# Axes z, y, x, as they lie in memory. A chunk is what is listed in the file's index, a block what
# is decoded at once.
_CHUNK, _BLOCK = (32, 64, 64), (8, 32, 32)
_SAID = "uls-data"
_DTYPES = ("|u1", "<i2", "<i4")
# No scan is as large; what an array of this size would need is not allocated on a file's word.
LARGEST_VOXELS = 1 << 30
_LARGEST_CHUNK = 1 << 24
# One takes at most 0.2 MB, and no file descriptor.
_KEPT_OPEN = 64
_of_thread = threading.local()


@dataclass(frozen=True)
class Blocks:
    """A file of voxels, open for reading.

    Attributes
    ----------
    path : Path
    shape : tuple of 3 int
        x, y, z.
    frame : str
        What `origin` counts in: the voxels of a `scan`, or those of one `voi`.
    origin : tuple of 3 int
        Index in that frame of the array's first voxel, x, y, z.
    """

    path: Path
    shape: Triple
    frame: Frame
    origin: Triple
    _array: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """Uint8, int16 or int32."""
        dtype: np.dtype[Any] = np.dtype(self._array.dtype)
        return dtype

    def read(self, box: tuple[slice, slice, slice]) -> NDArray[np.integer]:
        """Voxels of a box (x, y, z) of the array, indexed [x, y, z], x fastest in memory.

        Raises
        ------
        CaseError
            `unreadable`: the blocks cannot be decoded.
        """
        shape = tuple(part.stop - part.start for part in box)
        if 0 in shape:
            return np.zeros(shape, self.dtype, order="F")
        try:
            voxels: NDArray[np.integer] = self._array[box[::-1]]
        except Exception as error:
            # On damaged blocks the library raises whatever its own code trips over.
            raise _unreadable(self.path, error) from error
        return voxels.T


def check_blosc2() -> None:
    """Say what to install where blosc2 is not.

    Raises
    ------
    SourceError
    """
    try:
        import blosc2  # noqa: F401
    except ImportError as error:
        raise SourceError(
            "arrays in b2nd files are written and read by blosc2, which is not installed: "
            "pip install 'uls-data[store]'"
        ) from error


def packed(voxels: NDArray[np.integer], frame: Frame, origin: Triple) -> bytes:
    """Bytes of a file; same voxels, same bytes, with the same version of blosc2.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z), uint8, int16 or int32
    frame, origin
        See `Blocks`.
    """
    said = {_SAID: {"frame": frame, "origin": list(origin)}}
    import blosc2

    array = np.ascontiguousarray(voxels.T)
    # HU decode faster by their two bytes than by their sixteen bits; masks are but bits.
    apart = blosc2.Filter.BITSHUFFLE if array.itemsize == 1 else blosc2.Filter.SHUFFLE
    return _compressed(array, said, {"codec": blosc2.Codec.LZ4HC, "filters": [apart]})


def packed_channels(array: NDArray[Any]) -> bytes:
    """Bytes of a file that any reader of b2nd opens; same voxels, same bytes, as `packed`.

    Parameters
    ----------
    array : ndarray, shape (channels, z, y, x), float32 or int16
    """
    import blosc2

    settings = {"codec": blosc2.Codec.LZ4, "filters": [blosc2.Filter.SHUFFLE]}
    return _compressed(np.ascontiguousarray(array), {}, settings)


def _compressed(array: NDArray[Any], said: dict[str, Any], settings: dict[str, Any]) -> bytes:
    """Compress an array whose last axes are z, y, x; what lies before them is cut singly."""
    import blosc2

    before = (1,) * (array.ndim - len(_CHUNK))
    chunk = tuple(min(n, most) for n, most in zip(array.shape, before + _CHUNK, strict=True))
    block = tuple(min(n, most) for n, most in zip(chunk, before + _BLOCK, strict=True))
    settings = {
        **settings,
        "clevel": 9,
        "filters_meta": [0],
        "typesize": array.itemsize,
        # Several threads put their blocks into a chunk in the order in which they end.
        "nthreads": 1,
    }
    with _own_settings():
        made = blosc2.asarray(
            array, chunks=chunk, blocks=block, cparams=settings, meta=said, contiguous=True
        )
        data: bytes = made.to_cframe()
        return data


@contextmanager
def _own_settings() -> Iterator[None]:
    """Keep what the machine has, and its variables such as BLOSC_CLEVEL, out of the bytes.

    The variables overrule what the library is told. The number of threads that it uses otherwise,
    as many as there are processors, is written into the file as that of readers.
    """
    import blosc2

    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("BLOSC_")}
    threads = blosc2.set_nthreads(1)
    try:
        yield
    finally:
        blosc2.set_nthreads(threads)
        os.environ.update(kept)


def open_blocks(path: Path) -> Blocks:
    """Open a file that exists; nothing but its header is read.

    A thread finds the files that it opened last still open, unless they have changed since: the
    library decodes into buffers that belong to a file, so threads cannot share them.

    Raises
    ------
    CaseError
        `unreadable`: damaged, or not what `packed` writes; `too_large`.
    SourceError
        blosc2 is not installed.
    """
    check_blosc2()
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not hasattr(_of_thread, "opened"):
        _of_thread.opened = lru_cache(_KEPT_OPEN)(_opened)
    blocks: Blocks = _of_thread.opened(path, found.st_ino, found.st_mtime_ns, found.st_size)
    return blocks


def _opened(path: Path, *_: int) -> Blocks:
    import blosc2

    try:
        # A file can hold an expression or a function instead of voxels, which is run to be read.
        array = blosc2.open(
            str(path.absolute()), mode="r", dparams={"nthreads": 1}, deserialize="safe"
        )
        if not isinstance(array, blosc2.NDArray):
            raise ValueError("it is not an array")
        shape, chunk, block = (
            tuple(map(int, sizes)) for sizes in (array.shape, array.chunks, array.blocks)
        )
        said = array.schunk.meta[_SAID]
        frame, origin = said["frame"], said["origin"]
        dtype = np.dtype(array.dtype)
    except Exception as error:
        # On damaged headers the library raises whatever its own code trips over.
        raise _unreadable(path, error) from error
    if (
        prod(shape) > LARGEST_VOXELS
        or prod(chunk) > _LARGEST_CHUNK
        or any(inner > outer for inner, outer in zip(block, chunk, strict=True))
    ):
        raise CaseError(
            Reason.TOO_LARGE,
            f"{path.name}: {shape} voxels in chunks of {chunk} and blocks of {block} are not a "
            "scan's",
        )
    if (
        len(shape) != 3
        or dtype.str not in _DTYPES
        or frame not in ("scan", "voi")
        or not isinstance(origin, list)
        or len(origin) != 3
        or not all(isinstance(at, int) for at in origin)
    ):
        raise CaseError(
            Reason.UNREADABLE,
            f"{path.name}: expected x, y, z of whole numbers and where they begin, found "
            f"{dtype.str} of shape {shape}",
        )
    z, y, x = shape
    return Blocks(path, (x, y, z), frame, (origin[0], origin[1], origin[2]), array)


def _unreadable(path: Path, error: Exception) -> CaseError:
    return CaseError(
        Reason.UNREADABLE,
        f"{path.name}: damaged, or no array of a store ({error}); export the store again",
    )
