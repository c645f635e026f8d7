"""Compressed voxels: decoded in pieces of bounded size, hashed in the same pass."""

from __future__ import annotations

import bz2
import hashlib
from typing import Any, BinaryIO

from isal import igzip_lib

from uls_data.errors import CaseError
from uls_data.outcome import Reason

_IsalError: Any = igzip_lib.error
# Small enough to stay in a processor's cache until it is hashed, decoded and put in its place.
_PIECE_BYTES = 1 << 18
# Bytes that one can become at most: deflate's own limit is about 1032; a block of bzip2 is
# 900,000 bytes, each of them up to 52 equal ones, in some 45 bytes.
MAXIMUM_RATIO = {"gzip": 1040, "zlib": 1040, "bzip2": 1_100_000}


def _decoder(packing: str) -> Any:
    if packing == "bzip2":
        return bz2.BZ2Decompressor()
    zlib = packing == "zlib"
    return igzip_lib.IgzipDecompressor(
        flag=igzip_lib.DECOMP_ZLIB if zlib else igzip_lib.DECOMP_GZIP
    )


class PackedReader:
    """Decompress a file in pieces of bounded size, hashing its bytes as they are.

    Parameters
    ----------
    file : BinaryIO
        At its start.
    name : str
        Of the file, for messages.
    packing : {"gzip", "zlib", "bzip2"}
    start : int
        Bytes before the compressed ones.
    packed_bytes : int, optional
        How many compressed bytes there are; up to the end of the file by default.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        packing: str = "gzip",
        *,
        start: int = 0,
        packed_bytes: int | None = None,
    ) -> None:
        self._file = file
        self._name = name
        self._packing = packing
        self._digest = hashlib.sha256()
        self._left: int | None = start
        while self._fill():
            pass
        self._left = packed_bytes
        self._decoder = _decoder(packing)
        self._exhausted = False

    def read(self, wanted: int) -> bytes:
        """Next piece of at most `wanted` bytes; empty at the end of the data.

        Raises
        ------
        CaseError
            `unreadable` or `truncated_file`: the data are damaged, or end too early.
        """
        while not self._exhausted:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\0") or self._fill().lstrip(b"\0")
                if not rest:
                    self._exhausted = True
                    break
                piece = self._decode_next(rest, wanted)
            elif self._decoder.needs_input:
                compressed = self._fill()
                if not compressed:
                    raise CaseError(
                        Reason.TRUNCATED_FILE,
                        f"{self._name}: the {self._packing} stream ends too early; "
                        "download it again",
                    )
                piece = self._decode(compressed, wanted)
            else:
                piece = self._decode(b"", wanted)
            if piece:
                return piece
        return b""

    def read_exactly(self, target: memoryview) -> int:
        """Fill `target`; returns how many bytes there were."""
        at = 0
        while at < len(target):
            piece = self.read(min(len(target) - at, _PIECE_BYTES))
            if not piece:
                break
            target[at : at + len(piece)] = piece
            at += len(piece)
        return at

    def sha256(self) -> str:
        """Hash of the whole file, whatever part of it was decoded."""
        self._left = None
        while self._fill():
            pass
        return self._digest.hexdigest()

    def _fill(self) -> bytes:
        left = self._left
        data = self._file.read(_PIECE_BYTES if left is None else min(left, _PIECE_BYTES))
        if left is not None:
            self._left = left - len(data)
        self._digest.update(data)
        return data

    def _decode_next(self, rest: bytes, wanted: int) -> bytes:
        """Begin a further stream: gzip and bzip2 files may hold several, one behind the other."""
        if self._packing == "zlib":
            raise CaseError(
                Reason.UNREADABLE, f"{self._name}: holds bytes behind its compressed voxels"
            )
        self._decoder = _decoder(self._packing)
        return self._decode(rest, wanted)

    def _decode(self, data: bytes, wanted: int) -> bytes:
        try:
            piece: bytes = self._decoder.decompress(data, wanted)
        except (_IsalError, OSError, ValueError, EOFError) as error:
            raise CaseError(
                Reason.UNREADABLE,
                f"{self._name}: damaged {self._packing} data ({error}); download it again",
            ) from error
        return piece
